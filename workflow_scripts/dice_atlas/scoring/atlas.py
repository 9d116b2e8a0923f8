"""The metrics of an atlas: embeddings, clusters and labels against the truth (protocol blind)."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.counts.labels import cleaned
from dice_atlas.errors import InputError
from dice_atlas.holdout import require_same_cells
from dice_atlas.metrics.classification import classification_scores
from dice_atlas.metrics.knn_accuracy import knn_accuracy
from dice_atlas.metrics.partition import partition_agreement
from dice_atlas.metrics.score import Score, noted
from dice_atlas.names import EMBEDDINGS, MARKERS, UNASSIGNED
from dice_atlas.numerics.sketch import note_of
from dice_atlas.scoring.groups import (
    cluster_scores,
    label_scores,
    mixing_scores,
    reference_cluster_scores,
    transfer_scores,
)
from dice_atlas.scoring.partitions import Partitions, judged_cells
from dice_atlas.tables import read_part, read_text_table

logger = logging.getLogger(__name__)


COLUMNS = ("protocol", "cells", "embedding", "metric", "value", "n_cells", "note")
CONFUSION = ("space", "truth", "predicted", "cells")


@dataclass(frozen=True)
class Cells:
    """All cells in the atlas's order.

    Attributes
    ----------
    obs : one row per cell.
    embeddings : by name, cells x k.
    sd : by name, posterior standard deviations of the embeddings that have one.
    truth : labels, "" = none.
    clusters : of the atlas, made on all cells.
    """

    obs: pd.DataFrame
    embeddings: Mapping[str, np.ndarray]
    sd: Mapping[str, np.ndarray]
    truth: np.ndarray
    clusters: np.ndarray

    def role(self, name: str) -> np.ndarray:
        """Cells of a role (mask)."""
        return (self.obs["role"] == name).to_numpy()

    @property
    def query(self) -> np.ndarray:
        """Query cells that have a truth (mask)."""
        return query_cells(self.obs, self.truth)

    @property
    def labelled(self) -> np.ndarray:
        """Reference cells that have a label (mask)."""
        return labelled_cells(self.obs)


def query_cells(obs: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    """Which cells are query cells with a truth (mask)."""
    return (obs["role"] == "query").to_numpy() & (truth != "")


def labelled_cells(obs: pd.DataFrame) -> np.ndarray:
    """Which cells are reference cells with a label (mask)."""
    return (obs["role"] == "reference").to_numpy() & (obs["label"].astype(str) != "").to_numpy()


def gather_cells(
    latents: ad.AnnData, denoised: ad.AnnData, clusters: pd.DataFrame, truth: np.ndarray
) -> Cells:
    """The embeddings, the clusters and the truth of all cells.

    Parameters
    ----------
    latents, denoised, clusters : latents.h5ad, denoised.h5ad and clusters.tsv.gz.
    truth : of the cells, see `truth_of`.

    Raises
    ------
    InputError
        The files do not hold the same cells in the same order.
    """
    for cells, name in (
        (denoised.obs_names, "denoised.h5ad"),
        (clusters["cell"], "clusters.tsv.gz"),
    ):
        require_same_cells(cells, latents.obs_names, f"{name} and latents.h5ad")
    held = {"pca": latents, "harmony": latents, "dice": denoised}
    found = {name: np.asarray(data.obsm[EMBEDDINGS[name]]) for name, data in held.items()}
    obs = latents.obs[["sample", "role", "batch", "label"]].astype(str)
    spread = {"dice": np.asarray(denoised.obsm["X_dice_sd"])}
    return Cells(obs, found, spread, truth, clusters["cluster"].to_numpy())


def truth_of(cells: pd.Index, paths: Sequence[str], without: Collection[str] = ()) -> np.ndarray:
    """Truth of the cells from tables of `read_truth`, "" where there is none.

    Parameters
    ----------
    without : names of the truth that `annotate.rename` makes empty: such cells have none.
    """
    tables = [read_text_table(path).set_index("cell")["truth"] for path in paths]
    found = pd.concat(tables) if tables else pd.Series(dtype=object)
    found = found.reindex(cells).fillna("")
    unnamed = {cleaned(name, "annotate.rename") for name in without}
    return found.mask(found.isin(unnamed), "").to_numpy(dtype=object)


def embedding_rows(
    cells: Cells, partitions: Mapping[str, Partitions], seed: int, most: int
) -> Iterator[tuple[str, str, int, dict[str, Score]]]:
    """(cells, embedding, number of cells, scores) of every embedding.

    Of more than `most` query, reference or all cells, so many are drawn.
    """
    labels = cells.obs["label"].to_numpy(dtype=object)
    judged = judged_cells(cells.query, cells.labelled, most, seed)
    query, labelled, every, both = judged
    whole = (cells.query.nonzero()[0], cells.labelled.nonzero()[0], labels)
    of_query, of_labelled, of_all = map(note_of, judged[:3], whole)
    known = np.where(cells.labelled, labels, "")[both]
    asked = np.where(cells.query, cells.truth, "")[both]
    for name, embedding in cells.embeddings.items():
        if len(query):
            truth, own = cells.truth[query], partitions[name]
            scores = label_scores(embedding[query], truth)
            scores |= cluster_scores(truth, own.alone)
            if own.both is not None:
                near, of_near = embedding[labelled], labels[labelled]
                found = knn_accuracy(near, of_near, embedding[query], truth)
                scores |= noted(found, f"reference: {of_labelled}" if of_labelled else "")
                found = reference_cluster_scores(own.both, known, asked)
                scores |= noted(found, note_of(both, labels))
            yield "query", name, len(query), noted(scores, of_query)
        if len(labelled):
            scores = label_scores(embedding[labelled], labels[labelled])
            yield "reference", name, len(labelled), noted(scores, of_labelled)
        scores = mixing_scores(embedding[every], cells.obs.iloc[every])
        yield "all", name, len(every), noted(scores, of_all)
        logger.info("embedding %s is done", name)


def atlas_cluster_rows(
    cells: Cells, embedding: str
) -> Iterator[tuple[str, str, int, dict[str, Score]]]:
    """The atlas's own clusters (made on all cells) against the query's truth."""
    query = cells.query
    if not query.any():
        return
    found = partition_agreement(cells.truth[query], cells.clusters[query])
    note = "clusters of the atlas, made on all cells"
    yield "query", embedding, int(query.sum()), {
        f"atlas_{name}": Score(score.value, note) for name, score in found.items()
    }  # fmt: skip


def transfer_rows(
    cells: Cells, calls: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, str, int, dict[str, Score]]]:
    """Every space of the label transfer against the truth."""
    reference = np.unique(cells.obs["label"].to_numpy()[cells.labelled].astype(str))
    for space, truth, table in calls_with_truth(cells, calls):
        if len(table):
            yield "query", space, len(table), transfer_scores(truth, table, reference)


def marker_calls(paths: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Labels by marker lists as calls, by their name; none where there are no lists.

    All types of the lists are categories of `cell_type`.

    Parameters
    ----------
    paths : cells.h5ad.
    """
    if not paths:
        return {}
    labels = read_part(paths[0], "obs")["label"].astype(str)
    types = [*read_part(paths[0], "uns/types"), UNASSIGNED]
    called = pd.Categorical(labels, categories=types)
    return {MARKERS: pd.DataFrame({"cell": labels.index.astype(str), "cell_type": called})}


