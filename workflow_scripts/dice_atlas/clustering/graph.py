"""The k-nearest-neighbour graph of cells in an embedding."""

from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from dice_atlas.errors import InputError
from dice_atlas.names import EMBEDDINGS

# Up to here neighbours are exact (brute force, a minute on two cores); beyond, pynndescent.
EXACT_UP_TO = 50_000


def neighbor_graph(
    embedding: np.ndarray,
    n_neighbors: int,
    seed: int,
    cells: Sequence[str] | None = None,
    key: str = "X_embedding",
) -> ad.AnnData:
    """Fuzzy neighbour graph with Euclidean distances (`scanpy.pp.neighbors`, method umap).

    Parameters
    ----------
    embedding : cells x k.
    n_neighbors : neighbours of a cell, itself counted; at most all cells are used.
    seed : matters only above `EXACT_UP_TO` cells, where neighbours are approximate.
    cells : cell names; row numbers when not given.
    key : obsm key of the embedding, which `uns["neighbors"]` names.

    Returns
    -------
    AnnData
        No X; obsm `key`, obsp `connectivities` and `distances`, uns `neighbors`.
    """
    embedding = np.asarray(embedding, dtype=np.float32)
    check_embedding(embedding)
    names = [str(i) for i in range(len(embedding))] if cells is None else list(cells)
    graph = ad.AnnData(obs=pd.DataFrame(index=pd.Index(names, dtype=object)))
    graph.obsm[key] = embedding
    sc.pp.neighbors(
        graph,
        n_neighbors=min(n_neighbors, len(embedding) - 1),
        use_rep=key,
        random_state=seed,
        transformer="sklearn" if len(embedding) <= EXACT_UP_TO else None,
    )
    return graph


def check_embedding(embedding: np.ndarray) -> None:
    """Refuse embeddings that no graph can be made of."""
    if embedding.ndim != 2 or len(embedding) < 3:
        raise InputError(
            f"the embedding has shape {embedding.shape}, clustering needs at least 3 cells; "
            "are the QC limits too strict?"
        )
    bad = int((~np.isfinite(embedding)).any(axis=1).sum())
    if bad:
        raise InputError(
            f"the embedding of {bad} of {len(embedding)} cells is not finite; expected numbers; "
            "look for a warning in the logs of fit_loadings and denoise_shard"
        )


def embedding_of(data: ad.AnnData, name: str) -> np.ndarray:
    """The cells x k embedding that config calls `name` (dice, harmony or pca)."""
    key = EMBEDDINGS[name]
    if key not in data.obsm:
        raise InputError(
            f"there is no {key} for the embedding {name!r} (seen: {', '.join(data.obsm)}); "
            "remove the file of the embedding and start again"
        )
    return np.asarray(data.obsm[key])
