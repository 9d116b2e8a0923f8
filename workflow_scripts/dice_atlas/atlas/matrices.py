"""The final h5ad, written out of core: counts of all samples are appended block by block."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import write_elem

from dice_atlas.counts.logged import logged_samples
from dice_atlas.holdout import require_same_cells
from dice_atlas.numerics.blocks import SparseAppender, copy_array, read_blocks, stored_values
from dice_atlas.numerics.scaling import log1p_normalize
from dice_atlas.plots.categories import NO_CHOICE, category_colors, labels_of, unknown_labels
from dice_atlas.plots.style import natural
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)

COLORS = "_colors"  # ends the key of a column's colours in uns


@dataclass(frozen=True)
class GeneUnion:
    """Genes of all samples: `names`, `ids`, `n_samples` that have them, columns per sample."""

    names: pd.Index
    ids: np.ndarray
    n_samples: np.ndarray
    columns: list[np.ndarray]


def unite_genes(tables: Sequence[pd.DataFrame]) -> GeneUnion:
    """Genes of the first sample in its order, then those that each further one adds.

    Parameters
    ----------
    tables : var of the samples: index = unique symbols, column `gene_id`.

    A symbol whose Ensembl ids differ between samples keeps the first one; the log says how many.
    """
    names = pd.Index([], dtype=object)
    for table in tables:
        symbols = pd.Index(table.index.astype(str), dtype=object)
        names = names.append(symbols[~symbols.isin(names)])
    columns = [names.get_indexer(table.index.astype(str)) for table in tables]
    ids = np.full(len(names), "", dtype=object)
    conflicts = 0
    for table, position in zip(tables, columns, strict=True):
        new = table["gene_id"].astype(object).fillna("").astype(str).to_numpy(dtype=object)
        old = ids[position]
        conflicts += int(((old != "") & (new != "") & (old != new)).sum())
        ids[position] = np.where(old == "", new, old)
    if conflicts:
        logger.warning("%d genes have another gene_id in another sample; kept the first", conflicts)
    n_samples = np.bincount(np.concatenate(columns), minlength=len(names))
    return GeneUnion(names, ids, n_samples, columns)


def count_blocks(
    path: str | Path, columns: np.ndarray, n_genes: int, kind: type = np.int32
) -> Iterator[sp.csr_matrix]:
    """Raw counts of a sample, a block of cells at a time, in the columns of the atlas.

    Parameters
    ----------
    path : filtered.h5ad.
    columns : column of the atlas for each of its genes.
    n_genes : genes of the atlas.
    kind : of the values.
    """
    for _, block in read_blocks(path):
        moved = sp.csr_matrix(
            (block.data.astype(kind), columns[block.indices].astype(np.int32), block.indptr),
            shape=(block.shape[0], n_genes),
        )
        moved.sort_indices()
        yield moved


def write_matrices(
    path: str | Path, samples: Sequence[str | Path], genes: GeneUnion, target_sum: float
) -> np.ndarray:
    """Append X (log1p, float32) and layers/counts (int32) of all samples to the h5ad `path`.

    Never holds more than one block of cells. Totals are those over all genes of the cell. If the
    file of any sample held log-normalised expression, there is no layers/counts.

    Parameters
    ----------
    path : the h5ad, with obs and var written.
    samples : the filtered.h5ad files, in the order of the cells.
    genes : of all samples.
    target_sum : the total that every cell of X is brought to before log1p.

    Returns
    -------
    ndarray
        Number of cells with a count, per gene.
    """
    n_genes = len(genes.names)
    n_cells, logged = np.zeros(n_genes, dtype=np.int64), logged_samples(samples)
    size = sum(map(stored_values, samples))
    with h5py.File(path, "r+") as file:
        expression = SparseAppender(file, "X", n_genes, np.float32, size)
        layers = file["layers"]
        counts = None if logged else SparseAppender(layers, "counts", n_genes, np.int32, size)
        for sample, columns in zip(samples, genes.columns, strict=True):
            total = logged.get(str(sample))
            kind = np.int32 if total is None else np.float32
            for block in count_blocks(sample, columns, n_genes, kind):
                totals = (
                    np.asarray(block.sum(axis=1, dtype=np.int64)).ravel()
                    if total is None
                    else np.full(block.shape[0], total)
                )
                if counts is not None:
                    counts.append(block)
                expression.append(log1p_normalize(block, totals, target_sum))
                n_cells += np.bincount(block.indices[block.data > 0], minlength=n_genes)
            logger.info("%s is written, %d cells so far", sample, expression.n_rows)
    return n_cells


def write_atlas(
    path: str | Path,
    samples: Sequence[str | Path],
    obs: pd.DataFrame,
    obsm: Mapping[str, np.ndarray],
    uns: Mapping[str, Any],
    selected: Sequence[str],
    target_sum: float,
    palette: Mapping[str, str] = NO_CHOICE,
) -> None:
    """Write the atlas.

    Parameters
    ----------
    path : a new file.
    samples : the filtered.h5ad files, in the order of the cells.
    obs, obsm, uns : of all cells, in that order.
    selected : genes that the embeddings were made of.
    target_sum : the total that every cell of X is brought to before log1p.
    palette : colours of some labels.

    Raises
    ------
    ValueError
        The samples do not have as many cells as `obs` has rows.
    """
    genes = unite_genes([read_part(sample, "var") for sample in samples])
    var = pd.DataFrame(
        {"gene_id": genes.ids, "highly_variable": genes.names.isin(list(selected))},
        index=genes.names,
    )
    obs = plain_strings(obs)
    about = {**uns, **colors_of_categories(obs, palette), "log1p": {"base": np.e}}
    frame = ad.AnnData(obs=obs, var=var, obsm=dict(obsm), uns=about)
    frame.write_h5ad(path, compression="gzip")
    n_cells = write_matrices(path, samples, genes, target_sum)
    var.insert(1, "n_cells", n_cells)
    var.insert(2, "n_samples", genes.n_samples)
    with h5py.File(path, "r+") as file:
        written = file["X"].attrs["shape"][0]
        if written != len(obs):
            raise ValueError(f"{written} cells of counts were written for {len(obs)} rows of obs")
        write_elem(file, "var", var)


def add_graph(path: str | Path, graph: str | Path) -> None:
    """Add the neighbour graph of the clusters, where scanpy looks for it.

    Parameters
    ----------
    path : the written atlas.
    graph : clusters/graph.h5ad.

    Raises
    ------
    InputError
        The graph is of other cells.
    """
    seen, expected = (read_part(file, "obs").index for file in (graph, path))
    require_same_cells(seen, expected, f"{graph} and the atlas")
    with h5py.File(path, "r+") as file, h5py.File(graph, "r") as source:
        write_elem(file["uns"], "neighbors", read_part(graph, "uns/neighbors"))
        for name, matrix in source["obsp"].items():
            copied = file["obsp"].create_group(name)
            copied.attrs.update(matrix.attrs)
            for part in matrix:
                copy_array(matrix[part], copied, part)


def colors_of_categories(obs: pd.DataFrame, palette: Mapping[str, str]) -> dict[str, np.ndarray]:
    """uns["<column>_colors"], as scanpy reads them: in the order of the categories."""
    if said := unknown_labels(palette, labels_of(obs), "figures.palette"):
        logger.warning("%s", said)
    return {
        f"{column}{COLORS}": np.array([colors[c] for c in obs[column].cat.categories], dtype=object)
        for column, colors in category_colors(obs, palette).items()
        if isinstance(obs[column].dtype, pd.CategoricalDtype)
    }


def stored_colors(path: str | Path) -> dict[str, np.ndarray]:
    """Colours of a written atlas by column of obs, in the order of its categories."""
    with h5py.File(path, "r") as file:
        keys = [key for key in file["uns"] if key.endswith(COLORS)]
    return {key.removesuffix(COLORS): read_part(path, f"uns/{key}") for key in keys}


def plain_strings(obs: pd.DataFrame) -> pd.DataFrame:
    """Text columns as plain strings ("" = missing), categorical unless most of them differ."""
    result = obs.copy()
    result.index = pd.Index(result.index.astype(str).to_numpy(dtype=object), dtype=object)
    for name in result.columns:
        column = result[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            continue
        text = ["" if pd.isna(v) else str(v) for v in column]
        categories = np.array(natural(text), dtype=object)
        many = len(categories) > max(50, len(text) / 2)
        plain = np.array(text, dtype=object)
        result[name] = plain if many else pd.Categorical(plain, categories=categories)
    return result
