"""Which replicates are compared, and the design matrix of their comparison."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dice_atlas.conditions.settings import (
    LEAST_REPLICATES,
    CompareSettings,
    Grouping,
    require_units,
    shared_replicates,
)
from dice_atlas.errors import InputError
from dice_atlas.names import UNASSIGNED

logger = logging.getLogger(__name__)

# Column of the design whose coefficient is the difference between condition and baseline.
EFFECT = "condition"


@dataclass(frozen=True)
class Comparison:
    """A condition and the baseline.

    Attributes
    ----------
    condition, baseline : their names.
    paired : whether replicates lie in both; only these are then compared.
    units : replicates of each of the two: `replicate`, `condition`, then the covariates.
    """

    condition: str
    baseline: str
    paired: bool
    units: pd.DataFrame

    def usable(self, enough: pd.Series) -> pd.DataFrame:
        """The units that have enough cells (mask by unit); of pairs those whose both ends have."""
        units = self.units[enough.reindex(self.units.index, fill_value=False)]
        if self.paired:
            units = units[units.groupby("replicate")["condition"].transform("nunique") == 2]
        return units

    def numbers(self, units: pd.DataFrame) -> tuple[int, int]:
        """How many units are of the baseline and of the condition."""
        of_condition = int((units["condition"] == self.condition).sum())
        return len(units) - of_condition, of_condition

    def too_few(self, units: pd.DataFrame) -> str:
        """Why units cannot be compared: one sentence, or ""."""
        numbers = self.numbers(units)
        if min(numbers) >= LEAST_REPLICATES:
            return ""
        start = f"fewer than {LEAST_REPLICATES}"
        if self.paired:
            return f"{start} pairs with enough cells: {numbers[0]}"
        return (
            f"{start} replicates with enough cells: {numbers[0]} in {self.baseline}, {numbers[1]} "
            f"in {self.condition}"
        )

    def design(self, units: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
        """The design matrix: intercept, replicates of pairs, covariates, and last the effect.

        A covariate's column enters where it adds something to those before it.
        """
        columns = {"intercept": np.ones(len(units))}
        for name in [*(["replicate"] if self.paired else []), *covariates]:
            for value in sorted(set(units[name]))[1:]:
                column = (units[name] == value).to_numpy(dtype=float)
                if rank([*columns.values(), column]) > len(columns):
                    columns[f"{name}:{value}"] = column
        columns[EFFECT] = (units["condition"] == self.condition).to_numpy(dtype=float)
        return pd.DataFrame(columns, index=units.index)


def rank(columns: Sequence[np.ndarray]) -> int:
    """Rank of the matrix of these columns."""
    return int(np.linalg.matrix_rank(np.stack(columns, axis=1)))


def unestimable(design: pd.DataFrame) -> str:
    """Why a design does not give the effect of the condition: one sentence, or ""."""
    if rank(list(design.to_numpy().T)) < design.shape[1]:
        return "the covariates cannot be told from the condition"
    if len(design) <= design.shape[1]:
        return f"{len(design)} replicates are too few for {design.shape[1]} coefficients"
    return ""


def compared_units(obs: pd.DataFrame, settings: Grouping) -> tuple[pd.Series, pd.DataFrame]:
    """Unit of each cell ("" = takes no part), and the units: a replicate in a condition each.

    Parameters
    ----------
    obs : of the atlas: `role`, `cell_type` and the columns that the settings name.

    Returns
    -------
    Series and DataFrame
        Names by cell; `replicate`, `condition` and the covariates by name.

    Raises
    ------
    InputError
        No cell takes part, a column is not there or a covariate has several values in one unit.
    """
    if missing := [name for name in settings.columns if name not in obs]:
        raise InputError(
            f"compare: {', '.join(missing)} is no column of the atlas; there are "
            f"{', '.join(obs.columns)}; add it to the sample sheet"
        )
    text = {name: obs[name].astype(str) for name in settings.columns}
    condition, replicate = text[settings.column], text[settings.sample]
    used = (condition != "") & (replicate != "") & (obs["cell_type"] != UNASSIGNED)
    if settings.cells == "query":
        used &= obs["role"] == "query"
    if not used.any():
        raise InputError(
            f"compare: no cell ({settings.cells}) has a label, a condition ({settings.column}) and "
            f"a replicate ({settings.sample}), expected labelled cells; look at annotate, or set "
            "compare.cells"
        )
    # A replicate of one condition keeps its name.
    several = replicate[used].map(condition[used].groupby(replicate[used]).nunique()) > 1
    named = replicate[used].where(~several, replicate[used] + ", " + condition[used])
    table = pd.DataFrame(
        {
            "unit": named,
            "replicate": replicate[used],
            "condition": condition[used],
            **{name: text[name][used] for name in settings.covariates},
        }
    ).drop_duplicates()
    twice = table.loc[table["unit"].duplicated(), "unit"]
    if len(twice):
        raise InputError(
            f"compare.covariates: the replicate {twice.iloc[0]} has several values of "
            f"{', '.join(settings.covariates)} in one condition, expected one; take the covariate "
            "out, or make compare.sample finer"
        )
    units = table.set_index("unit").sort_index()
    return named.reindex(obs.index, fill_value=""), units


def comparisons(units: pd.DataFrame, settings: CompareSettings) -> list[Comparison]:
    """Every other condition against the baseline.

    Parameters
    ----------
    units : see `compared_units`.
    settings : of the comparison.

    Raises
    ------
    InputError
        See `require_units`.
    """
    baseline = settings.baseline
    pairs = list(zip(units["replicate"], units["condition"], strict=True))
    require_units(pairs, settings)
    found = []
    for condition in sorted(set(units["condition"]) - {baseline}):
        both = shared_replicates(pairs, baseline, condition)
        own = units[units["condition"].isin([baseline, condition])]
        if both:
            if alone := sorted(set(own["replicate"]) - set(both)):
                logger.warning(
                    "%s: the replicates %s have no partner in %s and %s, and are left out",
                    condition, ", ".join(alone), baseline, condition,
                )  # fmt: skip
            own = own[own["replicate"].isin(both)]
        found.append(Comparison(condition, baseline, bool(both), own))
    return found
