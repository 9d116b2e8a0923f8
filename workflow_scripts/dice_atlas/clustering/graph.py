"""The k-nearest-neighbour graph of cells in an embedding."""

from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

from dice_atlas.errors import InputError
from dice_atlas.names import EMBEDDINGS
from dice_atlas.numerics.compiled import keep_compiled
from dice_atlas.numerics.neighbors import Neighbors


def neighbor_graph(
    embedding: np.ndarray,
    n_neighbors: int,
    seed: int,
    cells: Sequence[str] | None = None,
    key: str = "X_embedding",
    exact_up_to: int | None = None,
) -> ad.AnnData:
    """Fuzzy neighbour graph with Euclidean distances (`scanpy.pp.neighbors`, method umap).

    Parameters
    ----------
    embedding : cells x k.
    n_neighbors : neighbours of a cell, itself counted; at most all cells are used.
    seed : kept in `uns`; the search itself has none.
    cells : cell names; row numbers when not given.
    key : obsm key of the embedding, which `uns["neighbors"]` names.
    exact_up_to : cells up to which neighbours are exact, see `Neighbors`.

    Returns
    -------
    AnnData
        No X; obsm `key`, obsp `connectivities` and `distances`, uns `neighbors`.

    Raises
    ------
    InputError
        Fewer than three cells, or values that are not finite.
    """
    embedding = np.asarray(embedding, dtype=np.float32)
    check_embedding(embedding)
    n_neighbors = min(n_neighbors, len(embedding) - 1)
    names = [str(i) for i in range(len(embedding))] if cells is None else list(cells)
    graph = ad.AnnData(obs=pd.DataFrame(index=pd.Index(names, dtype=object)))
    graph.obsm[key] = embedding
    keep_compiled()
    sc.pp.neighbors(
        graph,
        n_neighbors=n_neighbors,
        use_rep=key,
        random_state=seed,
        transformer=CellSearch(n_neighbors, exact_up_to),
    )
    return graph


class CellSearch:
    """The library's neighbour search in the shape that scanpy asks for (scikit-learn's).

    Parameters
    ----------
    n_neighbors : of each cell, itself counted.
    exact_up_to : see `Neighbors`.
    """

    def __init__(self, n_neighbors: int, exact_up_to: int | None) -> None:
        self.n_neighbors, self.exact_up_to = n_neighbors, exact_up_to

    def get_params(self) -> dict[str, int]:
        """What scanpy reads."""
        return {"n_neighbors": self.n_neighbors}

    def fit_transform(self, embedding: np.ndarray) -> sp.csr_matrix:
        """Distances of each cell to its nearest others (cells x cells)."""
        n, k = len(embedding), self.n_neighbors - 1
        index, distance = Neighbors(embedding, self.exact_up_to).nearest_others(k)
        start = np.arange(0, n * k + 1, k)
        return sp.csr_matrix((distance.ravel(), index.ravel(), start), shape=(n, n))


def check_embedding(embedding: np.ndarray) -> None:
    """Refuse embeddings that no graph can be made of; see `neighbor_graph`."""
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
    """The cells x k embedding that config calls `name` (dice, harmony or pca).

    Raises
    ------
    InputError
        The data have none of that name.
    """
    key = EMBEDDINGS[name]
    if key not in data.obsm:
        raise InputError(
            f"there is no {key} for the embedding {name!r} (seen: {', '.join(data.obsm)}); "
            "remove the file of the embedding and start again"
        )
    return np.asarray(data.obsm[key])