def marker_rows(
    cells: Cells, calls: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, str, int, dict[str, Score]]]:
    """Labels by marker lists against the truth; they have no scores and no sets.

    Nothing where the truth names none of their types.
    """
    for name, truth, table in calls_with_truth(cells, calls):
        known = np.isin(truth.astype(str), table["cell_type"].cat.categories)
        if known.any():
            found = classification_scores(truth, table["cell_type"].to_numpy())
            note = f"{int((~known).sum())} cells have a truth that no list is named after"
            yield "query", name, len(table), found if known.all() else noted(found, note)


def calls_with_truth(
    cells: Cells, calls: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, np.ndarray, pd.DataFrame]]:
    """(space, truth, calls) of the query cells that have a truth.

    Raises
    ------
    InputError
        Calls are of cells that the atlas does not have.
    """
    truth = pd.Series(cells.truth, index=cells.obs.index)
    for space, table in calls.items():
        of_calls = truth.reindex(table["cell"])
        if of_calls.isna().any():
            raise InputError(
                f"annotation/{space}/calls.tsv.gz has {int(of_calls.isna().sum())} cells that "
                "latents.h5ad has not; remove annotation/ and start again"
            )
        rows = (of_calls != "").to_numpy()
        yield space, of_calls.to_numpy(dtype=object)[rows], table[rows].reset_index(drop=True)


def confusion_table(cells: Cells, calls: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """confusion.tsv: cells by space, truth and called label.

    Parameters
    ----------
    cells : all cells.
    calls : calls.tsv.gz by space.

    Raises
    ------
    InputError
        Calls are of cells that the atlas does not have.
    """
    parts = [pd.DataFrame(columns=list(CONFUSION))]
    for space, truth, table in calls_with_truth(cells, calls):
        if len(table):
            pairs = pd.DataFrame({"truth": truth, "predicted": table["cell_type"]})
            counted = pairs.value_counts(sort=False).rename("cells").reset_index()
            counted.insert(0, "space", space)
            parts.append(counted)
    return pd.concat(parts[1:] or parts, ignore_index=True)


def metrics_table(
    cells: Cells,
    calls: Mapping[str, pd.DataFrame],
    partitions: Mapping[str, Partitions],
    clustered: str,
    seed: int,
    most: int,
    markers: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """metrics.tsv: one row per value.

    Parameters
    ----------
    cells : all cells.
    calls : calls.tsv.gz by space.
    partitions : clusters of each embedding; none is needed where no query cell has a truth.
    clustered : the embedding of the atlas's clusters.
    seed : of the metrics.
    most : cells that an embedding is judged on; of more, so many are drawn.
    markers : see `marker_calls`.

    Raises
    ------
    InputError
        Calls are of cells that the atlas does not have.
    """
    without = int((cells.role("query") & (cells.truth == "")).sum())
    left_out = f"{without} query cells without truth are left out" if without else ""
    groups = [
        *embedding_rows(cells, partitions, seed, most),
        *atlas_cluster_rows(cells, clustered),
        *transfer_rows(cells, calls),
        *marker_rows(cells, markers or {}),
    ]
    rows = []
    for which, embedding, n_cells, scores in groups:
        for metric, score in noted(scores, left_out if which == "query" else "").items():
            rows.append(("blind", which, embedding, metric, score.value, n_cells, score.note))
    return pd.DataFrame(rows, columns=list(COLUMNS))
