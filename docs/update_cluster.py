"""Put the tables of docs/cluster.md in place.

    python docs/update_cluster.py results/<atlas> ...

Sizes of jobs come from the benchmark files of finished runs, the largest job of each rule; the
others from docs/benchmarks: slurm_faults.tsv is written by `make test-slurm`, dag.tsv by
tests/benchmarks/dag.py.
"""

import sys
from pathlib import Path

import h5py
import pandas as pd
from update_benchmarks import markdown, replace_block

DOCS = Path(__file__).resolve().parent
SIZES = "benchmarks/job_sizes.tsv"
TABLES = {"dag": "benchmarks/dag.tsv", "faults": "benchmarks/slurm_faults.tsv"}


def job_sizes(results: Path) -> pd.DataFrame:
    """Seconds and peak memory (MB, resident) of the largest job of each rule of an atlas."""
    folder = results / "benchmarks"
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        found = pd.read_csv(path, sep="\t", na_values="-")
        rows.append((rule, found["s"].max(), found["max_rss"].max()))
    table = pd.DataFrame(rows, columns=["rule", "seconds", "peak_mb"])
    largest = table.groupby("rule", sort=False).max()
    with h5py.File(results / "atlas.h5ad") as atlas:
        cells = len(atlas["obs"][atlas["obs"].attrs["_index"]])
    return largest.assign(cells=cells, atlas=results.name).reset_index()


def sizes_table(sizes: pd.DataFrame) -> str:
    """Rules in rows; seconds and MB of each atlas in columns, atlases by their cells."""
    atlases = sizes.sort_values("cells")[["atlas", "cells"]].drop_duplicates()
    header = ["rule"]
    columns = []
    for name, cells in atlases.itertuples(index=False):
        header += [f"{name}, {cells:,} cells: s", "MB"]
        columns.append(sizes[sizes["atlas"] == name].set_index("rule"))
    rules = dict.fromkeys(rule for own in columns for rule in own.index)
    rows = []
    for rule in sorted(rules, key=lambda r: -max(c["seconds"].get(r, 0) for c in columns)):
        row = [rule]
        for own in columns:
            known = rule in own.index
            row += [
                f"{own.loc[rule, name]:.0f}" if known else "" for name in ("seconds", "peak_mb")
            ]
        rows.append(row)
    return markdown(header, rows)


def main() -> None:
    """Rewrite docs/cluster.md in place."""
    if sys.argv[1:]:
        sizes = pd.concat([job_sizes(Path(name)) for name in sys.argv[1:]])
        sizes.to_csv(DOCS / SIZES, sep="\t", index=False, float_format="%.4g")
    path = DOCS / "cluster.md"
    text = path.read_text()
    if (DOCS / SIZES).exists():
        text = replace_block(text, "sizes", sizes_table(pd.read_csv(DOCS / SIZES, sep="\t")))
    for name, file in TABLES.items():
        if (DOCS / file).exists():
            table = pd.read_csv(DOCS / file, sep="\t", dtype=str)
            text = replace_block(text, name, markdown(list(table), table.to_numpy().tolist()))
    path.write_text(text)


if __name__ == "__main__":
    main()
