"""What Snakemake itself costs with many samples: dry run and DAG, and the start of one job.

    python tests/benchmarks/dag.py

A job on a node reads the Snakefile and the sheet again; `one job` is that of `summarize_qc` alone.
Writes docs/benchmarks/dag.tsv.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
SIZES = ((3, 4), (200, 64))
COMMANDS = {
    "dry run": ["--dry-run", "--quiet"],
    "DAG": ["--dag"],
    "one job": ["--dry-run", "--quiet", "--allowed-rules", "summarize_qc", "--", "{qc}"],
}


def sheet(folder: Path, n: int) -> Path:
    """A sheet of n samples, a tenth of them (one at least) labelled references."""
    rows = ["sample\tpath\trole\tbatch\tlabels"]
    for i in range(n):
        (folder / f"s{i}.h5ad").touch()
        role, labels = ("reference", "cell_type") if i < max(n // 10, 1) else ("query", "")
        rows.append(f"s{i:03d}\ts{i}.h5ad\t{role}\tb{i % 20}\t{labels}")
    path = folder / "samples.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def main() -> None:
    """Time each command, the best of three."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n, shards in SIZES:
            config = folder / f"{n}.yaml"
            config.write_text(
                f"{{samples: {sheet(folder, n)}, atlas: many, denoise: {{shards: {shards}}}}}"
            )
            row: dict[str, float] = {"samples": n, "shards": shards}
            for what, arguments in COMMANDS.items():
                command = [
                    sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
                    "--directory", name, "--cores", "1", "--configfile",
                    str(ROOT / "config/config.yaml"), str(config),
                    *(a.format(qc="results/many/qc.tsv") for a in arguments),
                ]  # fmt: skip
                if what == "one job":
                    for i in range(n):
                        summary = folder / f"results/many/samples/s{i:03d}/qc.tsv"
                        summary.parent.mkdir(parents=True, exist_ok=True)
                        summary.touch()
                seconds = []
                for _ in range(3):
                    start = time.perf_counter()
                    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
                    seconds.append(time.perf_counter() - start)
                row[f"{what}_s"] = min(seconds)
            rows.append(row)
            print(row, flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(ROOT / "docs/benchmarks/dag.tsv", sep="\t", index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
