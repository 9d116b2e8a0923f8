"""Counts of each replicate and type, summed block by block, with three weightings of a cell."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.conditions.design import compared_units
from dice_atlas.conditions.settings import CERTAIN, EXPECTED, LABEL, Grouping
from dice_atlas.holdout import require_same_cells
from dice_atlas.names import SEPARATOR, split_set
from dice_atlas.numerics.blocks import read_blocks
from dice_atlas.tables import common_names, read_part

logger = logging.getLogger(__name__)


def cell_weights(
    cells: pd.DataFrame, scores: np.ndarray, names: Sequence[str], types: Sequence[str]
) -> dict[str, sp.csr_matrix]:
    """How much each cell counts for each type (cells x types), by weighting.

    Parameters
    ----------
    cells : assigned cells: `cell_type`, `cell_type_set`, `cell_type_score` (NaN: a given label).
    scores : cells x names, of the labels.
    names : of the columns of the scores.
    types : of the columns of the weights; hold all of the labels.

    A given label is certain. A cell whose set is empty, or has no score, counts for its label.
    """
    position = pd.Index(types)
    own = position.get_indexer(cells["cell_type"])
    one_each = sp.csr_matrix(
        (np.ones(len(cells)), (np.arange(len(cells)), own)), shape=(len(cells), len(types))
    )
    given = cells["cell_type_score"].isna().to_numpy()
    sure = given | (cells["cell_type_set"] == cells["cell_type"]).to_numpy()
    codes, sets = pd.factorize(cells["cell_type_set"].astype(str))
    member = np.zeros((len(sets), len(types)))
    for row, text in enumerate(sets):
        member[row, position.get_indexer(split_set(text))] = 1
    aligned = np.zeros((len(cells), len(types)))
    if len(names):
        aligned[:, position.get_indexer(list(names))] = np.nan_to_num(scores)
    spread = aligned * member[codes]
    total = spread.sum(axis=1, keepdims=True)
    alone = given | (total[:, 0] <= 0)
    spread = sp.csr_matrix(np.where(alone[:, None], 0, spread / np.where(total > 0, total, 1)))
    return {
        LABEL: one_each,
        CERTAIN: sp.csr_matrix(sp.diags(sure.astype(float)) @ one_each),
        EXPECTED: spread + sp.csr_matrix(sp.diags(alone.astype(float)) @ one_each),
    }


def groups_of(weights: sp.csr_matrix, units: np.ndarray, n_units: int) -> sp.csr_matrix:
    """The matrix that sums cells, (units x types) x cells.

    Parameters
    ----------
    weights : cells x types.
    units : position of each cell's unit.
    n_units : their number.
    """
    n_cells, n_types = weights.shape
    entries = weights.tocoo()
    rows = units[entries.row] * n_types + entries.col
    return sp.csr_matrix((entries.data, (rows, entries.row)), shape=(n_units * n_types, n_cells))


def sum_cells(
    path: Path, used: np.ndarray, columns: np.ndarray, groups: Mapping[str, sp.csr_matrix]
) -> dict[str, sp.csr_matrix]:
    """Sums of a sample's counts (groups x genes) by weighting, a block of cells at a time.

    Parameters
    ----------
    path : filtered.h5ad.
    used : mask of its cells.
    columns : of the genes to sum.
    groups : by weighting, see `groups_of`; its columns are the used cells.
    """
    sums, done = {name: sp.csr_matrix((g.shape[0], len(columns))) for name, g in groups.items()}, 0
    for rows, block in read_blocks(path):
        counts = block[used[rows]][:, columns].astype(np.float64)
        cells = slice(done, done + counts.shape[0])
        sums = {name: total + groups[name][:, cells] @ counts for name, total in sums.items()}
        done = cells.stop
    return sums


def common_genes(samples: Sequence[Path]) -> pd.Index:
    """Genes that all samples measured, in the first one's order: elsewhere a 0 means nothing."""
    return common_names(read_part(path, "var").index.astype(str) for path in samples)


