"""atlas.cellxgene.h5ad: the atlas as the schema of CELLxGENE (7.1) wants it."""

import logging
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import write_elem

from dice_atlas.atlas.matrices import COLORS, stored_colors
from dice_atlas.counts.genes import is_ensembl, read_names
from dice_atlas.errors import InputError
from dice_atlas.export.targets import COUNTS, EMBEDDED, FIELDS, ORGANISM, require_fields
from dice_atlas.files import atomic_path
from dice_atlas.numerics.blocks import SparseAppender, read_blocks, stored_values
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)

# Tables of genes that come with the library, by organism.
SPECIES = {"NCBITaxon:9606": "human", "NCBITaxon:10090": "mouse"}
# Columns that CELLxGENE writes itself, or wrote once; an author's own are called author_<name>.
THEIRS = (
    "assay", "cell_type", "development_stage", "disease", "ethnicity", "organism",
    "self_reported_ethnicity", "sex", "tissue", "observation_joinid",
)  # fmt: skip


def write_cellxgene(atlas: str | Path, path: str | Path, title: str) -> None:
    """Write the file; X and the counts a block of cells at a time.

    Parameters
    ----------
    atlas : atlas.h5ad.
    path : a new h5ad: X as in the atlas, counts in raw, genes by Ensembl id.
    title : of the data set.

    Raises
    ------
    InputError
        The sheet did not say what the schema asks for, there are no counts, or no gene has an id.
    """
    with h5py.File(atlas) as file:
        if COUNTS not in file:
            raise InputError(
                "the target export_cellxgene: seen an atlas without counts, which a sample with "
                "`expression: log1p` leaves; expected raw counts of every sample"
            )
        embedded = [key for key in EMBEDDED if key in file["obsm"]]
    obs = read_part(atlas, "obs")
    require_fields(described(obs))
    organism = str(obs[ORGANISM].iloc[0])
    genes = genes_with_ids(read_part(atlas, "var"), SPECIES.get(organism))
    uns = {"title": title, ORGANISM: organism, "default_embedding": "X_umap"}
    obs, colors = as_schema_wants(obs, stored_colors(atlas))
    var = pd.DataFrame({"feature_is_filtered": False}, index=pd.Index(genes.index, dtype=object))
    obsm = {key: read_part(atlas, f"obsm/{key}") for key in embedded}
    with atomic_path(path) as made:
        frame = ad.AnnData(obs=obs, var=var, obsm=obsm, uns={**uns, **colors})
        frame.write_h5ad(made, compression="gzip")
        with h5py.File(made, "r+") as file:
            raw = file.require_group("raw")
            raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
            write_elem(raw, "var", var[[]])
            write_elem(raw, "varm", {})
            copy_columns(atlas, "X", file, genes.to_numpy())
            copy_columns(atlas, COUNTS, raw, genes.to_numpy())


def described(obs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What the sheet says of each sample; "" where some of its cells have nothing."""
    found: dict[str, dict[str, str]] = {}
    for name, cells in obs.groupby("sample", observed=True):
        there = {field: cells[field].astype(str) for field in FIELDS if field in cells}
        found[str(name)] = {
            field: "" if (values == "").any() else values.iloc[0] for field, values in there.items()
        }
    return found


def genes_with_ids(var: pd.DataFrame, species: str | None) -> pd.Series:
    """Columns of the atlas whose genes have an Ensembl id of their own; the index is the ids.

    Parameters
    ----------
    var : of the atlas.
    species : whose table of the library has the ids of symbols without one.

    Raises
    ------
    InputError
        No gene has an id.
    """
    ids = var["gene_id"].astype(str).to_numpy(dtype=object)
    if species:
        symbols = read_names(species)
        known = symbols[~symbols.duplicated(keep=False)]
        by_symbol = pd.Series(known.index, index=known.to_numpy())
        ids = np.where(is_ensembl(ids), ids, by_symbol.reindex(var.index).fillna(""))
    found = pd.Series(np.arange(len(var)), index=pd.Index(ids, dtype=object))
    kept = found[is_ensembl(found.index) & ~found.index.duplicated()]
    if not len(kept):
        raise InputError(
            f"the target export_cellxgene: none of the {len(var)} genes (such as "
            f"{', '.join(var.index[:3])}) has an Ensembl id; expected ids in the count files"
        )
    if len(kept) < len(var):
        names = var.index.delete(kept.to_numpy())
        logger.warning(
            "%d of %d genes have no Ensembl id of their own and are left out, such as %s",
            len(names), len(var), ", ".join(names[:3]),
        )  # fmt: skip
    return kept


def as_schema_wants(
    obs: pd.DataFrame, colors: Mapping[str, np.ndarray]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """obs with the schema's columns, and the colours of its categories as they stand in uns.

    Parameters
    ----------
    obs, colors : of the atlas, see `stored_colors`.
    """
    renamed = {name: f"author_{name}" for name in THEIRS if name in obs}
    kept = obs.drop(columns=ORGANISM)
    if "is_primary_data" in kept:
        primary = kept["is_primary_data"].astype(str).str.lower() == "true"
    else:
        # A reference was mostly published by others before.
        primary = kept["role"].astype(str) == "query"
    ids = kept["cell_type_ontology_term_id"].astype(str).replace("", "unknown")
    kept = kept.assign(is_primary_data=primary, cell_type_ontology_term_id=pd.Categorical(ids))
    own = {f"{renamed.get(name, name)}{COLORS}": shades for name, shades in colors.items()}
    return kept.rename(columns=renamed), own


def copy_columns(atlas: str | Path, key: str, parent: h5py.Group, columns: np.ndarray) -> None:
    """Append some columns of a matrix of the atlas as `X`, float32, block by block."""
    size = stored_values(atlas, key)
    appended = SparseAppender(parent, "X", len(columns), np.float32, size)
    for _, block in read_blocks(atlas, key=key):
        some = sp.csr_matrix(block[:, columns], dtype=np.float32)
        some.sort_indices()
        appended.append(some)
