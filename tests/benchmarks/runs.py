"""The workflow in a folder of its own, for benchmarks that run it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_workflow(
    folder: Path, rows: str, config: Mapping[str, Any], cores: int, *targets: str
) -> str:
    """Run targets; doublets, which no benchmark is about, are not called. Returns what it printed.

    Parameters
    ----------
    folder : of the run.
    rows : the sample sheet.
    config : keys beside those of the sheet and quality control; `atlas` among them.
    cores : as for Snakemake.
    targets : files or rules, and options before them.

    Raises
    ------
    RuntimeError
        The run failed; the end of what it said.
    """
    (folder / "samples.csv").write_text(rows)
    whole = {"samples": "samples.csv", "qc": {"doublets": "off"}, **config}
    (folder / "run.yaml").write_text(json.dumps(whole))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--configfile", "run.yaml",
         "--cores", str(cores), *targets],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return done.stdout + done.stderr
