"""Tables and parts of h5ad files between the rules, read without guessing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata.io import read_elem

from dice_atlas.errors import InputError


def read_text_table(path: str | Path, *numbers: str) -> pd.DataFrame:
    """A tsv whose columns are text, but for `numbers`: a label may read "NA" or "01"."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def by_voter(
    paths: Iterable[str | Path], read: Callable[[str | Path], pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Tables annotation/<voter>/<name> by their voter."""
    return {Path(path).parent.name: read(path) for path in paths}


def read_by_voter(paths: Iterable[str | Path], *numbers: str) -> dict[str, pd.DataFrame]:
    """Tables annotation/<voter>/<name> by their voter; see `read_text_table`."""
    return by_voter(paths, lambda path: read_text_table(path, *numbers))


def require_columns(keys: Iterable[str], cells: pd.DataFrame, where: str) -> None:
    """Raise `InputError` unless every key of `batch.keys` is a column of the cells in `where`."""
    missing = [key for key in keys if key not in cells]
    if missing:
        raise InputError(
            f"batch.keys: {', '.join(missing)} is no column of {where}; there are "
            f"{', '.join(map(str, cells.columns))}; add it to the sample sheet or change batch.keys"
        )


def selected_names(path: str | Path) -> pd.Series:
    """Names of the selected genes of genes.tsv."""
    genes = read_text_table(path)
    return genes["gene"][genes["selected"] == "True"]


def read_part(path: str | Path, key: str) -> Any:
    """One element of an h5ad (obs, var, uns/source), without the rest."""
    with h5py.File(path, "r") as file:
        return read_elem(file[key])


def read_part_if_there(path: str | Path, key: str) -> Any:
    """The same, or None where the h5ad has no such element."""
    with h5py.File(path, "r") as file:
        return read_elem(file[key]) if key in file else None


def common_names(names: Iterable[pd.Index]) -> pd.Index:
    """Names that all of some indexes have, in the order of the first."""
    first, *others = names
    for other in others:
        first = first[first.isin(other)]
    return first


def sample_role(path: str | Path) -> str:
    """Role of all cells of a sample's h5ad: reference or query."""
    return str(read_part(path, "obs")["role"].iloc[0])
