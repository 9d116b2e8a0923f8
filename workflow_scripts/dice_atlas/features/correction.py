"""Batch correction of principal components, in the groups of cells that `batch.scope` names.

A corrector moves cells in the space of the PCs. A method that gives an embedding of its own (scVI)
is none: what is fitted on the PCs' loadings afterwards would not belong to it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dice_atlas.features.harmony import run_harmony
from dice_atlas.features.mapping import map_query
from dice_atlas.tables import require_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchSettings:
    """Section `batch` of the config.

    Attributes
    ----------
    method : a key of `CORRECTORS`.
    keys : columns of the cells' obs to correct for.
    scope : within_role, joint, mapped or none.
    n_pcs : number of PCs.
    theta, sigma, ridge, max_iter : Harmony's; a ridge (`lambda`) of None is estimated.
    """

    method: str
    keys: tuple[str, ...]
    scope: str
    n_pcs: int
    theta: float
    sigma: float
    ridge: float | None
    max_iter: int

    @classmethod
    def from_config(cls, batch: Mapping[str, Any]) -> "BatchSettings":
        """Settings from the `batch` section of the config."""
        names = ("method", "keys", "scope", "n_pcs", "theta", "sigma", "lambda", "max_iter")
        values = [batch[name] for name in names]
        values[1] = tuple(values[1])
        return cls(*values)


class Corrector(Protocol):
    """Corrects the PCs of one group of cells that has more than one batch."""

    def __call__(
        self,
        pcs: np.ndarray,
        batches: pd.DataFrame,
        settings: BatchSettings,
        seed: int,
        threads: int,
    ) -> np.ndarray:
        """Corrected PCs, cells x p.

        Parameters
        ----------
        pcs : cells x p.
        batches : the keys with more than one value, a row per cell.
        threads : 0 for all cores.
        """


def harmony(
    pcs: np.ndarray, batches: pd.DataFrame, settings: BatchSettings, seed: int, threads: int
) -> np.ndarray:
    """See `Corrector`; Harmony (Korsunsky et al. 2019)."""
    return run_harmony(
        pcs,
        batches,
        settings.theta,
        settings.sigma,
        settings.ridge,
        settings.max_iter,
        seed,
        threads,
    )


# Name in `batch.method`: function.
CORRECTORS: Mapping[str, Corrector] = {"harmony": harmony}


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
    correct = CORRECTORS[settings.method]
    for group, rows in groups.items():
        metadata = cells.loc[rows, keys].astype(str).reset_index(drop=True)
        varying = [key for key in keys if metadata[key].nunique() > 1]
        if not varying:
            notes.append(f"{group}: one batch only, not corrected")
        else:
            sizes = "; ".join(f"{key}: {metadata[key].nunique()} batches" for key in varying)
            corrected[rows] = correct(pcs[rows], metadata[varying], settings, seed, threads)
            notes.append(f"{group}: corrected ({sizes}, {int(rows.sum())} cells)")
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
