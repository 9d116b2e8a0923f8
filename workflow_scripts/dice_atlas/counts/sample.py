"""One sample as the workflow holds it: raw counts, roles, batches and labels per cell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.formats import label_columns
from dice_atlas.counts.genes import merge_repeated, read_names, renamed
from dice_atlas.counts.keys import cell_keys
from dice_atlas.counts.labels import read_labels, read_parents
from dice_atlas.counts.logged import has_one_total, total_of
from dice_atlas.counts.readers import look_at_counts, read_counts
from dice_atlas.counts.subset import sheet_values, subset_columns
from dice_atlas.files import sha256
from dice_atlas.names import FROM_OBS, LOG1P


def load_sample(row: dict[str, Any], names: str | Path | None = None) -> ad.AnnData:
    """The canonical raw counts of one sample (of log1p: linear expression, see `logged`).

    Parameters
    ----------
    row : of the sample sheet: `sample`, `path` (counts, any format of `read_counts`), `role`,
        `batch`, `labels`, `labels_source`, `subset`, `suffix`, `slot`, `expression` and `extra`
        (further columns).
    names : table of Ensembl ids and symbols, for files that have ids alone.

    Returns
    -------
    AnnData
        `X` CSR int32, cells x all genes; obs (index `<sample>_<barcode>`): `barcode`, `cell_key`,
        `sample`, `role`, `batch`, `label`, further columns, and where the sheet names several
        columns of labels `label_parents`; var: `gene_id`; uns: `source`.

    Raises
    ------
    InputError
        See `read_counts`, `sheet_values`, `read_labels`, `read_names` and `renamed`.
    """
    path = row["path"]
    counts = read_counts(path, row["subset"], row["slot"], row["expression"], obs_columns(row))
    barcodes = pd.Index(counts.obs_names.to_numpy(object), dtype=object)
    keys = {"barcode": barcodes.to_numpy(object), "cell_key": cell_keys(counts.X, barcodes)}
    columns = keys | cell_columns(row, counts.obs.set_axis(barcodes, axis=0))
    cells = pd.Index([f"{row['sample']}_{barcode}" for barcode in barcodes], dtype=object)
    source = {"path": str(path), "sha256": sha256(path), "format": counts.uns["format"]}
    decided = counts.uns["decided"]
    if row["labels_source"] not in ("", path):
        table = row["labels_source"]
        source |= {"labels_path": str(table), "labels_sha256": sha256(table)}
    X, genes = counts.X, counts.var
    if names is not None:
        X, genes = merge_repeated(X, renamed(genes, read_names(names), str(path)), str(path))
        decided["gene_names"] += f", then those of {names}"
    if row["labels"]:
        n_labelled = int((columns["label"] != "").sum())
        decided["labels"] = f"{n_labelled} of {len(cells)} cells have a label"
    if row["expression"] == LOG1P:
        source |= {"expression": LOG1P, "total": total_of(X)}
        decided["values"] = "log-normalised, no counts; " + (
            f"cells sum to {source['total']:g}"
            if has_one_total(X)
            else f"cells sum to no single total, {source['total']:g} is assumed"
        )
    source["decided"] = decided
    return ad.AnnData(X, obs=pd.DataFrame(columns, index=cells), var=genes, uns={"source": source})


def cell_columns(row: dict[str, Any], obs: pd.DataFrame) -> dict[str, Any]:
    """Columns of the cells by their names, as the sheet's row has them.

    Parameters
    ----------
    row : see `load_sample`.
    obs : of the sample's file, index: barcodes.

    Raises
    ------
    InputError
        See `sheet_values` and `read_labels`.
    """
    path, labels = row["path"], row["labels"]
    columns = {
        "sample": row["sample"],
        "role": row["role"],
        "batch": sheet_values(row["batch"], obs, path),
        "label": read_labels(labels, row["labels_source"], obs.index, obs, row["suffix"]),
        **{name: sheet_values(field, obs, path, name) for name, field in row["extra"].items()},
    }
    if len(label_columns(labels)) > 1:
        columns["label_parents"] = read_parents(labels, path, obs)
    return columns


@dataclass(frozen=True)
class Look:
    """What a look at a sample's file shows.

    Attributes
    ----------
    cells : one row per cell: `sample`, `role`, `label`; index: names.
    genes : names.
    kind : the file's format; slot : the matrix that is read, "" where a file has one alone.
    labelled : whether labels were asked for.
    """

    cells: pd.DataFrame
    genes: pd.Index
    kind: str
    slot: str
    labelled: bool


def look_at_sample(row: dict[str, Any], names: str | Path | None = None) -> Look:
    """What `load_sample` would find, from names and some of the counts.

    Parameters
    ----------
    row, names : see `load_sample`.

    Raises
    ------
    InputError
        See `load_sample`.
    """
    path = row["path"]
    wanted = row["subset"], row["slot"], row["expression"], obs_columns(row)
    counts, obs = look_at_counts(path, *wanted)
    columns = cell_columns(row, obs)
    genes = counts.var
    if names is not None:
        X = sp.csr_matrix(counts.X)
        _, genes = merge_repeated(X, renamed(genes, read_names(names), str(path)), str(path))
    cells = pd.Index([f"{row['sample']}_{barcode}" for barcode in obs.index], dtype=object)
    slot = counts.uns["decided"].get("matrix", "")
    kind = counts.uns["format"].removesuffix(slot).strip()
    kept = {name: columns[name] for name in ("sample", "role", "label")}
    return Look(pd.DataFrame(kept, index=cells), genes.index, kind, slot, bool(row["labels"]))


def obs_columns(row: dict[str, Any]) -> set[str]:
    """Columns of obs that a row of the sheet speaks of; no other is read."""
    wanted = subset_columns(row["subset"])
    wanted.update(label_columns(row["labels"]))
    fields = [row["batch"], *row["extra"].values()]
    wanted |= {f.removeprefix(FROM_OBS) for f in fields if f.startswith(FROM_OBS)}
    return wanted
