"""The cells that a generator learns from: their counts, classes, and those held out to judge it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.logged import logged_samples
from dice_atlas.errors import InputError
from dice_atlas.holdout import calibration_cells, reference_rows
from dice_atlas.numerics.blocks import read_blocks
from dice_atlas.synthesis.settings import CELL_TYPE, CLUSTER, ModelSettings
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)

# Fewer cells make no model.
LEAST_CELLS = 50
# Genes found in fewer training cells are not modelled one by one.
LEAST_DETECTED = 3


@dataclass(frozen=True)
class CountTable:
    """Raw counts with the names of what is counted.

    Attributes
    ----------
    counts : (n, g + 1) float32 CSR; the last column is the sum of all other genes of a cell.
    genes : (g,) names.
    variable : (g,) mask of the atlas's variable genes.
    labels : (n,) classes, "" where there are none.
    keys : (n,) of the cells, see `counts.keys.cell_keys`.
    """

    counts: sp.csr_matrix
    genes: np.ndarray
    variable: np.ndarray
    labels: np.ndarray
    keys: np.ndarray

    @property
    def libraries(self) -> np.ndarray:
        """Counts of each cell (n,), in float64."""
        return self.counts.sum(axis=1, dtype=np.float64).A1

    @property
    def labelled(self) -> bool:
        """Whether the cells have classes."""
        return bool((self.labels != "").any())

    def rows(self, mask: np.ndarray) -> "CountTable":
        """The cells of a mask (n,) or of positions."""
        return replace(
            self, counts=self.counts[mask], labels=self.labels[mask], keys=self.keys[mask]
        )

    def variable_only(self) -> "CountTable":
        """The variable genes, all others added up in the last column."""
        columns = np.where(self.variable, np.cumsum(self.variable) - 1, -1)
        counts = with_rest(self.counts, np.append(columns, -1), int(self.variable.sum()))
        genes = self.genes[self.variable]
        return replace(self, counts=counts, genes=genes, variable=np.ones(len(genes), dtype=bool))

    def split(self, share: float) -> tuple["CountTable", "CountTable"]:
        """Cells to train on, and those held out to judge, class by class.

        Which ones depends on the cells alone, not on their order or the names of samples.

        Parameters
        ----------
        share : of each class that is held out; classes of fewer than four cells are not split.
        """
        classes = self.labels if self.labelled else np.full(len(self.labels), "cell", dtype=object)
        held = np.zeros(len(self.labels), dtype=bool)
        if share > 0:
            held[calibration_cells(self.keys.tolist(), classes.tolist(), share=share)] = True
        return self.rows(~held), self.rows(held)


def read_training_cells(
    samples: Sequence[str | Path],
    genes: str | Path,
    settings: ModelSettings,
    clusters: str | Path | None = None,
) -> CountTable:
    """Counts of the reference cells, or of all cells where there is no reference.

    Parameters
    ----------
    samples : filtered.h5ad of every sample.
    genes : genes.tsv, which says what the atlas's variable genes are.
    settings : which genes are modelled one by one, and what the classes are.
    clusters : clusters.tsv.gz, for classes that are clusters.

    Raises
    ------
    InputError
        A file has no counts, fewer than `LEAST_CELLS` cells have a class, or the samples share no
        variable gene.
    """
    features = pd.read_csv(genes, sep="\t", dtype={"gene": str}, keep_default_na=False)
    variable = features.loc[features["selected"].astype(str) == "True", "gene"].tolist()
    obs = pd.concat([read_part(path, "obs") for path in samples])
    wanted = pd.Series(reference_rows(obs), index=obs.index)
    chosen = [path for path in samples if wanted[read_part(path, "obs").index].any()]
    logged = logged_samples(chosen)
    if logged:
        raise InputError(
            f"synthesis needs raw counts, and {', '.join(map(str, logged))} holds log-normalised "
            "expression (`expression: log1p` in the sheet); give samples with counts"
        )
    classes = classes_of(obs[wanted.to_numpy()], settings.label, clusters)
    names = shared_genes(chosen, variable, settings.genes)
    blocks = []
    for path in chosen:
        columns = pd.Index(names).get_indexer(read_part(path, "var").index.astype(str))
        blocks += [with_rest(block, columns, len(names)) for _, block in read_blocks(path)]
    counts = sp.vstack(blocks, format="csr")
    table = CountTable(
        counts,
        np.asarray(names, dtype=object),
        np.isin(names, list(variable)),
        classes,
        obs.loc[wanted.to_numpy(), "cell_key"].astype(str).to_numpy(dtype=object),
    )
    if table.labelled:
        table = table.rows(table.labels != "")
    elif settings.label == CELL_TYPE:
        logger.warning(
            "the training cells have no labels: the synthetic cells will have no classes"
        )
    if len(table.labels) < LEAST_CELLS:
        raise InputError(
            f"synthesis: {len(table.labels)} cells are left to learn from, expected at least "
            f"{LEAST_CELLS}; loosen the QC limits or add samples"
        )
    return drop_rare_genes(table)


def classes_of(cells: pd.DataFrame, label: str, clusters: str | Path | None) -> np.ndarray:
    """Class of each cell (n,), "" where it has none.

    Parameters
    ----------
    cells : obs of the training cells.
    label : what the classes are, see `ModelSettings`.
    clusters : clusters.tsv.gz.
    """
    if label == CELL_TYPE:
        return cells["label"].astype(str).to_numpy(dtype=object)
    if label == CLUSTER and clusters is not None:
        table = pd.read_csv(clusters, sep="\t", dtype=str, index_col="cell")
        return table["cluster"].reindex(cells.index).fillna("").to_numpy(dtype=object)
    return np.full(len(cells), "", dtype=object)


def shared_genes(samples: Sequence[str | Path], variable: Sequence[str], genes: str) -> pd.Index:
    """Names of the genes that every sample has, in the order of the first.

    Raises
    ------
    InputError
        None of them is variable.
    """
    names = pd.Index(read_part(samples[0], "var").index.astype(str))
    for path in samples[1:]:
        names = names[names.isin(read_part(path, "var").index.astype(str))]
    if not names.isin(list(variable)).any():
        raise InputError("synthesis: no variable gene of the atlas is in every sample")
    return names if genes == "all" else names[names.isin(list(variable))]


def with_rest(block: sp.csr_matrix, columns: np.ndarray, n_genes: int) -> sp.csr_matrix:
    """Counts in the columns of the model; what has no column is added up in the last one.

    Parameters
    ----------
    block : cells x genes of a sample.
    columns : of each of its genes, -1: none.
    """
    place = np.where(columns < 0, n_genes, columns)[block.indices]
    # Copies: adding up works in place, and must not reach into the block.
    moved = sp.csr_matrix(
        (block.data.astype(np.float32), place, block.indptr.copy()),
        shape=(block.shape[0], n_genes + 1),
    )
    moved.sum_duplicates()
    return moved


def drop_rare_genes(table: CountTable) -> CountTable:
    """Genes that too few cells have go to the last column."""
    detected = table.counts.getnnz(axis=0)[:-1]
    kept = detected >= LEAST_DETECTED
    columns = np.where(kept, np.cumsum(kept) - 1, -1)
    counts = with_rest(table.counts, np.append(columns, -1), int(kept.sum()))
    return replace(table, counts=counts, genes=table.genes[kept], variable=table.variable[kept])
