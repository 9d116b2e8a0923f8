"""Seconds and memory of the target `synthesis`: training, 10,000 and 100,000 cells of all genes.

    python tests/benchmarks/synthesis_size.py DATA [--set zheng_facs_pbmc]

Runs the workflow on <DATA>/<set>/<set>.h5ad with `test_share: 0` and takes the jobs' own benchmark
files. Writes docs/synthesis/size.tsv.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from runs import ROOT, run_workflow

OUT = ROOT / "docs" / "synthesis" / "size.tsv"
# Cells and shards.
SIZES = {10_000: 1, 100_000: 10}
JOBS = ("train_synthesis", "synthesize_cells", "gather_synthetic")


def costs(folder: Path, atlas: str, cells: int) -> list[dict]:
    """Of each rule: jobs, seconds of all of them and of the longest, memory of the largest."""
    rows = []
    for job in JOBS:
        paths = sorted((folder / f"results/{atlas}/benchmarks").glob(f"{job}*"))
        files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
        if not files:
            continue
        table = pd.concat(pd.read_csv(file, sep="\t") for file in files)
        rows.append(
            {
                "cells": cells,
                "rule": job,
                "jobs": len(table),
                "cpu_seconds": round(float(table["cpu_time"].sum()), 1),
                "seconds_longest": round(float(table["s"].max()), 1),
                "memory_mib": round(float(table["max_rss"].max())),
            }
        )
    return rows


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="zheng_facs_pbmc")
    given = parser.parse_args()
    source = (given.data / given.set / f"{given.set}.h5ad").resolve()
    sheet = f"sample,path,role,batch,labels\nref,{source},reference,A,cell_type\n"
    rows, saved = [], None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for cells, shards in SIZES.items():
            atlas = f"cells{cells}"
            config = {
                "atlas": atlas,
                "denoise": {"shards": shards},
                "synthesis": {"cells": cells, "test_share": 0, "path": saved},
            }
            run_workflow(folder, sheet, config, 1, "synthesis")
            found = costs(folder, atlas, cells)
            # With a saved generator the rule only copies it.
            rows += [row for row in found if not saved or row["rule"] != "train_synthesis"]
            size = (folder / f"results/{atlas}/synthesis/synthetic.h5ad").stat().st_size
            rows.append({"cells": cells, "rule": "synthetic.h5ad", "file_mb": round(size / 1e6)})
            saved = saved or f"results/{atlas}/synthesis"
    pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
