"""How far each query sample lies apart from the reference, as far as can be seen without a truth.

Held-out reference cells and query cells were labelled alike, from the rest of the reference. Where
voters agree less on the query than on held-out cells of the same labels, where scores are lower or
anchors fewer, the query differs, and what was calibrated on held-out cells promises less.
"""

import logging
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from dice_atlas.names import CONSENSUS
from dice_atlas.transfer.conformal import conformal_p_values
from dice_atlas.transfer.scores import top_scores

logger = logging.getLogger(__name__)

COLUMNS = (
    "sample", "cells", "agreement", "agreement_held_out", "score", "score_held_out",
    "support", "support_held_out", "low_p", "shift", "apart",
)  # fmt: skip
# Share of cells like the held-out ones that have a smaller p value.
LOW_P = 0.05
# A sample lies apart with a larger gap of agreement or score, or with a smaller part of the support
# of held-out cells. Held-out parts of a study have gaps of at most 0.02 and 0.98 of the support or
# more; other studies have less than 0.87 of it (twelve sets, docs/annotation-benchmark.md).
GAP = 0.05
LEAST_PART = 0.9


def agreements(tables: Mapping[str, pd.DataFrame], cells: pd.Index) -> np.ndarray:
    """Share of the pairs of voters that give the same label, of each cell; NaN with one voter.

    Parameters
    ----------
    tables : calibration.tsv.gz of each voter.
    cells : names.
    """
    labels = [own.set_index("cell")["predicted"].reindex(cells) for own in tables.values()]
    pairs = [(a == b).to_numpy(dtype=float) for a, b in combinations(labels, 2)]
    return np.mean(pairs, axis=0) if pairs else np.full(len(cells), np.nan)


def like_query(values: np.ndarray, held_labels: np.ndarray, query_labels: np.ndarray) -> float:
    """Mean of held-out cells with the labels that a query has, in the query's shares.

    Labels that no held-out cell got count as all of these together.

    Parameters
    ----------
    values, held_labels : of the held-out cells, and the labels that they got.
    query_labels : those that the query cells got.
    """
    by_label = pd.Series(values).groupby(held_labels).mean()
    return mean(pd.Series(query_labels).map(by_label).fillna(mean(values)).to_numpy(dtype=float))


def shift_table(tables: Mapping[str, pd.DataFrame], final: str) -> pd.DataFrame:
    """shift.tsv: one row per query sample, the `COLUMNS`.

    `shift` is the gap of the mean score: by so much the share of right labels may be lower than on
    held-out cells (difference of confidences, Guillory et al., ICCV 2021). It sees no error in
    which all voters are sure.

    Values of held-out cells are those of cells with the labels of the sample, in its shares: other
    shares of types are no shift.

    Parameters
    ----------
    tables : calibration.tsv.gz of each voter, and of the consensus.
    final : the one whose labels are the final ones.
    """
    own = tables[final]
    held = (own["role"] == "reference").to_numpy()
    if not held.any():
        return pd.DataFrame(columns=list(COLUMNS))
    voters = {name: table for name, table in tables.items() if name != CONSENSUS}
    label, sample = own["predicted"].to_numpy(dtype=str), own["sample"].to_numpy(dtype=str)
    measures = {
        "agreement": agreements(voters, pd.Index(own["cell"])),
        "score": top_scores(own),
        "support": own["support"].to_numpy(dtype=float),
    }
    rows = []
    for name in dict.fromkeys(sample[~held]):
        query = ~held & (sample == name)
        row: dict[str, Any] = {"sample": name, "cells": int(query.sum())}
        for measure, values in measures.items():
            row[measure] = mean(values[query])
            row[f"{measure}_held_out"] = like_query(values[held], label[held], label[query])
        row["low_p"] = low_p(measures["support"], held, query)
        row["shift"] = row["score_held_out"] - row["score"]
        row["apart"] = is_apart(row)
        place = "lies apart from" if row["apart"] else "is like"
        logger.info("%s %s the reference: %s", name, place, in_words(row))
        rows.append(row)
    apart = [row["sample"] for row in rows if row["apart"]]
    if len(rows) > 1:
        found = ", ".join(apart) or "none"
        logger.info("of %d query samples lie apart from the reference: %s", len(rows), found)
    if apart:
        logger.warning(
            "%s: lies apart from the reference; the risk asked for is not promised there",
            ", ".join(apart),
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def in_words(row: Mapping[str, float]) -> str:
    """What a sample is judged by, beside held-out cells of the reference; what is known of it."""
    told = {"support": "anchor support", "agreement": "voters agree", "score": "mean score"}
    return ", ".join(
        f"{title} {row[name]:.2f} ({row[f'{name}_held_out']:.2f} held out)"
        for name, title in told.items() if not np.isnan(row[name])
    )  # fmt: skip


def is_apart(row: Mapping[str, float]) -> bool:
    """Whether a sample lies apart; what is not known (NaN) says nothing."""
    gaps = [row[f"{measure}_held_out"] - row[measure] for measure in ("agreement", "score")]
    thin = row["support"] < LEAST_PART * row["support_held_out"]
    return bool(thin or any(gap > GAP for gap in gaps))


def low_p(support: np.ndarray, held: np.ndarray, query: np.ndarray) -> float:
    """Share of query cells with a p value of their support under `LOW_P`; NaN without support."""
    known = ~np.isnan(support)
    if not (known & query).any() or not (known & held).any():
        return np.nan
    p_values = conformal_p_values(-support[known & held], -support[known & query])
    return float((p_values < LOW_P).mean())


def mean(values: np.ndarray) -> float:
    """Mean of the values that are known; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan
