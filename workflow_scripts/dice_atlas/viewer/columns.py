"""Columns of the cells in the page: categories with their colours, and numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dice_atlas import names
from dice_atlas.counts.criteria import METRICS
from dice_atlas.names import (
    AT_LEVEL,
    IN_VOTER,
    NO_DOUBT,
    RESOLUTION,
    UNASSIGNED,
    holds_labels,
    is_cluster,
    split_set,
)
from dice_atlas.plots.categories import with_further
from dice_atlas.plots.style import GREY, UNASSIGNED_COLOR, natural
from dice_atlas.texts import shown
from dice_atlas.viewer.packing import LEVELS, Blob, pack_codes, pack_numbers

TITLES = {
    "cell_type": "cell type",
    "truth": "truth (given)",
    "right": "label against truth",
    "cell_type_doubt": "reason for doubt",
    "cell_type_best": "best label",
    "cell_type_second": "second label",
    "cluster_label": "label of the cluster",
    "cell_type_set": "prediction set",
    "cell_type_rule": "why unassigned",
    "cell_type_source": "source of the label",
    "cell_type_backoff": "label after back-off",
    "cell_type_level": "level of the back-off",
    "cell_type_score": "score",
    "cell_type_second_score": "second score",
    "cell_type_entropy": "entropy of the scores",
    "cell_type_n_anchors": "anchors",
    "cell_type_p_reference": "p_reference",
    "cell_type_synthetic": "share of synthetic cells",
    "set_size": "labels in the set",
    "dice_uncertainty": "uncertainty (DICE)",
    "dice_residual": "residual (DICE)",
    "dice_background": "background (DICE)",
    "dice_label_set": "label set (DICE)",
    "dice_label_entropy": "label entropy (DICE)",
    **{metric.name: metric.title.lower() for metric in METRICS},
}
# Columns that the page adds to those of the atlas.
ADDED = {
    "truth": "the type that the sample sheet gives; for query cells only",
    "right": "whether the label is the truth",
    "set_size": "number of labels in the prediction set",
}
# In the order of the menu.
GROUPS = {
    "Label": {**names.LABEL, "truth": "", "right": ""},
    "Confidence": {**names.CONFIDENCE, "set_size": ""},
    "Cluster": names.CLUSTER,
    "Origin": names.ORIGIN,
    "Posterior": names.POSTERIOR,
    "Quality": {metric.name: metric.description for metric in METRICS} | names.QUALITY,
}
ABOUT = {name: text for group in GROUPS.values() for name, text in group.items() if text} | ADDED
# Said by another column, or of no use as a colour.
LEFT_OUT = ("cell_type_ontology_term_id",)
ALWAYS = ("sample", "role", "cell_type", "cluster")
# A column of more names than this is none to colour by.
MOST_VALUES = 10_000
DOUBT_COLORS = (UNASSIGNED_COLOR, "#660A0A", "#D55E00", "#E69F00", "#CC79A7", "#0072B2", "#009E73")
# Reasons for doubt as the page writes them; the table and the atlas have the names.
DOUBT_WORDS = {name: name.replace("_", " ") for name in names.DOUBTS} | {
    "own_label_not_in_set": "own label not in its set",
    NO_DOUBT: "no doubt",
}
RIGHT_COLORS = {"right": "#0072B2", "wrong": "#D55E00", UNASSIGNED: UNASSIGNED_COLOR}
# A number that is above 0 everywhere and whose largest value is so many medians.
WIDE = 20.0


@dataclass(frozen=True)
class Orders:
    """Values in the order in which figures and tables show them, and their colours there.

    Attributes
    ----------
    labels, samples : in order.
    colors : by column and value, see `category_colors`.
    """

    labels: Sequence[str]
    samples: Sequence[str]
    colors: Mapping[str, Mapping[str, str]]


def with_added(obs: pd.DataFrame, truth: pd.Series | None) -> pd.DataFrame:
    """The obs with `set_size` and, if a truth is given, `truth` and `right` ("" = none)."""
    result = obs.copy(deep=False)
    scored = obs["cell_type_score"].notna() & (obs["role"] == "query")
    sizes = obs["cell_type_set"].astype(str).map(lambda text: len(split_set(text))).astype(float)
    result["set_size"] = sizes.where(scored)
    if truth is None:
        return result
    given = truth.reindex(obs.index).fillna("").astype(str)
    label = obs["cell_type"].astype(str)
    verdict = np.where(label == given, "right", "wrong")
    verdict = np.where(label == UNASSIGNED, UNASSIGNED, verdict)
    return result.assign(truth=given, right=np.where(given == "", "", verdict))


def values_of(name: str, column: pd.Series, orders: Orders) -> list[str]:
    """The values of a column of names, in the order of the legend; "" is none of them."""
    there = set(column.unique()) - {""}
    if holds_labels(name):
        order = [label for label in [*orders.labels, UNASSIGNED] if label in there]
        return [*order, *natural([value for value in there if value not in set(order)])]
    if name == "sample":
        return [sample for sample in orders.samples if sample in there]
    if name == "cell_type_doubt":
        return [value for value in [*names.DOUBTS, NO_DOUBT] if value in there]
    if is_cluster(name) or name in ("batch", "role"):
        return natural([*there])
    counts = column[column != ""].value_counts()
    return sorted(there, key=lambda value: (-int(counts[value]), value))


def colors_of(name: str, values: Sequence[str], orders: Orders) -> list[str]:
    """A colour for every value, the same as in the figures."""
    if name == "right":
        found: Mapping[str, str] = RIGHT_COLORS
    elif name == "cell_type_doubt":
        found = dict(zip(names.DOUBTS, DOUBT_COLORS, strict=True)) | {NO_DOUBT: "#BFC7D1"}
    elif name in orders.colors and set(values) <= set(orders.colors[name]):
        found = orders.colors[name]
    else:
        found = with_further(orders.colors.get("cell_type", {}), values)
    return [found.get(value, GREY) for value in values]


def group_of(name: str) -> str:
    """Where the menu has a column."""
    if is_cluster(name):
        return "Cluster"
    if name.startswith("cell_type_") and name not in GROUPS["Confidence"]:
        return "Label"  # of other tools, and at every level
    return next((group for group, own in GROUPS.items() if name in own), "Sample sheet")


def categories(
    obs: pd.DataFrame, rows: np.ndarray, orders: Orders, blob: Blob
) -> Iterator[dict[str, object]]:
    """Entries of the columns of names.

    Parameters
    ----------
    obs : all cells, see `with_added`.
    rows : of the cells in the page.
    orders : of the values.
    blob : gets the codes.
    """
    for name in (str(name) for name in obs if not is_number(obs[name])):
        column = obs[name].astype(str).where(obs[name].notna(), "")
        if column.dtype == object and obs[name].dtype == bool:
            column = column.map({"True": "yes", "False": "no"})
        values = values_of(name, column, orders)
        alike = column.nunique() < 2 and name not in ALWAYS
        if name in LEFT_OUT or alike or len(values) > MOST_VALUES:
            continue
        codes = pd.Index(values).get_indexer(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        yield {
            **entry(name),
            "values": [shown(value) for value in values],
            "colors": colors_of(name, values, orders),
            "counts": counts.tolist(),
            "part": blob.add(pack_codes(codes[rows], len(values))),
        }


def numbers(obs: pd.DataFrame, rows: np.ndarray, blob: Blob) -> Iterator[dict[str, object]]:
    """Entries of the columns of numbers; those that are the same in all cells are left out.

    A column of few whole numbers keeps them exactly.
    """
    for name in (str(name) for name in obs if is_number(obs[name])):
        values = obs[name].to_numpy(dtype=float)[rows]
        there = values[np.isfinite(values)]
        if not len(there) or there.min() == there.max():
            continue
        low, high = float(there.min()), float(there.max())
        whole = bool((there == np.rint(there)).all())
        log = low > 0 and high > WIDE * float(np.median(there))
        if whole and high - low <= LEVELS:
            high, log = low + LEVELS, False
        levels = pack_numbers(values, low, high, log)
        ends = np.percentile(levels[np.isfinite(values)], [1, 99])
        yield {
            **entry(name),
            "low": low,
            "high": high,
            "log": log,
            "whole": whole,
            "ends": [int(ends[0]), max(int(ends[1]), int(ends[0]) + 1)],
            "part": blob.add(levels),
        }


def entry(name: str) -> dict[str, object]:
    """What every column has: its name, title, group and a sentence about it."""
    short = name.replace(IN_VOTER, "label of ")
    short = short.replace(AT_LEVEL, "label at level ").replace(RESOLUTION, "clusters at ")
    title = TITLES.get(name, short.replace("_", " "))
    about: dict[str, object] = {"name": name, "title": shown(title), "group": group_of(name)}
    if name == "cell_type_doubt":
        about["words"] = DOUBT_WORDS
    return {**about, "about": ABOUT.get(name, "").replace("`", "")}


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; yes and no are names."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
