"""log1p normalisation of the selected genes, by each cell's total over ALL genes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.logged import cell_totals
from dice_atlas.errors import InputError
from dice_atlas.numerics.scaling import log1p_normalize


@dataclass(frozen=True)
class Normalization:
    """Section `normalization` of the config.

    Attributes
    ----------
    target_sum : counts of a cell after normalisation.
    max_value : cap of scaled expression, in standard deviations.
    """

    target_sum: float
    max_value: float

    @classmethod
    def from_config(cls, normalization: Mapping[str, Any]) -> "Normalization":
        """Settings from the `normalization` section of the config."""
        return cls(normalization["target_sum"], normalization["max_value"])


def selected_genes(genes: pd.DataFrame) -> pd.DataFrame:
    """The selected rows of genes.tsv, in the order of the features."""
    return genes[genes["selected"].astype(bool)].sort_values("rank", kind="stable")


def normalize_samples(
    paths: Sequence[str | Path], genes: pd.DataFrame, target_sum: float
) -> ad.AnnData:
    """Normalised expression of all samples' cells on the selected genes, one sample at a time.

    Parameters
    ----------
    paths : of the samples after quality control.
    genes : see `selected_genes`.
    target_sum : see `Normalization`.

    Returns
    -------
    AnnData
        X CSR float32, cells x genes; obs of the samples; var `gene_id`.

    Raises
    ------
    InputError
        A sample lacks selected genes.
    """
    names = pd.Index(genes["gene"].astype(str))
    blocks, cells = [], []
    for path in paths:
        sample = ad.read_h5ad(path)
        position = sample.var_names.get_indexer(names)
        if (position < 0).any():
            absent = names[position < 0][:3]
            raise InputError(
                f"{path} lacks {int((position < 0).sum())} of the selected genes (such as "
                f"{', '.join(absent)}); was it made again since the genes were selected? "
                "Remove features/genes.tsv and start again"
            )
        counts = sp.csr_matrix(sample.X)[:, position]
        blocks.append(log1p_normalize(counts, cell_totals(sample), target_sum))
        cells.append(sample.obs)
    obs = pd.concat(cells)
    for column in obs.select_dtypes(["category", "object"]).columns:
        obs[column] = obs[column].astype(object).where(obs[column].notna(), "").astype(str)
    var = genes.set_index(names)[["gene_id"]].fillna("").astype(str)
    var.index.name = None
    return ad.AnnData(X=sp.vstack(blocks, format="csr"), obs=obs, var=var)
