"""The first reason to look at a cell's label: the column `cell_type_doubt`."""

import numpy as np
import pandas as pd

from dice_atlas.names import (
    AGREEING,
    DOUBTS,
    FEW_ANCHORS,
    IN_VOTER,
    MARKERS,
    NO_DOUBT,
    SPACES,
    UNASSIGNED,
    split_set,
)


def cluster_labels(obs: pd.DataFrame) -> pd.Series:
    """The label that `AGREEING` of each cluster's labelled query cells share, by cluster.

    Clusters without such a label are left out.
    """
    labelled = obs[(obs["role"] == "query") & (obs["cell_type"] != UNASSIGNED)]
    names, clusters = labelled["cell_type"].astype(str), labelled["cluster"].astype(str)
    shares = pd.crosstab(clusters, names, normalize="index")
    if shares.empty:
        return pd.Series(dtype=object)
    return shares.idxmax(axis=1)[shares.max(axis=1) >= AGREEING]


def doubts(obs: pd.DataFrame, final: str) -> np.ndarray:
    """Why the label of each query cell is not sure: the first of `DOUBTS` that holds.

    Parameters
    ----------
    obs : all cells: `role`, `cluster` and the `cell_type*` columns.
    final : voter whose labels they are. Only one that labels by anchors needs some.

    Returns
    -------
    ndarray
        Values of `DOUBTS` or `NO_DOUBT`; "" for reference cells.
    """
    label, sets = obs["cell_type"].astype(str), obs["cell_type_set"].astype(str)
    own = [name in split_set(text) for name, text in zip(label, sets, strict=True)]
    expected = obs["cluster"].astype(str).map(cluster_labels(obs))
    # Marker lists have names of their own, and no vote.
    others = [name for name in obs if str(name).startswith(IN_VOTER) and name != IN_VOTER + MARKERS]
    differing = [
        (obs[name].astype(str) != label) & (obs[name].astype(str) != UNASSIGNED) for name in others
    ]
    holds = {
        "unassigned": label == UNASSIGNED,
        "own_label_not_in_set": (sets != "") & ~np.array(own, dtype=bool),
        "empty_set": sets == "",
        "several_labels": sets.map(lambda text: len(split_set(text)) > 1),
        "voters_disagree": np.logical_or.reduce([np.zeros(len(obs), bool), *differing]),
        "cluster_disagrees": expected.notna() & (expected != label),
        "few_anchors": (obs["cell_type_n_anchors"] < FEW_ANCHORS) & (final in SPACES),
    }
    found = np.select([np.asarray(holds[name]) for name in DOUBTS], list(DOUBTS), NO_DOUBT)
    return np.where(obs["role"] == "query", found, "").astype(object)
