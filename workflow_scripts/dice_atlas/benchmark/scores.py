"""Scores of one method on one split, by one protocol."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.benchmark.protocols import (
    blind_scores,
    novelty_scores,
    paper_scores,
    type_scores,
)
from dice_atlas.clustering.settings import ClusterSettings
from dice_atlas.errors import InputError
from dice_atlas.metrics.knn_accuracy import knn_accuracy
from dice_atlas.metrics.score import Score
from dice_atlas.scoring.groups import mixing_scores, reference_cluster_scores
from dice_atlas.scoring.partitions import all_partitions
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)

KEYS = ("X_dice", "X_embedding")


def score(
    data: ad.AnnData, truth: pd.DataFrame, label: str, cluster: ClusterSettings, seed: int
) -> tuple[dict[str, Score], pd.DataFrame]:
    """Protocol blind of one method: scores and curve.

    Parameters
    ----------
    data : an embedding of the query's cells, and of the reference's if the method has them.
    truth : `role`, `label` and `batch` of these cells.
    label : the type that the variant is about, "" = none.
    """
    embedding = embedding_of(data)
    query = (truth["role"] == "query").to_numpy()
    names = truth["label"].to_numpy(dtype=str)
    scores, curve, clusters = blind_scores(
        embedding[query], names[query], cluster, seed, sd_of(data, query)
    )
    if label and (names[query] == label).any():
        scores |= type_scores(embedding[query], names[query], clusters, label)
    if not query.all():
        scores |= knn_accuracy(embedding[~query], names[~query], embedding[query], names[query])
        known, asked = np.where(query, "", names), np.where(query, names, "")
        partitions = all_partitions(embedding, cluster, seed)
        scores |= reference_cluster_scores(partitions, known, asked)
        scores |= mixing_scores(embedding, truth[["role", "batch"]])
        own = names[query] == label
        if label and own.any() and label not in names[~query]:
            background = data.obs.get("dice_background")
            scores |= novelty_scores(
                embedding[~query], embedding[query], own,
                None if background is None else background.to_numpy(dtype=float)[query],
            )  # fmt: skip
    return scores, curve


def sd_of(data: ad.AnnData, rows: np.ndarray) -> np.ndarray | None:
    """Posterior standard deviation of some cells, where the method has one."""
    for key in KEYS:
        if f"{key}_sd" in data.obsm:
            return np.asarray(data.obsm[f"{key}_sd"])[rows]
    return None


def embedding_of(data: ad.AnnData) -> np.ndarray:
    """Cells x p.

    Raises
    ------
    InputError
        The file holds none of the `KEYS`.
    """
    for key in KEYS:
        if key in data.obsm:
            return np.asarray(data.obsm[key])
    raise InputError(
        f"an embedding has obsm {', '.join(data.obsm) or 'of nothing'}, expected one of "
        f"{', '.join(KEYS)}; remove its file and start again"
    )


def long_table(method: str, scores: Mapping[str, Score], n_cells: int) -> pd.DataFrame:
    """`method`, `metric`, `value`, `n_cells` and `note` of each score."""
    rows = [(method, name, s.value, n_cells, s.note) for name, s in scores.items()]
    return pd.DataFrame(rows, columns=["method", "metric", "value", "n_cells", "note"])


class SplitTruth(NamedTuple):
    """What is known of a split's cells.

    Attributes
    ----------
    cells : `role`, `batch` and `label`, index: names.
    label : the type that the variant is about, "" = none.
    """

    cells: pd.DataFrame
    label: str

    @classmethod
    def read(cls, path: str | Path) -> "SplitTruth":
        """From split.h5ad."""
        cells = read_part(path, "obs")[["role", "batch", "label"]].astype(str)
        return cls(cells, str(read_part(path, "uns/label")))


def score_methods(
    embeddings: Mapping[str, str | Path],
    truth: SplitTruth,
    cluster: ClusterSettings,
    key: Mapping[str, str],
    protocol: str,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Scores and curves of all methods on one split, and their UMAPs (protocol paper).

    Parameters
    ----------
    embeddings : file of each method.
    key : `set`, `variant` and `seed` of the split, which begin each row.
    protocol : blind or paper.

    Returns
    -------
    scores, curves : one row per value, one per resolution.
    layouts : `label` of the query's cells, and by method their UMAP (cells x 2); empty for blind.

    Raises
    ------
    InputError
        A file holds cells that the split has not.
    """
    seed = int(key["seed"])
    tables, curves, layouts = [], [], {}
    for method, path in embeddings.items():
        data = ad.read_h5ad(path)
        if data.obs_names.difference(truth.cells.index).size:
            raise InputError(f"{path} is of another split: remove {Path(path).parent}")
        own = truth.cells.loc[data.obs_names]
        query = (own["role"] == "query").to_numpy()
        if protocol == "blind":
            scores, curve = score(data, own, truth.label, cluster, seed)
        else:
            layouts["label"] = own["label"].to_numpy(dtype=str)[query]
            scores, curve, layouts[method] = paper_scores(
                embedding_of(data)[query], layouts["label"], cluster, seed
            )
        tables.append(long_table(method, scores, int(query.sum())))
        curves.append(curve.assign(method=method))
        logger.info("%s is done", method)
    return *(with_key(parts, {**key, "protocol": protocol}) for parts in (tables, curves)), layouts


def with_key(parts: list[pd.DataFrame], key: Mapping[str, str]) -> pd.DataFrame:
    """The tables as one, the key's columns first."""
    whole = pd.concat(parts, ignore_index=True)
    for place, (name, value) in enumerate(key.items()):
        whole.insert(place, name, value)
    return whole
