"""Harmony: correction of principal components for batches (Korsunsky et al. 2019)."""

import numpy as np
import pandas as pd

from dice_atlas.features.correctors import HarmonySettings

# Cells per cluster, and at most so many clusters.
CELLS_PER_CLUSTER, MOST_CLUSTERS = 30, 100


def n_clusters(n_cells: int) -> int:
    """Number of Harmony's soft clusters of so many cells."""
    return max(2, min(round(n_cells / CELLS_PER_CLUSTER), MOST_CLUSTERS))


def harmony(
    pcs: np.ndarray, cells: pd.DataFrame, settings: HarmonySettings, seed: int, threads: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Corrected PCs (cells x p); see `correction.Correct`. There is nothing to note.

    Every parameter is given, since harmonypy's defaults changed in time. Those that are no setting
    are the defaults of harmonypy 2.0.2.

    Parameters
    ----------
    pcs : cells x p.
    cells : columns to correct for, a row per cell.
    settings : Harmony's own.
    seed : of Harmony's k-means.
    threads : 0 for all cores.
    """
    # Not every job that imports this module needs it: it takes a second to load.
    import harmonypy

    # PCs x cells: harmonypy guesses the orientation, and that way round it is always right.
    result = harmonypy.run_harmony(
        np.ascontiguousarray(pcs.T, dtype=np.float64),
        cells,
        list(cells.columns),
        theta=settings.theta,
        lamb=settings.ridge,
        sigma=settings.sigma,
        nclust=n_clusters(len(pcs)),
        tau=0,
        block_size=0.05,
        max_iter_harmony=settings.max_iter,
        max_iter_kmeans=4,
        epsilon_cluster=1e-3,
        epsilon_harmony=1e-2,
        verbose=False,
        random_state=seed,
        ncores=threads,
    )
    return np.asarray(result.Z_corr, dtype=np.float64), []
