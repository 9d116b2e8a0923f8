"""Cells and values chosen by obs columns: the sheet's `subset` and `batch: obs:COLUMN`."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError
from dice_atlas.names import FROM_OBS
from dice_atlas.texts import hidden, with_near

logger = logging.getLogger(__name__)


def column_text(obs: pd.DataFrame, column: str, source: str) -> pd.Series:
    """An obs column as plain strings, "" where it is missing.

    Blanks around a value are cut. Whole-valued floats are written without a decimal point: pandas
    makes floats of whole numbers as soon as one is missing.

    Raises
    ------
    InputError
        There is no such column.
    """
    if column not in obs:
        # A reader may have read only the columns that were asked for.
        seen = ", ".join(map(str, obs.attrs.get("columns", obs.columns))) or "none"
        raise InputError(
            f"{source}: no obs column {column!r}; its obs columns: {seen}; correct the sample sheet"
        )
    values = obs[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        names = np.array([*strings(values.cat.categories), ""], dtype=object)
        return pd.Series(names[values.cat.codes], index=obs.index, dtype=object)  # code -1: none
    return pd.Series(strings(values), index=obs.index, dtype=object)


def strings(values: pd.Series | pd.Index) -> list[str]:
    """Values as text; see `column_text`."""
    if pd.api.types.is_float_dtype(values.dtype):
        return ["" if pd.isna(v) else str(int(v)) if v % 1 == 0 else str(v) for v in values]
    return ["" if pd.isna(v) else str(v).strip() for v in values]


class Condition(NamedTuple):
    """Cells that have one of these values in an obs column are kept, or (not `kept`) left out.

    Attributes
    ----------
    column : of obs.
    values : its text in the cells.
    kept : whether such cells are kept.
    """

    column: str
    values: list[str]
    kept: bool


def parse_subset(spec: str) -> list[Condition]:
    """Conditions of "column=value|value;other!=value"."""
    conditions = []
    for part in spec.split(";"):
        column, _, values = part.partition("=")
        kept = not column.rstrip().endswith("!")
        name = (column if kept else column.rstrip()[:-1]).strip()
        conditions.append(Condition(name, [value.strip() for value in values.split("|")], kept))
    return conditions


def subset_columns(spec: str) -> set[str]:
    """Obs columns that a subset is told by; none of an empty one."""
    return {condition.column for condition in parse_subset(spec)} if spec else set()


def keep_mask(obs: pd.DataFrame, spec: str, source: str) -> np.ndarray:
    """Which cells are in the subset: they must meet all conditions.

    Parameters
    ----------
    obs : columns of the cells.
    spec : see `parse_subset`.
    source : their file, for messages.

    Raises
    ------
    InputError
        For a column or a value to keep that is not there (with those that are), and for no cell. A
        value to leave out may be missing, with a warning: a sheet says the same of all samples.
    """
    keep = np.ones(len(obs), dtype=bool)
    for column, values, kept in parse_subset(spec):
        cells = column_text(obs, column, source)
        there = sorted(cells.unique())
        unknown = [value for value in values if value not in there]
        if unknown and not kept:
            logger.warning(
                "%s: no cell has %s = %s, which `subset` leaves out", source, column,
                ", ".join(with_near(value, there) for value in unknown),
            )  # fmt: skip
        elif unknown:
            more = ", ..." if len(there) > 20 else ""
            raise InputError(
                f"{source}: no cell has {column} = {', '.join(unknown)}; values of {column}: "
                f"{', '.join(there[:20])}{more}; correct `subset` in the sample sheet"
            )
        keep &= cells.isin(values).to_numpy() == kept
    if not keep.any():
        raise InputError(
            f"{source}: no cell meets all conditions of the subset {spec!r}, expected at least "
            "one; loosen `subset` in the sample sheet"
        )
    logger.info("%s: %d of %d cells are in %s", source, keep.sum(), len(keep), spec)
    return keep


def sheet_values(spec: str, obs: pd.DataFrame, source: str, field: str = "batch") -> np.ndarray:
    """A field of the sheet for every cell: its text, or an obs column's value for "obs:COLUMN".

    Raises
    ------
    InputError
        There is no such column, a cell has no value in it, or one with a hidden character.
    """
    if not spec.startswith(FROM_OBS):
        return np.full(len(obs), spec, dtype=object)
    column = spec.removeprefix(FROM_OBS)
    values = column_text(obs, column, source)
    n_empty = int((values == "").sum())
    if n_empty:
        raise InputError(
            f"{source}: {n_empty} of {len(obs)} cells have no {column!r}, which `{field}` is taken "
            "from; fill it in, or leave these cells out with `subset`"
        )
    if strange := next((value for value in values.unique() if hidden(value)), ""):
        raise InputError(
            f"{source}: the {field} {strange!r} of the obs column {column!r} has the character "
            f"{hidden(strange)}, which nobody sees; expected printable text; remove it"
        )
    return values.to_numpy(object)


def kept_rows(obs: pd.DataFrame, subset: str, path: Path) -> np.ndarray | None:
    """Positions of the subset's cells; None for all cells. See `keep_mask`."""
    return np.flatnonzero(keep_mask(obs, subset, str(path))) if subset else None


def take(obs: pd.DataFrame, rows: np.ndarray | None) -> pd.DataFrame:
    """The rows that `kept_rows` gives."""
    return obs if rows is None else obs.iloc[rows]
