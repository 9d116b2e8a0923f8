"""Batch correction of principal components: Harmony, and the mapping of a query on a reference."""

import logging
from typing import Any

import harmonypy
import numpy as np
import pandas as pd

from dice_atlas.features.mapping import map_query

logger = logging.getLogger(__name__)


def correct_batches(
    pcs: np.ndarray,
    cells: pd.DataFrame,
    settings: dict[str, Any],
    seed: int,
    threads: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Correct PCs for the batch keys, in the groups of cells that `scope` names.

    Parameters
    ----------
    pcs : cells x p.
    cells : the cells' obs, with `role` and the batch keys.
    settings : config section `batch`.
    seed : of Harmony's k-means.
    threads : of Harmony; 0 for all cores.

    Returns
    -------
    corrected : cells x p; rows of groups with one batch stay as they were.
    notes : what was done to each group, one sentence each.
    """
    scope, keys = settings["scope"], list(settings["keys"])
    corrected, notes = pcs.copy(), []
    if scope == "none":
        return corrected, ["batch.scope is none: not corrected"]
    roles = cells["role"].astype(str)
    mapped = scope == "mapped" and roles.nunique() > 1
    if scope == "joint":
        groups = {"reference and query": np.ones(len(cells), dtype=bool)}
    elif mapped:
        groups = {"reference": (roles == "reference").to_numpy()}
    else:
        groups = {role: (roles == role).to_numpy() for role in sorted(set(roles), reverse=True)}
    for group, rows in groups.items():
        metadata = cells.loc[rows, keys].astype(str).reset_index(drop=True)
        varying = [key for key in keys if metadata[key].nunique() > 1]
        if not varying:
            notes.append(f"{group}: one batch only, not corrected")
        else:
            sizes = "; ".join(f"{key}: {metadata[key].nunique()} batches" for key in varying)
            corrected[rows] = run_harmony(pcs[rows], metadata[varying], settings, seed, threads)
            notes.append(f"{group}: corrected ({sizes}, {int(rows.sum())} cells)")
        logger.info("Harmony, %s", notes[-1])
    if mapped:
        reference = groups["reference"]
        batches = cells.loc[~reference, keys].astype(str).agg(" ".join, axis=1).to_numpy()
        corrected[~reference] = map_query(
            corrected[reference], pcs[~reference], batches, settings["sigma"], seed
        )
        notes.append(
            f"query: mapped on the reference ({len(set(batches))} batches, {len(batches)} cells)"
        )
        logger.info("mapping, %s", notes[-1])
    return corrected, notes


def run_harmony(
    pcs: np.ndarray, metadata: pd.DataFrame, settings: dict[str, Any], seed: int, threads: int
) -> np.ndarray:
    """Harmony with every parameter given, since harmonypy's defaults changed between versions.

    Those that config does not hold are the defaults of harmonypy 2.0.2.
    """
    # PCs x cells: harmonypy guesses the orientation, and that way round it is always right.
    result = harmonypy.run_harmony(
        np.ascontiguousarray(pcs.T, dtype=np.float64),
        metadata,
        list(metadata.columns),
        theta=settings["theta"],
        lamb=settings["lambda"],
        sigma=settings["sigma"],
        nclust=max(2, min(round(len(pcs) / 30), 100)),
        tau=0,
        block_size=0.05,
        max_iter_harmony=settings["max_iter"],
        max_iter_kmeans=4,
        epsilon_cluster=1e-3,
        epsilon_harmony=1e-2,
        verbose=False,
        random_state=seed,
        ncores=threads,
    )
    return np.asarray(result.Z_corr, dtype=np.float64)
