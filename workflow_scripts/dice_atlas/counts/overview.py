"""A look at all samples: what is in their files, whether they fit together, what a run takes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from dice_atlas.counts.common_genes import common_genes
from dice_atlas.counts.labels import cleaned_pairs, read_truth
from dice_atlas.counts.sample import Look, look_at_sample
from dice_atlas.errors import InputError
from dice_atlas.names import SEPARATOR
from dice_atlas.tables import common_names
from dice_atlas.texts import with_near

# CPU seconds of a whole run, and MiB of its largest job: so much for any, so much per cell. Up to
# 100,000 cells; docs/scale.md has the measurements, a test compares them.
START_SECONDS, SECONDS_PER_CELL = 80, 0.0096
START_MIB, MIB_PER_CELL = 500, 0.006
# What Snakemake and the start of Python add to the 40 jobs of a study, as in `effort`.
AROUND_JOBS = 80
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
    genes : that all samples have.
    labels : cells of each label of the reference, most first.
    truth : of the query cells that have one.
    faults : why a sample, or its truth, cannot be read, or the samples do not fit together.
    unknown_renames : names of `annotate.rename` that no label or truth has, with near ones.
    """

    table: pd.DataFrame
    genes: pd.Index
    labels: pd.Series
    truth: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    faults: Sequence[str] = ()
    unknown_renames: Sequence[str] = ()


def look_at_all(
    rows: Iterable[Mapping[str, Any]],
    names: str | None,
    truths: Mapping[str, Mapping[str, str]],
    rename: Mapping[str, str] | None = None,
    complete: bool = True,
) -> Overview:
    """Look at the files of all samples; what would stop a run is named, not raised.

    Parameters
    ----------
    rows, names : see `sample.load_sample`.
    truths : see `labels.read_truth`.
    rename : new names of labels and truth; "" leaves a truth out.
    complete : whether `rename` can name labels of the samples alone, not of tables or parents.
    """
    looks, known, faults, given = [], [], [], set()
    names_of = cleaned_pairs(rename or {}, "annotate.rename")
    for row in rows:
        try:
            looks.append(look := look_at_sample(dict(row), names))
            given |= set(look.cells["label"])
            for parents in look.cells.get("label_parents", pd.Series(dtype=object)).unique():
                given |= set(parents.split(SEPARATOR))
            look.cells["label"] = look.cells["label"].map(lambda label: names_of.get(label, label))
            if row["sample"] in truths:
                own = {row["sample"]: truths[row["sample"]]}
                truth = read_truth(own, look.cells)["truth"]
                given |= set(truth)
                truth = truth.map(lambda label: names_of.get(label, label))
                known.append(truth[truth != ""])
        except InputError as error:
            faults.append(f"sample {row['sample']}: {error}")
    seen = overview(looks, known, faults)
    if faults:
        return seen
    try:
        common_genes({look.cells["sample"].iloc[0]: look.genes for look in looks})
    except InputError as error:
        return replace(seen, faults=[str(error)])
    if not complete:
        return seen
    unknown = [with_near(name, given - {""}) for name in names_of if name not in given]
    return replace(seen, unknown_renames=tuple(unknown))


def overview(
    looks: Sequence[Look], truths: Sequence[pd.Series] = (), faults: Sequence[str] = ()
) -> Overview:
    """All samples side by side.

    Parameters
    ----------
    looks : one per sample that could be read.
    truths, faults : see `Overview`.
    """
    shared = common_names([look.genes for look in looks]) if looks else pd.Index([])
    rows, labels = [], [pd.Series(dtype=object)]
    for look in looks:
        own, n = look.cells["label"], len(look.cells)
        known = own != ""
        labels.append(own[known & (look.cells["role"] == "reference")])
        rows.append(
            {
                "sample": look.cells["sample"].iloc[0],
                "role": look.cells["role"].iloc[0],
                "format": look.kind,
                "slot": look.slot or "-",
                "cells": n,
                "genes": len(look.genes),
                # Of samples that cannot be read nobody knows.
                "shared genes": "-" if faults else f"{len(shared) / len(look.genes):.0%}",
                "labels": f"{known.sum()} of {n}" if look.labelled else "-",
            }
        )
    truth = pd.concat([pd.Series(dtype=object), *truths])
    counts = pd.concat(labels).value_counts()
    return Overview(pd.DataFrame(rows), shared, counts, truth, tuple(faults))


