"""Shares of the cell types: how they differ between conditions, with an interval."""

import numpy as np
import pandas as pd
from scipy import stats

from dice_atlas.conditions.design import EFFECT

# Added to the cells of a type and to all others: a share of 0 has no logit.
HALF = 0.5
LEVEL = 0.95


def log_odds(cells: pd.DataFrame) -> pd.DataFrame:
    """Log2 of the odds of each type in each unit (units x types)."""
    others = cells.sum(axis=1).to_numpy()[:, None] - cells
    return np.log2((cells + HALF) / (others + HALF))


def compare_shares(
    cells: pd.DataFrame, design: pd.DataFrame, tested: list[str] | None = None
) -> pd.DataFrame:
    """The change of each type's share between two conditions.

    A linear model of each type's log odds on the design, each replicate of the same weight: the
    differences between replicates are larger than what the number of cells explains, and a
    replicate of many cells is no more than one replicate. The interval and p value are Student's t
    (as propeller's logit, Phipson et al. 2022, without its shrinkage of variances).

    Parameters
    ----------
    cells : units x types, numbers of cells, also fractional.
    design : units x coefficients of full rank, fewer than units; see `Comparison.design`.
    tested : types to test; None: all.

    Returns
    -------
    DataFrame
        By type: `share_baseline`, `share_condition` (means over units), `log2_odds_ratio`,
        `interval_low`, `interval_high` (95 %), `p_value`, `p_adjusted` (Benjamini-Hochberg over the
        types); NaN where all replicates are alike.
    """
    matrix, response = design.to_numpy(), log_odds(cells)
    shares = cells.div(cells.sum(axis=1), axis=0)
    second = design[EFFECT].to_numpy() > 0
    chosen = list(cells) if tested is None else tested
    values = response[chosen].to_numpy()
    coefficients = np.linalg.lstsq(matrix, values, rcond=None)[0]
    freedom = len(matrix) - matrix.shape[1]
    variance = ((values - matrix @ coefficients) ** 2).sum(axis=0) / freedom
    place = list(design).index(EFFECT)
    error = np.sqrt(variance * np.linalg.inv(matrix.T @ matrix)[place, place])
    effect = coefficients[place]
    # Equal to rounding: nothing varies that an error could be estimated from.
    error[error < 1e-9] = np.nan
    p_value = 2 * stats.t.sf(np.abs(effect / error), freedom)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return pd.DataFrame(
        {
            "share_baseline": shares.loc[~second, chosen].mean(),
            "share_condition": shares.loc[second, chosen].mean(),
            "log2_odds_ratio": effect,
            "interval_low": effect - half,
            "interval_high": effect + half,
            "p_value": p_value,
            "p_adjusted": adjusted(p_value),
        },
        index=pd.Index(chosen, name="cell_type"),
    )


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """P values adjusted by Benjamini and Hochberg; NaN stays NaN and does not count."""
    known = np.isfinite(p_values)
    result = np.full(p_values.shape, np.nan)
    if known.any():
        result[known] = stats.false_discovery_control(p_values[known])
    return result
