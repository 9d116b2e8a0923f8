"""Labels at levels, and CellTypist on the same cells.

    python tests/benchmarks/levels.py SHEET [--seeds 2] [--celltypist PYTHON] [--sets SET ...]

SHEET, sets and seeds are those of annotation.py. Writes docs/benchmarks/annotation_levels.tsv: the
consensus at each level and backed off, of the sets in `PARENTS`. With the PYTHON of an environment
that has celltypist (`make celltypist`) also annotation_celltypist.tsv: a model trained on each
reference, of all sets. Rows of a file that is there are kept, and not measured again.
"""

import argparse
import logging
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from annotation import Rows, append, read_cells, read_sets, split, tables_of
from dice_atlas.names import UNASSIGNED
from dice_atlas.scoring.levels import BACKOFF, QUERY, level_table
from dice_atlas.transfer.level_calls import call_at_levels
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.relations import relate
from dice_atlas.transfer.settings import CallSettings, LevelSettings
from transfer import ANNOTATE, OUT, right_labels

CELLTYPIST_CELLS = Path(__file__).with_name("celltypist_cells.py")
# The coarser label of each label.
KANG = {
    "CD4 T cells": "T cells", "CD8 T cells": "T cells",
    "CD14+ Monocytes": "Monocytes", "FCGR3A+ Monocytes": "Monocytes",
}  # fmt: skip
CD4, CD8 = "CD4+ T", "CD8+ T"
PARENTS = {
    "zheng": {
        "CD4+ T Helper2": CD4, "CD4+/CD25 T Reg": CD4, "CD4+/CD45RA+/CD25- Naive T": CD4,
        "CD4+/CD45RO+ Memory": CD4, "CD8+ Cytotoxic T": CD8, "CD8+/CD45RA+ Naive Cytotoxic": CD8,
        CD4: "T", CD8: "T",
    },
    "kang": KANG,
    "donors": KANG,
}  # fmt: skip


def level_rows(tables: tuple[pd.DataFrame, pd.DataFrame], truth: np.ndarray, parents: dict) -> Rows:
    """The consensus at each level, and backed off."""
    predictions, calibration = tables
    held = calibration[calibration["role"] == "reference"]
    related = relate(LevelSettings({}, parents), held[["sample", "label"]], [])
    related = related.set_index("label")
    levels = Levels(tuple(related[name].to_dict() for name in related))
    settings = CallSettings.from_config(ANNOTATE)
    calls = call_at_levels(predictions, calibration, settings, levels)
    known = pd.DataFrame({"cell": predictions["cell"], "truth": truth})
    table = level_table(calls, calibration, known, settings, levels)
    for row in table[table["cells"] == QUERY].to_dict("records"):
        del row["cells"]
        if row["level"] != BACKOFF:
            level = int(row["level"])
            merged = levels.merged(predictions, level)["predicted"].to_numpy(dtype=object)
            row["accuracy"] = (merged == np.array(levels.at(level, truth), dtype=object)).mean()
        # Cells that a back-off concerns: what the finest level says of them.
        else:
            back = (calls["level"] < levels.finest).to_numpy()
            row["accuracy"] = (calls["predicted"].to_numpy() == truth)[back].mean()
            row["unassigned"] = (calls["backoff"] == UNASSIGNED).mean()
        yield row


def celltypist_row(python: str, data, reference: np.ndarray, seed: int) -> dict:
    """A model of the reference, asked about the query."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "cells.h5ad", Path(folder) / "labels.tsv"
        cells = data.copy()
        cells.obs["is_reference"] = reference
        cells.write_h5ad(given)
        subprocess.run(
            [python, CELLTYPIST_CELLS, given, made], check=True, stdout=subprocess.DEVNULL
        )
        found = pd.read_csv(made, sep="\t", dtype={"label": str}, keep_default_na=False)
    truth = data.obs["label"].to_numpy(dtype=str)[~reference]
    best = found["label"].to_numpy(dtype=str)
    seconds = float(found["cpu_seconds"].iloc[0])
    return {"cells": len(truth), **right_labels(truth, best), "cpu_seconds": seconds}


def known_rows(name: str) -> set[tuple[str, int]]:
    """Sets and seeds that a table has."""
    path = OUT / f"{name}.tsv"
    if not path.exists():
        return set()
    table = pd.read_csv(path, sep="\t", dtype={"set": str})
    return set(zip(table["set"], table["seed"], strict=True))


def main() -> None:
    """Measure what no row is there of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--celltypist", metavar="PYTHON")
    parser.add_argument("--sets", nargs="+")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    of_levels, of_celltypist = known_rows("annotation_levels"), known_rows("annotation_celltypist")
    for name, rows in read_sets(given.sheet).items():
        if given.sets and name not in given.sets:
            continue
        cells = read_cells(rows)
        for seed in range(given.seeds):
            about, (data, reference) = {"set": name, "seed": seed}, split(cells, seed)
            if name in PARENTS and (name, seed) not in of_levels:
                truth = data.obs["label"].to_numpy(dtype=str)[~reference]
                tables, _ = tables_of(data, reference, seed)
                found = level_rows(tables["consensus"], truth, PARENTS[name])
                append("annotation_levels", [about | row for row in found])
            if given.celltypist and (name, seed) not in of_celltypist:
                row = about | celltypist_row(given.celltypist, data, reference, seed)
                append("annotation_celltypist", [row])
                print(row, flush=True)


if __name__ == "__main__":
    main()
