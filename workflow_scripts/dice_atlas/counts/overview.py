"""What was read of each sample, whether the samples fit together, and what the run will take."""

import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import pandas as pd

from dice_atlas.tables import read_part

# CPU seconds of a whole run, and MiB of its largest job: so much for any, so much per cell. Up to
# 100,000 cells; docs/scale.md has the measurements, a test compares them.
START_SECONDS, SECONDS_PER_CELL = 100, 0.0105
START_MIB, MIB_PER_CELL = 500, 0.0155
# Reference cells of a label below which its prediction sets have no threshold of their own.
FEW_CELLS = 40
# Genes of a sample that the others lack: beyond this share it is said.
SHARE_LOST = 0.2
# Labels that are no type.
NO_TYPE = re.compile(
    r"un(labell?ed|known|assigned|defined|determined|classified)|n/?a|nan|none|null|others?"
    r"|doublets?|multiplets?|low[ _-]quality|-|\?",
    re.IGNORECASE,
)


def overview(paths: Sequence[str | Path]) -> pd.DataFrame:
    """One row per sample: what its file is, cells, genes, labels.

    Parameters
    ----------
    paths : counts.h5ad of all samples.
    """
    rows, shared = [], common(paths)
    for path in paths:
        obs, source = read_part(path, "obs"), read_part(path, "uns/source")
        genes = read_part(path, "var").index
        rows.append(
            {
                "sample": obs["sample"].iloc[0],
                "role": obs["role"].iloc[0],
                "read as": source["format"],
                "cells": len(obs),
                "genes": len(genes),
                "shared genes": f"{len(shared) / len(genes):.0%}",
                "labelled": int((obs["label"] != "").sum()),
            }
        )
    return pd.DataFrame(rows)


def common(paths: Sequence[str | Path]) -> pd.Index:
    """Genes that all samples have."""
    names = [read_part(path, "var").index for path in paths]
    return reduce(lambda first, second: first.intersection(second), names)


def remarks(
    paths: Sequence[str | Path], table: pd.DataFrame, truth: pd.Series | None = None
) -> list[str]:
    """Sentences about genes, labels, truth, time and memory; "Look at" begins what may be wrong.

    Parameters
    ----------
    paths : counts.h5ad of all samples.
    table : their `overview`.
    truth : of the query cells that have one.
    """
    found = [f"{len(common(paths)):,} genes are in all samples."]
    for row in table.to_dict("records"):
        if float(row["shared genes"].rstrip("%")) < 100 * (1 - SHARE_LOST):
            found.append(
                f"Look at {row['sample']}: {row['shared genes']} of its genes are in all samples. "
                "Do the samples name their genes alike?"
            )
    labels = pd.concat([read_part(path, "obs")["label"].astype(str) for path in paths])
    counts = labels[labels != ""].value_counts()
    if len(counts):
        found.append(f"{len(counts)} labels: {_listed(counts.head(8))}{_more(counts, 8)}.")
    rare = counts[counts < FEW_CELLS]
    if len(rare):
        found.append(
            f"Look at labels with under {FEW_CELLS} cells, whose confidence is coarse: "
            f"{_listed(rare.head(8))}{_more(rare, 8)}."
        )
    no_type = counts[[bool(NO_TYPE.fullmatch(label)) for label in counts.index]]
    if len(no_type):
        found.append(
            f"Look at {_listed(no_type)}: cells of the query would get this as their type. Leave "
            "the label of these cells empty, or leave them out with `subset` in the sheet."
        )
    if truth is not None and len(counts):
        unknown = truth[~truth.isin(counts.index)].value_counts()
        if len(unknown):
            found.append(
                f"Look at names of the truth that the reference lacks: {_listed(unknown.head(8))}"
                f"{_more(unknown, 8)}. Such cells count as wrong. If they are other names of the "
                "same types, translate them in `annotate.rename`."
            )
    cells = int(table["cells"].sum())
    minutes = (START_SECONDS + SECONDS_PER_CELL * cells) / 60
    gib = (START_MIB + MIB_PER_CELL * cells) / 1024
    found.append(
        f"A whole run of {cells:,} cells takes roughly {minutes:.0f} min of one core, and "
        f"{gib:.1f} GiB for its largest job."
    )
    return found


def _listed(counts: pd.Series) -> str:
    return ", ".join(f"{label} {number:,}" for label, number in counts.items())


def _more(counts: pd.Series, shown: int) -> str:
    return f" and {len(counts) - shown} more" if len(counts) > shown else ""
