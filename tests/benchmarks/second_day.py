"""What runs again after a change on the demo, and how long it takes.

Seconds are those of the clock, and depend on what else runs (`load`, of the last minute). CPU
seconds do less so.

    python tests/benchmarks/second_day.py FOLDER [--cores 2]

The demo is made once in FOLDER. Each task then starts from a copy of its results. The table is
docs/benchmarks/second_day.tsv; docs/update_howto.py puts it into docs/howto.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "benchmarks" / "second_day.tsv"
FIRST = "demo"
# What a user changes, by the name of its block in docs/howto.md.
TASKS: dict[str, dict[str, Any]] = {
    "choose": {"cluster": {"choose": 0.8}},
    "embedding": {"cluster": {"embedding": "harmony"}},
    "sample": {"samples": "config/three.tsv"},
    "rename": {"annotate": {"rename": {"CD4+ T": "T", "CD8+ T": "T"}}},
    "genes": {"report": {"genes": ["CD8B"]}},
}
DONE = re.compile(r"^\[ *(\d+)/\d+\] (\w+)", re.MULTILINE)


def run(folder: Path, name: str, config: dict[str, Any], cores: int) -> dict[str, object]:
    """Run the demo with some settings: jobs that ran, seconds, and how busy the cores were."""
    (folder / "run.yaml").write_text(json.dumps({"samples": "config/samples.tsv", **config}))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
    command += ["--configfile", "run.yaml", "--cores", str(cores)]
    start, begun = time.monotonic(), time.time()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-3000:])
    rules = [rule for _, rule in DONE.findall(done.stdout + done.stderr)]
    found = {"task": name, "jobs": len(rules), "seconds": round(seconds)}
    found |= {"cpu_seconds": round(cpu_seconds(folder, begun)), "cores": cores}
    found |= {"load": round(os.getloadavg()[0], 1), "rules": " ".join(dict.fromkeys(rules))}
    print(found, flush=True)
    return found


def cpu_seconds(folder: Path, begun: float) -> float:
    """CPU seconds of the jobs that ended since then, by their benchmark files."""
    paths = (folder / "results/demo/benchmarks").rglob("*.tsv")
    tables = [pd.read_csv(p, sep="\t") for p in paths if p.stat().st_mtime >= begun]
    return float(sum(pd.to_numeric(t["cpu_time"], errors="coerce").sum() for t in tables))


def add_sample(folder: Path) -> None:
    """A third query sample: the cells of the second one once more."""
    shutil.copytree(folder / "resources/demo/pbmc_q2", folder / "config/pbmc_q3")
    rows = (folder / "config/samples.tsv").read_text()
    (folder / "config/three.tsv").write_text(f"{rows}pbmc_q3\tpbmc_q3\tquery\tD\t\t\t150\n")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    first = given.folder / FIRST
    (first / "config").mkdir(parents=True)
    shutil.copy(ROOT / "config/samples.tsv", first / "config")
    rows = [run(first, FIRST, {}, given.cores)]
    for name, config in TASKS.items():
        folder = given.folder / name
        shutil.copytree(first, folder)
        if name == "sample":
            add_sample(folder)
        rows.append(run(folder, name, config, given.cores))
    pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False)


if __name__ == "__main__":
    main()
