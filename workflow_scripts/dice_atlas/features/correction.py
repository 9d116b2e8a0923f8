"""Batch correction of principal components, in the groups of cells that `batch.scope` names.

A corrector moves cells in the space of the PCs. A method that gives an embedding of its own (scVI)
is none: what is fitted on the PCs' loadings afterwards would not belong to it.
"""

import logging
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.mapping import map_query
from dice_atlas.registry import load
from dice_atlas.tables import require_columns

logger = logging.getLogger(__name__)

# Batches of fewer cells show little of what a batch does to its cells.
FEW_CELLS = 20
# A correction that removes more of the variance has taken it for a batch effect.
MOST_REMOVED = 0.5


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
        A batch key is no column of the cells, or see `require_batches`.
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
            small = require_batches(metadata[varying], group)
            sizes = "; ".join(f"{key}: {metadata[key].nunique()} batches" for key in varying)
            corrected[rows], told = correct(
                pcs[rows], metadata[varying], settings.own, seed, threads
            )
            told += [*small, *removed_variance(pcs[rows], corrected[rows], group)]
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


def require_batches(batches: pd.DataFrame, group: str) -> list[str]:
    """What is to be said of the sizes of batches; refuses those that are no batches.

    Parameters
    ----------
    batches : the batch keys, a row per cell.
    group : of the cells, for messages.

    Raises
    ------
    InputError
        Batches have fewer than two cells on average: Harmony would take each cell for its own
        batch, or never end.
    """
    notes = []
    for key in batches:
        sizes = batches[key].value_counts()
        if 2 * len(sizes) > len(batches):
            raise InputError(
                f"batch.keys: the {len(batches)} cells of the {group} have {len(sizes)} batches in "
                f"{key!r} (such as {', '.join(sizes.index[:3])}), expected batches of many cells; "
                "is it a column of barcodes? Correct `batch` in the sample sheet or batch.keys, or "
                "set batch.scope to none"
            )
        few = int((sizes < FEW_CELLS).sum())
        if few:
            notes.append(
                f"{few} of {len(sizes)} batches in {key} have fewer than {FEW_CELLS} cells"
            )
            logger.warning("%s: %s", group, notes[-1])
    return notes


def removed_variance(pcs: np.ndarray, corrected: np.ndarray, group: str) -> list[str]:
    """A note if the correction removed much of the variance of the PCs (cells x p)."""
    before, after = pcs.var(axis=0).sum(), corrected.var(axis=0).sum()
    share = 1 - after / before if before > 0 else 0.0
    if share <= MOST_REMOVED:
        return []
    note = f"the correction removed {100 * share:.0f} % of the variance"
    logger.warning("%s: %s; are these batches?", group, note)
    return [note]
