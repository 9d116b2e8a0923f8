"""Batch correction of principal components, in the groups of cells that `batch.scope` names.

A corrector moves cells in the space of the PCs. A method that gives an embedding of its own (scVI)
is none: what is fitted on the PCs' loadings afterwards would not belong to it.
"""

import logging
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.mapping import map_query
from dice_atlas.registry import load
from dice_atlas.tables import require_columns

logger = logging.getLogger(__name__)


class Correct(Protocol):
    """Corrects the PCs of one group of cells that has more than one batch."""

    def __call__(
        self, pcs: np.ndarray, cells: pd.DataFrame, settings: Any, seed: int, threads: int
    ) -> tuple[np.ndarray, list[str]]:
        """Corrected PCs (cells x p), and notes: what a reader should know, one sentence each.

        Parameters
        ----------
        pcs : cells x p.
        cells : the batch keys with more than one value, a row per cell.
        settings : the corrector's own, see `correctors.Corrector`.
        threads : 0 for all cores.
        """


def correct_batches(
    pcs: np.ndarray, cells: pd.DataFrame, settings: BatchSettings, seed: int, threads: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Correct PCs for the batch keys, in the groups of cells that the scope names.

    Parameters
    ----------
    pcs : cells x p.
    cells : the cells' obs, with `role` and the batch keys.
    seed : of the corrector.
    threads : of the corrector; 0 for all cores.

    Returns
    -------
    corrected : cells x p; rows of groups with one batch stay as they were.
    notes : what was done to each group, one sentence each.

    Raises
    ------
    InputError
        A batch key is no column of the cells.
    """
    keys = list(settings.keys)
    require_columns(keys, cells, "the cells")
    corrected, notes = pcs.copy(), []
    if settings.scope == "none":
        return corrected, ["batch.scope is none: not corrected"]
    roles = cells["role"].astype(str)
    mapped = settings.scope == "mapped" and roles.nunique() > 1
    if settings.scope == "joint":
        groups = {"reference and query": np.ones(len(cells), dtype=bool)}
    elif mapped:
        groups = {"reference": (roles == "reference").to_numpy()}
    else:
        groups = {role: (roles == role).to_numpy() for role in sorted(set(roles), reverse=True)}
    correct: Correct = load(settings.corrector.function)
    for group, rows in groups.items():
        metadata = cells.loc[rows, keys].astype(str).reset_index(drop=True)
        varying = [key for key in keys if metadata[key].nunique() > 1]
        if not varying:
            notes.append(f"{group}: one batch only, not corrected")
        else:
            sizes = "; ".join(f"{key}: {metadata[key].nunique()} batches" for key in varying)
            corrected[rows], told = correct(
                pcs[rows], metadata[varying], settings.own, seed, threads
            )
            about = "; ".join([f"corrected ({sizes}, {int(rows.sum())} cells)", *told])
            notes.append(f"{group}: {about}")
        logger.info("%s, %s", settings.method, notes[-1])
    if mapped:
        reference = groups["reference"]
        batches = cells.loc[~reference, keys].astype(str).agg(" ".join, axis=1).to_numpy()
        corrected[~reference] = map_query(
            corrected[reference], pcs[~reference], batches, settings.sigma, seed
        )
        notes.append(
            f"query: mapped on the reference ({len(set(batches))} batches, {len(batches)} cells)"
        )
        logger.info("mapping, %s", notes[-1])
    return corrected, notes
