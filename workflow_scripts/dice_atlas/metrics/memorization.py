"""Whether generated cells are copies of the cells that their generator was trained on.

A forest cannot see it: copies of training cells are real cells to it. Distance to the closest
record (DCR) is the usual figure for synthetic tables; relative to held-out records it is that of
Platzer and Reutterer 2021 (doi 10.3389/fdata.2021.679939).
"""

import numpy as np

from dice_atlas.numerics.exact_neighbors import nearest

QUANTILE = 0.05


def distance_to_closest_record(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    quantile: float = QUANTILE,
) -> float:
    """Low quantile of the distance to the nearest training cell, over that of held-out cells.

    0: that share of the synthetic cells are copies; 1: they are as far from the training cells as
    new real cells are; above 1: further, as cells without likeness are, too.

    Parameters
    ----------
    synthetic, training, held_out : cells x d, of one space. It must not favour the training cells:
        components fitted on them alone leave out more of any other cell.
    quantile : of the distances, 0 to 1.

    Returns
    -------
    NaN where the held-out cells themselves are at distance 0.

    Raises
    ------
    ValueError
        There are no cells of one of the three, or the dimensions differ.
    """
    if not min(len(synthetic), len(training), len(held_out)):
        raise ValueError(
            f"{len(synthetic)} synthetic, {len(training)} training and {len(held_out)} held-out "
            "cells: some of each are needed"
        )
    return ratio_of_quantiles(
        nearest_distance(synthetic, training), nearest_distance(held_out, training), quantile
    )


def nearest_distance(cells: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Euclidean distance of each cell to the nearest of `among`, exact whatever their number."""
    _, distance = nearest(cells, among, 1)
    return distance[:, 0]


def ratio_of_quantiles(
    synthetic: np.ndarray, held_out: np.ndarray, quantile: float = QUANTILE
) -> float:
    """The same quantile of two sets of distances, as a ratio; NaN over 0."""
    expected = float(np.quantile(held_out, quantile))
    return float(np.quantile(synthetic, quantile)) / expected if expected > 0 else np.nan


def closer_to_training(synthetic: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> float:
    """Share of synthetic cells that are nearer to a training than to a held-out cell.

    Ties count half. 0.5 is expected of a generator that memorises nothing, give or take several
    times the error of a share of so many cells: one draw of real cells serves all of them. Copies
    of other training cells than these are not counted as such.

    Parameters
    ----------
    synthetic, training, held_out : cells x d, of one space, as many training as held-out cells
        (the larger set would be the nearer one).

    Raises
    ------
    ValueError
        There are not as many training as held-out cells, or none.
    """
    if len(training) != len(held_out):
        raise ValueError(f"{len(training)} training and {len(held_out)} held-out cells: not equal")
    to_training = nearest_distance(synthetic, training)
    to_held_out = nearest_distance(synthetic, held_out)
    nearer, tied = to_training < to_held_out, to_training == to_held_out
    return float(nearer.mean() + 0.5 * tied.mean())
