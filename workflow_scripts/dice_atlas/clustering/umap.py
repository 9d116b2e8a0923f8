"""UMAP of a stored neighbour graph."""

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from dice_atlas.errors import InputError
from dice_atlas.numerics.compiled import keep_compiled
from dice_atlas.numerics.neighbors import EXACT_UP_TO, Neighbors
from dice_atlas.numerics.sketch import drawn

# The spectral start needs more cells than the eigenvectors that it asks for.
MIN_SPECTRAL = 10
# Of many cells: passes of the optimiser, which starts from a map of some; cells of that map among
# which another one is placed.
EPOCHS, PLACED_AMONG = 50, 3


def embed_umap(
    graph: ad.AnnData,
    embedding: np.ndarray,
    name: str,
    seed: int,
    exact_up_to: int = EXACT_UP_TO,
    sketch: int = 50_000,
) -> np.ndarray:
    """Two-dimensional layout by `scanpy.tl.umap`.

    More than `exact_up_to` cells start from a map of `sketch` of them, not from eigenvectors of
    their graph, which take longer than all else. Fewer passes suffice from such a start.

    With a seed given, UMAP's optimiser runs on one thread: the layout is reproducible on one
    machine and one set of package versions, and does not depend on the number of threads.

    Parameters
    ----------
    graph : graph.h5ad: obsp, uns `neighbors`, uns `embedding`.
    embedding : cells x k, the embedding that the graph was made of.
    name : its name in config (dice, harmony, pca); the graph must say the same.
    exact_up_to, sketch : numbers of cells, see above.

    Returns
    -------
    ndarray
        cells x 2, float32.

    Raises
    ------
    InputError
        The graph was made of another embedding.
    """
    made_of = str(graph.uns.get("embedding", "nothing"))
    if made_of != name:
        raise InputError(
            f"clusters/graph.h5ad was made of the embedding {made_of!r}, expected {name!r}; "
            "remove it and start again"
        )
    # UMAP sets small weights of the graph it is given to 0.
    own = {**graph.obsp, "connectivities": graph.obsp["connectivities"].copy()}
    work = ad.AnnData(obs=graph.obs[[]], obsp=own)
    work.uns["neighbors"] = dict(graph.uns["neighbors"])
    work.obsm[work.uns["neighbors"]["params"]["use_rep"]] = np.asarray(embedding, dtype=np.float32)
    start, passes = "spectral" if work.n_obs >= MIN_SPECTRAL else "random", None
    if work.n_obs > max(exact_up_to, sketch):
        start, passes = "start", EPOCHS
        work.obsm[start] = placed(embedding, sketch, seed)
    keep_compiled()
    sc.tl.umap(work, random_state=seed, init_pos=start, maxiter=passes)
    return np.asarray(work.obsm["X_umap"], dtype=np.float32)


def placed(points: np.ndarray, sketch: int, seed: int) -> np.ndarray:
    """Places (cells x 2, float32) on a map of `sketch` of the cells: their own, or the middle of
    those of the nearest among them.

    Parameters
    ----------
    points : cells x k.
    """
    rows = drawn(np.arange(len(points)), sketch, seed)
    layout = joint_umap(points[rows], seed)
    near, _ = Neighbors(points[rows]).nearest(points, min(PLACED_AMONG, len(rows)))
    places = layout[near].mean(axis=1)
    places[rows] = layout
    return places


def umap_table(cells: pd.Index, layout: np.ndarray) -> pd.DataFrame:
    """umap.tsv.gz."""
    return pd.DataFrame({"cell": cells, "umap1": layout[:, 0], "umap2": layout[:, 1]})


def joint_umap(points: np.ndarray, seed: int) -> np.ndarray:
    """Layout of cells that have no graph yet, from 15 neighbours each.

    Parameters
    ----------
    points : cells x k.

    Returns
    -------
    cells x 2, float32.
    """
    work = ad.AnnData(obsm={"X_points": points})
    keep_compiled()
    sc.pp.neighbors(
        work, n_neighbors=min(15, len(points) - 1), use_rep="X_points", random_state=seed
    )
    sc.tl.umap(
        work, random_state=seed, init_pos="spectral" if len(points) >= MIN_SPECTRAL else "random"
    )
    return np.asarray(work.obsm["X_umap"], dtype=np.float32)
