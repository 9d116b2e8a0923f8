"""What was read of each sample, whether the samples fit together, and what the run will take."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dice_atlas.tables import common_names, read_part

# CPU seconds of a whole run, and MiB of its largest job: so much for any, so much per cell. Up to
# 100,000 cells; docs/scale.md has the measurements, a test compares them.
START_SECONDS, SECONDS_PER_CELL = 100, 0.0105
START_MIB, MIB_PER_CELL = 500, 0.0155
# Labels of fewer cells: at the default coverage, their prediction sets share a threshold, about.
FEW_CELLS = 40
# Genes of a sample that the others lack: beyond this share it is said.
SHARE_LOST = 0.2
# Labels that are no type.
NO_TYPE = re.compile(
    r"un(labell?ed|known|assigned|defined|determined|classified)|n/?a|nan|none|null|others?"
    r"|doublets?|multiplets?|low[ _-]quality|-|\?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Overview:
    """What the samples are.

    Attributes
    ----------
    table : one row per sample: what its file is, cells, genes, labels.
    genes : number of genes that all samples have.
    labels : cells of each label, most first.
    """

    table: pd.DataFrame
    genes: int
    labels: pd.Series


def overview(paths: Sequence[str | Path]) -> Overview:
    """Look at the samples.

    Parameters
    ----------
    paths : counts.h5ad of all samples.
    """
    names = [read_part(path, "var").index for path in paths]
    shared, rows, labels = len(common_names(names)), [], []
    for path, genes in zip(paths, names, strict=True):
        obs, source = read_part(path, "obs"), read_part(path, "uns/source")
        own = obs["label"].astype(str)
        labels.append(own[own != ""])
        rows.append(
            {
                "sample": obs["sample"].iloc[0],
                "role": obs["role"].iloc[0],
                "read as": source["format"],
                "cells": len(obs),
                "genes": len(genes),
                "shared genes": f"{shared / len(genes):.0%}",
                "labelled": len(labels[-1]),
            }
        )
    return Overview(pd.DataFrame(rows), shared, pd.concat(labels).value_counts())


def remarks(seen: Overview, truth: pd.Series | None = None) -> list[str]:
    """Sentences about genes, labels, truth, time and memory; "Look at" begins what may be wrong.

    Parameters
    ----------
    seen : see `overview`.
    truth : of the query cells that have one.
    """
    table, counts = seen.table, seen.labels
    found = [f"{seen.genes:,} genes are in all samples."]
    for row in table.to_dict("records"):
        if float(row["shared genes"].rstrip("%")) < 100 * (1 - SHARE_LOST):
            found.append(
                f"Look at {row['sample']}: {row['shared genes']} of its genes are in all samples. "
                "Do the samples name their genes alike?"
            )
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
