"""Anchors of all cells in one space, the embedding of their weights, and the calibration."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.holdout import calibration_cells
from dice_atlas.names import SYNTHETIC
from dice_atlas.tables import read_part
from dice_atlas.transfer.anchors import Anchors, NoAnchors, top_dim_features
from dice_atlas.transfer.calibration import calibration_table
from dice_atlas.transfer.dataset import common_to_samples, read_expression, reference_features
from dice_atlas.transfer.settings import AnchorSettings, ReductionSettings, WeightSettings
from dice_atlas.transfer.spaces import EmbeddingSpace, ExpressionSpace, Space

logger = logging.getLogger(__name__)


def expression_space(
    paths: Sequence[str | Path],
    reduction: ReductionSettings,
    seed: int,
    synthetic: Sequence[str | Path] = (),
) -> ExpressionSpace:
    """Space "pca": the reduction of the reference's variable genes.

    Parameters
    ----------
    paths : filtered.h5ad of all samples.
    synthetic : of synthetic reference cells, which follow; genes are chosen without them.
    reduction, seed : of the space.

    Raises
    ------
    InputError
        The samples have too few genes in common, or too few of the variable ones.
    """
    features = reference_features(paths, reduction.nfeatures)
    expression = read_expression([*paths, *synthetic], features)
    return ExpressionSpace(expression, reduction.method, reduction.dims, seed)


def dice_space(
    paths: Sequence[str | Path],
    embedding_paths: Sequence[str | Path],
    loadings_path: str | Path,
    cells: pd.Index,
    max_features: int,
) -> EmbeddingSpace:
    """Space "dice": the denoised latents; the filter's genes are those of their loadings.

    Parameters
    ----------
    paths : filtered.h5ad of all samples, synthetic reference cells last.
    embedding_paths, loadings_path : denoised.h5ad of their cells, and loadings.npz.
    cells : names of the cells of the samples.
    max_features : genes of the filter, see `top_dim_features`.

    Raises
    ------
    InputError
        The embedding lacks some of the cells.
    """
    denoised = np.concatenate([read_part(path, "obsm/X_dice") for path in embedding_paths])
    names = np.concatenate([read_part(path, "obs").index for path in embedding_paths])
    # Of a transfer to one sample those of the others are left out.
    position = pd.Index(names).get_indexer(cells)
    if (position < 0).any():
        raise InputError(
            f"{embedding_paths[0]} lacks {int((position < 0).sum())} of the {len(cells)} cells of "
            f"the filtered samples, such as {cells[position < 0][0]}: remove it and start again"
        )
    with np.load(loadings_path, allow_pickle=False) as saved:
        genes, loadings = saved["genes"].astype(str), saved["loadings"]
    present = common_to_samples(paths, genes)
    genes, loadings = genes[present], loadings[present]
    top = genes[top_dim_features(loadings, max_features)]
    embedding = np.asarray(denoised[position], dtype=np.float64)
    return EmbeddingSpace(embedding, read_expression(paths, top))


def anchors_table(anchors: Anchors, reference: pd.Index, query: pd.Index) -> pd.DataFrame:
    """Anchors by the names of their cells (anchors.tsv.gz)."""
    return pd.DataFrame(
        {
            "reference_cell": reference[anchors.reference],
            "query_cell": query[anchors.query],
            "score": anchors.score,
        }
    )


def weight_table(embedding: np.ndarray, query: pd.Index, reference: pd.DataFrame) -> ad.AnnData:
    """The embedding of the query that weights are measured in, and the reference's labels."""
    return ad.AnnData(
        obs=pd.DataFrame(index=query),
        obsm={"X_weight": embedding},
        uns={
            "reference_labels": {
                "cells": reference.index.to_numpy(dtype=str),
                "labels": reference["label"].to_numpy(dtype=str),
            }
        },
    )


def find(
    space: Space,
    cells: pd.DataFrame,
    settings: AnchorSettings,
    weighing: WeightSettings,
    listed: Collection[str] | None = None,
    one_of_several: bool = False,
) -> tuple[pd.DataFrame, ad.AnnData, pd.DataFrame]:
    """Anchors between reference and query, and the calibration of their labels.

    Parameters
    ----------
    space : where anchors are found.
    cells : `sample`, `role`, `label` and `cell_key` of all its cells.
    settings, weighing : of the anchors and of their weights.
    listed : see `holdout.calibration_cells`.
    one_of_several : whether the query is one sample of several. One without anchors must not stop
        the others: its cells get no label, with a warning.

    Returns
    -------
    anchors.tsv.gz, `weight_table` and calibration.tsv.gz.

    Raises
    ------
    InputError
        No anchor is found, or there are too few cells or genes for a common space.
    """
    reference = np.flatnonzero(cells["role"] == "reference")
    query = np.flatnonzero(cells["role"] == "query")
    try:
        anchors, embedding = space.anchors(reference, query, settings)
    except NoAnchors as error:
        if not one_of_several:
            raise
        logger.warning("%s: no cell gets a label: %s", cells["sample"].iloc[query[0]], error)
        none = np.empty(0, dtype=np.int64)
        anchors, embedding = Anchors(none, none, np.empty(0)), np.zeros((len(query), 1))
    known = cells.iloc[reference]
    # Synthetic cells are not exchangeable with the query's.
    real_labels = known["label"].where(~known.index.str.startswith(SYNTHETIC), "")
    calibration = calibration_table(
        space,
        reference,
        query,
        cells.index,
        known["label"],
        calibration_cells(known["cell_key"], real_labels, listed),
        settings,
        weighing,
    )
    calibration.insert(1, "sample", cells.loc[calibration["cell"], "sample"].to_numpy())
    names = cells.index[query]
    return (
        anchors_table(anchors, known.index, names),
        weight_table(embedding, names, known),
        calibration,
    )
