"""Why labels are what they are: the genes behind each, and how clusters agree with them."""

import logging
from collections.abc import Mapping

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.features.projection import LatentSpace
from dice_atlas.holdout import require_same_cells
from dice_atlas.names import UNASSIGNED
from dice_atlas.transfer.levels import Levels

logger = logging.getLogger(__name__)

N_GENES = 20
GENE_COLUMNS = ("label", "cells", "against", "rank", "gene", "weight")
OTHERS = "all others"
CLUSTER_COLUMNS = (
    "space", "cluster", "query_cells", "label", "agreement", "unassigned", "reference_cells",
    "reference_label", "reference_agreement",
)  # fmt: skip


def label_genes(
    embedding: np.ndarray, labels: np.ndarray, loadings: np.ndarray, genes: np.ndarray
) -> pd.DataFrame:
    """The genes by which the reference's labels differ in the latent space.

    A position u stands for the scaled expression V u, so that the difference of two mean positions
    is one of expression, gene by gene, in standard deviations of the reference.

    Parameters
    ----------
    embedding : cells x k, denoised positions of labelled reference cells.
    labels : of these cells.
    loadings : V, genes x k.
    genes : their names.

    Returns
    -------
    DataFrame
        For each label the `N_GENES` largest `weight`s against the mean of the other labels' means
        (`against` = `OTHERS`), and against the label whose mean lies nearest; `cells` of the label.
    """
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        logger.warning("%d label(s) only: there is nothing to tell apart", len(names))
        return pd.DataFrame(columns=list(GENE_COLUMNS))
    means = np.stack([embedding[codes == c].mean(axis=0) for c in range(len(names))])
    tables = []
    for c, name in enumerate(names):
        squared = ((means - means[c]) ** 2).sum(axis=1)
        squared[c] = np.inf
        nearest = int(squared.argmin())
        others = np.delete(means, c, axis=0).mean(axis=0)
        for against, mean in ((OTHERS, others), (names[nearest], means[nearest])):
            weight = loadings @ (means[c] - mean)
            best = np.argsort(-weight, kind="stable")[:N_GENES]
            found = {"rank": np.arange(1, len(best) + 1), "gene": genes[best]}
            about = {"label": name, "cells": int((codes == c).sum()), "against": against}
            tables.append(pd.DataFrame({**about, **found, "weight": weight[best]}))
    return pd.concat(tables, ignore_index=True)


def cluster_agreement(
    cells: pd.DataFrame, calls: Mapping[str, pd.DataFrame], clusters: pd.Series
) -> pd.DataFrame:
    """How far the labels of each cluster agree, in each space.

    Parameters
    ----------
    cells : `role` and `label` ("" = none) of all cells, index: names.
    calls : calls.tsv.gz by space.
    clusters : of all cells, by name.

    Returns
    -------
    DataFrame
        `CLUSTER_COLUMNS`: `label` is the most frequent one of the query's assigned cells, or
        "unassigned" where most have none, `agreement` its share of the assigned (of all, if
        "unassigned"), `unassigned` the share of the query's cells without one;
        the `reference_` columns are of the given labels.
    """
    given = cells.loc[(cells["role"] == "reference") & (cells["label"] != ""), "label"]
    rows = []
    for space, own in calls.items():
        found = own.set_index("cell")["cell_type"]
        for cluster in sorted(clusters.unique(), key=int):
            members = clusters.index[clusters == cluster]
            query = found[found.index.isin(members)]
            lost = (query == UNASSIGNED).mean() if len(query) else np.nan
            counted = query if lost > 0.5 else query[query != UNASSIGNED]
            reference = given[given.index.isin(members)]
            rows.append(
                (
                    space, cluster, len(query), *most_frequent(counted), lost,
                    len(reference), *most_frequent(reference),
                )
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CLUSTER_COLUMNS))


def most_frequent(labels: pd.Series) -> tuple[str, float]:
    """The most frequent label (of a tie the first by name) and its share; "" and NaN of none."""
    if labels.empty:
        return "", np.nan
    shares = labels.value_counts(normalize=True).sort_index()
    return str(shares.idxmax()), float(shares.max())


def explain(
    denoised: ad.AnnData,
    space: LatentSpace,
    calls: Mapping[str, pd.DataFrame],
    clusters: pd.DataFrame,
    levels: Levels | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What explains the labels.

    Parameters
    ----------
    denoised : denoised.h5ad.
    space : of its latents.
    calls : calls.tsv.gz by space.
    clusters : clusters.tsv.gz.
    levels : names of the reference's labels; None: as they are.

    Returns
    -------
    label_genes.tsv and cluster_labels.tsv.

    Raises
    ------
    InputError
        The clusters are not of the cells of `denoised`, in its order.
    """
    require_same_cells(clusters["cell"], denoised.obs_names, "clusters.tsv.gz and denoised.h5ad")
    cells = denoised.obs[["role", "label"]].astype(str)
    cells["label"] = (levels or Levels()).renamed(cells["label"])
    labelled = ((cells["role"] == "reference") & (cells["label"] != "")).to_numpy()
    positions = np.asarray(denoised.obsm["X_dice"], dtype=float)[labelled]
    if "dice_coordinates" in denoised.uns:
        # Back to the latents that the loadings take.
        positions = np.linalg.solve(denoised.uns["dice_coordinates"], positions.T).T
    genes = label_genes(
        positions,
        cells["label"].to_numpy(dtype=str)[labelled],
        space.loadings,
        space.genes,
    )
    of_cell = pd.Series(clusters["cluster"].to_numpy(), index=clusters["cell"])
    return genes, cluster_agreement(cells, calls, of_cell)
