"""The first lines of the page: the atlas in numbers, and in a sentence or two."""

import numpy as np
import pandas as pd

from dice_atlas.names import NO_DOUBT, UNASSIGNED
from dice_atlas.report import disputes, lying_apart, marker_lists
from dice_atlas.report.data import ReportData
from dice_atlas.report.finding import listed, plural
from dice_atlas.report.tables import confident, percent

# What gave the labels, behind "labels".
BY_WHOM = {
    "celltypist": "of the CellTypist model",
    "dice": "transferred in the denoised (DICE) space",
    "pca": "transferred in the PCA space",
    "linear": "of the linear model",
    "consensus": "of the consensus",
}


def by_whom(voter: str) -> str:
    """Whose labels they are, in words."""
    return BY_WHOM.get(voter, f"of the table {voter}")


def facts(data: ReportData) -> list[tuple[str, str, str]]:
    """Number, what it is, and a remark, for the boxes under the title."""
    n = {role: data.obs[data.obs["role"] == role] for role in ("reference", "query")}
    split = [f"{len(cells):,} {role}" for role, cells in n.items() if len(cells)]
    samples = [f"{cells['sample'].nunique()} {role}" for role, cells in n.items() if len(cells)]
    chosen = data.resolutions.loc[data.resolutions["chosen"] == "True", "resolution"]
    found = [
        (f"{len(data.obs):,}", "cells", ", ".join(split)),
        (f"{len(data.samples):,}", "samples" if len(data.samples) > 1 else "sample",
         ", ".join(samples)),
        (f"{len(data.clusters)}", "clusters" if len(data.clusters) > 1 else "cluster",
         f"resolution {chosen.iloc[0]:g}" if len(chosen) else ""),
    ]  # fmt: skip
    if data.transferred and len(data.query):
        total, settings = len(data.query), data.settings.calls
        lost = (data.query["cell_type"] == UNASSIGNED).mean()
        found += [
            (percent(confident(data.query).mean(), total),
             "one possible label" if disputes.falls_short(data) else "confident labels",
             f"no other in the {settings.coverage:.0%} prediction set"),
            (percent(lost, total), "unassigned",
             unassigned_rules(data)),
        ]  # fmt: skip
        right = data.metric("accuracy_known", data.settings.voters.final)
        if right is not None:
            cells, others = known_cells(data), int(truth_cells(data).sum()) - known_cells(data)
            remark = f"of {cells:,} with a true type that the reference has"
            if others:
                remark += f"; {others:,} have another"
            number = percent(right, cells)
            if names_differ(data):
                number, remark = "?", "most names of the truth are not the reference's"
            found.append((number, "labels right", remark))
    if data.by_markers:
        given = (data.obs["cell_type"] != UNASSIGNED).mean()
        found.append((percent(given, len(data.obs)), "have a label", "most by marker lists"
                      if len(data.reference) else "by marker lists"))  # fmt: skip
        right = data.metric("accuracy", data.labelled_by)
        if right is not None:
            cells = int(truth_cells(data).sum())
            found.append((percent(right, cells), "labels right", f"of {cells:,} with a truth"))
    return found


def unassigned_rules(data: ReportData) -> str:
    """What makes a cell unassigned, in few words."""
    calls, least = data.settings.calls, data.least_score
    if calls.unassigned_below is None and data.each_sample_alone:
        rules = ["a score too low for the risk, sample by sample"]
    elif np.isinf(least):
        rules = ["no score meets the risk asked for"]
    else:
        rules = [f"score below {least:.2g}"] if least else []
    without = ""
    if data.least_p_reference:
        if data.query["cell_type_p_reference"].notna().any():
            rules.append(f"p_reference below {data.least_p_reference:g}")
        else:
            without = " (p_reference not available)"
    return (", or ".join(rules) or "no rule applies") + without


