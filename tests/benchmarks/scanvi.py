"""scANVI's labels in runs of the target `benchmark`, whose splits are those of annotation.py.

    python tests/benchmarks/scanvi.py results/benchmark/RUN ...

The runs have the method `scvi` (config/benchmark/full.yaml). Writes docs/benchmarks/
annotation_scanvi.tsv: accuracy and macro F1 of the query's labels, by set and seed.
"""

import argparse
from pathlib import Path

from annotation import append
from dice_atlas.tables import read_part
from transfer import right_labels


def main() -> None:
    """Add the rows of the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    for run in parser.parse_args().runs:
        for path in sorted(run.glob("*/base/*/embeddings/scvi.h5ad")):
            cells = read_part(path, "obs")
            query = (cells["role"] == "query").to_numpy()
            truth, found = (cells[name].to_numpy(dtype=str)[query] for name in ("label", "scanvi"))
            row = {"set": path.parts[-5], "seed": int(path.parts[-3]), "cells": len(truth),
                   **right_labels(truth, found)}  # fmt: skip
            append("annotation_scanvi", [row])
            print(row)


if __name__ == "__main__":
    main()