def remarks(
    seen: Overview, card: Mapping[str, Any] | None = None, markers: bool = False
) -> list[str]:
    """Sentences about genes, labels, truth, time and memory; "Look at" begins what may be wrong.

    Parameters
    ----------
    seen : see `overview`; of one sample or more. With faults nothing is said of genes and time.
    card : of the saved prior that is to be used.
    markers : whether lists of marker genes label the clusters.
    """
    table, counts, truth = seen.table, seen.labels, seen.truth
    found = [] if seen.faults else of_genes(seen, card)
    if card and not markers and not len(counts):
        found.append(
            "Look at the labels: no reference sample has any, and a saved model holds none. So no "
            "cell gets a label. Keep the labelled reference in the sheet."
        )
    if seen.unknown_renames:
        found.append(
            "Look at annotate.rename: no sample has the label or truth "
            f"{', '.join(seen.unknown_renames)}."
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
            "the label of these cells empty, or leave them out with `subset` in the sheet "
            "(COLUMN!=VALUE, where labels are a column of the cells)."
        )
    if len(counts):
        unknown = truth[~truth.isin(counts.index)].value_counts()
        if len(unknown):
            found.append(
                f"Look at names of the truth that the reference lacks: {_listed(unknown.head(8))}"
                f"{_more(unknown, 8)}. Such cells count as wrong. If they are other names of the "
                "same types, translate them in `annotate.rename`; an empty name leaves them out."
            )
    if seen.faults:
        return found
    cells = int(table["cells"].sum())
    minutes = (START_SECONDS + AROUND_JOBS + SECONDS_PER_CELL * cells) / 60
    gib = (START_MIB + MIB_PER_CELL * cells) / 1024
    found.append(
        f"A whole run of {cells:,} cells takes roughly {minutes:.0f} min of one core, and "
        f"{gib:.1f} GiB for its largest job."
    )
    return found


def of_genes(seen: Overview, card: Mapping[str, Any] | None) -> list[str]:
    """What is said of the genes; parameters as for `remarks`."""
    found = [f"{len(seen.genes):,} genes are in all samples."]
    for row in seen.table.to_dict("records"):
        if float(row["shared genes"].rstrip("%")) < 100 * (1 - SHARE_LOST):
            found.append(
                f"Look at {row['sample']}: {row['shared genes']} of its genes are in all samples. "
                "Do the samples name their genes alike?"
            )
    return found + (missing_genes(card, seen.genes) if card else [])


def missing_genes(card: Mapping[str, Any], genes: pd.Index) -> list[str]:
    """What is said of the genes of a saved prior that not all samples have.

    Parameters
    ----------
    card : of the prior.
    genes : that all samples have.
    """
    own = pd.Index(card["genes"])
    missing = own[~own.isin(genes)]
    if missing.empty:
        return []
    some = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
    if 2 * len(missing) > len(own):
        result = "The run will stop: at least half are needed."
    elif card["preset"] == "kernel":
        result = "They are left out."
    else:
        result = "They are left out, and Gibbs takes the place of the closed form: minutes per "
        result += "1,000 cells."
    return [
        f"Look at the saved prior: {len(missing):,} of its {len(own):,} genes are not in all "
        f"samples ({some}). {result}"
    ]


def _listed(counts: pd.Series) -> str:
    return ", ".join(f"{label} {number:,}" for label, number in counts.items())


def _more(counts: pd.Series, shown: int) -> str:
    return f" and {len(counts) - shown} more" if len(counts) > shown else ""