def answer(data: ReportData) -> str:
    """The atlas in one sentence or two: what the query's cells got, and how far to trust it."""
    if not data.transferred or data.query.empty:
        return summary(data)
    query = data.query
    labels = query.loc[query["cell_type"] != UNASSIGNED, "cell_type"]
    one = confident(query)
    text = (
        f"{len(labels):,} of {plural(len(query), 'query cell')} got one of "
        f"{plural(labels.nunique(), 'cell type')}. "
        f"{int(one.sum()):,} have one possible label"
    )
    right = disputes.right_of(data, one)
    if right is not None and not names_differ(data):
        share, n = right
        if n == one.sum():
            text += f"; {percent(share, n)} of these are right"
        else:
            text += (
                f". The reference has the true type of {n:,} of these; {percent(share, n)} of them "
                "are right"
            )
    if "cell_type_doubt" in query:
        n = int((query["cell_type_doubt"] != NO_DOUBT).sum())
        text += f". {n:,} have a reason for doubt"
    apart = lying_apart.samples(data)
    if apart:
        text += f". {listed(apart)} lie{'s' if len(apart) == 1 else ''} apart from the reference"
    return f"{text}."


def truth_cells(data: ReportData) -> pd.Series:
    """Number of query cells by their truth."""
    own = data.confusion[data.confusion["space"] == data.labelled_by]
    return own.groupby("truth")["cells"].sum()


def known_cells(data: ReportData) -> int:
    """Query cells whose truth is a label of the reference."""
    cells = truth_cells(data)
    return int(cells[cells.index.isin(data.reference_types)].sum())


def names_differ(data: ReportData) -> bool:
    """Whether most names of the truth, and most of their cells, are unknown to the reference.

    These are then other names, rather than other types, and what is right by name says little.
    """
    cells = truth_cells(data)
    known = cells.index.isin(data.reference_types)
    return bool(known.sum() < len(cells) / 2 and cells[known].sum() < cells.sum() / 2)


def summary(data: ReportData) -> str:
    """The first paragraph, in words."""
    parts = []
    for role, cells in (("reference", data.reference), ("query", data.query)):
        if len(cells):
            samples = plural(cells["sample"].nunique(), f"{role} sample")
            parts.append(f"{len(cells):,} of {samples}")
    split = f", {' and '.join(parts)}"
    if len(parts) == 1:
        split = parts[0].removeprefix(f"{len(data.obs):,}")
    text = (
        f"This atlas holds {plural(len(data.obs), 'cell')}{split}, in "
        f"{plural(len(data.clusters), 'cluster')}. "
    )
    if not data.transferred:
        text += "No labels were transferred: that takes a labelled reference and a query."
        return f"{text} {by_lists(data)}" if data.by_markers else text
    query, final = data.query, data.settings.voters.final
    lost, total = (query["cell_type"] == UNASSIGNED).mean(), len(query)
    types = data.reference.loc[data.reference["cell_type"] != UNASSIGNED, "cell_type"].nunique()
    sure = "one possible label" if disputes.falls_short(data) else "a confident label"
    text += (
        f"The query's labels come from {plural(types, 'cell type')} of the reference; they are "
        f"those {by_whom(final)}. "
        f"{percent(confident(query).mean(), total)} of the query cells have {sure} "
        f"(assigned, and the only one in the cell's prediction set at "
        f"{data.settings.calls.coverage:.0%} coverage); "
        f"{percent(lost, total)} are unassigned."
    )
    right = data.metric("accuracy_known", final)
    if names_differ(data):
        return text + " Most names of the given truth are no label of the reference."
    if right is None:
        if truth_cells(data).sum():
            return text + " None of the given truth's names is a label of the reference."
        return text + " There is no truth to compare the labels with."
    n = known_cells(data)
    return text + (
        f" Of the {n:,} query cells with a given truth that the reference has, {percent(right, n)} "
        "have the right label, unassigned counted as wrong."
    )


def by_lists(data: ReportData) -> str:
    """What marker lists gave in place of a transfer."""
    text = (
        f"{marker_lists.coverage(data)} Every cell has the label of its cluster, so a cluster of "
        "several types has one label."
    )
    right, n = data.metric("accuracy", data.labelled_by), int(truth_cells(data).sum())
    if right is None:
        none = "None of the given truth's names is a type of the lists."
        return f"{text} {none if n else 'There is no truth to compare the labels with.'}"
    return text + (
        f" Of the {n:,} query cells with a given truth, {percent(right, n)} have the right label "
        "(compared by name, unassigned counted as wrong)."
    )