def sum_pseudobulk(
    atlas: str | Path, samples: Sequence[str | Path], settings: Grouping
) -> ad.AnnData:
    """Counts of every replicate and type.

    Parameters
    ----------
    atlas : atlas.h5ad, with labels, sets and scores.
    samples : filtered.h5ad of the samples that take part, with their raw counts.
    settings : which cells take part, and how they are grouped.

    Returns
    -------
    AnnData
        A row per unit (a replicate in a condition) and type: obs `unit`, `replicate`, `condition`,
        covariates, `cell_type`, `cells_<weighting>`; layers of these weightings (CSR). Genes are
        those that all of the samples measured.

    Raises
    ------
    InputError
        See `compared_units`; or atlas and samples are of different runs.
    """
    paths = [Path(path) for path in samples]
    obs = read_part(atlas, "obs").astype({"sample": str, "cell_type": str, "cell_type_set": str})
    obs = obs[obs["sample"].isin([path.parent.name for path in paths])]
    of_cell, units = compared_units(obs, settings)
    names, scores = read_scores(atlas, obs.index)
    types = sorted({*names, *obs.loc[of_cell != "", "cell_type"]})
    genes = common_genes(paths)
    sums: dict[str, sp.csr_matrix] = {}
    numbers: dict[str, np.ndarray] = {}
    for path in paths:
        here = (obs["sample"] == path.parent.name).to_numpy()
        require_same_cells(read_part(path, "obs").index, obs.index[here], f"{path} and {atlas}")
        used = of_cell[here].to_numpy() != ""
        rows = np.flatnonzero(here)[used]
        unit = units.index.get_indexer(of_cell.iloc[rows])
        weights = cell_weights(obs.iloc[rows], scores[rows], names, types)
        groups = {name: groups_of(of, unit, len(units)) for name, of in weights.items()}
        columns = pd.Index(read_part(path, "var").index).get_indexer(genes)
        for name, part in sum_cells(path, used, columns, groups).items():
            sums[name] = sums.get(name, 0) + part
            numbers[name] = numbers.get(name, 0) + np.asarray(groups[name].sum(axis=1)).ravel()
        logger.info("%s: %d of %d cells take part", path, len(rows), len(used))
    return as_table(units, types, genes, sums, numbers)


def as_table(
    units: pd.DataFrame,
    types: Sequence[str],
    genes: pd.Index,
    sums: Mapping[str, sp.csr_matrix],
    cells: Mapping[str, np.ndarray],
) -> ad.AnnData:
    """Sums as `sum_pseudobulk` returns them.

    Parameters
    ----------
    units : see `design.compared_units`.
    types, genes : names.
    sums, cells : by weighting: (units x types) x genes, and numbers of cells (units x types).
    """
    table = units.loc[units.index.repeat(len(types))].rename_axis("unit").reset_index()
    table["cell_type"] = np.tile(np.array(types, dtype=object), len(units))
    for name, of in cells.items():
        table[f"cells_{name}"] = np.asarray(of, dtype=float).ravel()
    table.index = table["unit"] + SEPARATOR + table["cell_type"]
    layers = {name: sp.csr_matrix(counts) for name, counts in sums.items()}
    return ad.AnnData(obs=table, var=pd.DataFrame(index=genes), layers=layers)


def read_scores(atlas: str | Path, cells: pd.Index) -> tuple[list[str], np.ndarray]:
    """Labels that have scores, and the scores of some cells (cells x labels)."""
    uns = read_part(atlas, "uns")
    if "cell_type_scores_names" not in uns:
        return [], np.empty((len(cells), 0))
    rows = read_part(atlas, "obs").index.get_indexer(cells)
    scores = read_part(atlas, "obsm/cell_type_scores")[rows]
    return [str(name) for name in uns["cell_type_scores_names"]], scores
