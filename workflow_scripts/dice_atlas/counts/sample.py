"""One sample as the workflow holds it: raw counts, roles, batches and labels per cell."""

from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd

from dice_atlas.counts.formats import label_columns
from dice_atlas.counts.genes import merge_repeated, read_names, renamed
from dice_atlas.counts.keys import cell_keys
from dice_atlas.counts.labels import read_labels, read_parents
from dice_atlas.counts.logged import has_one_total, total_of
from dice_atlas.counts.readers import read_counts
from dice_atlas.counts.subset import parse_subset, sheet_values
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
    columns = {
        "barcode": barcodes.to_numpy(object),
        "cell_key": cell_keys(counts.X, barcodes),
        "sample": row["sample"],
        "role": row["role"],
        "batch": sheet_values(row["batch"], counts.obs, path),
        "label": read_labels(
            row["labels"], row["labels_source"], barcodes, counts.obs, row["suffix"]
        ),
        **{
            name: sheet_values(field, counts.obs, path, name)
            for name, field in row["extra"].items()
        },
    }
    if len(label_columns(row["labels"])) > 1:
        columns["label_parents"] = read_parents(row["labels"], path, counts.obs)
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


def obs_columns(row: dict[str, Any]) -> set[str]:
    """Columns of obs that a row of the sheet speaks of; no other is read."""
    wanted = set(parse_subset(row["subset"])) if row["subset"] else set()
    wanted.update(label_columns(row["labels"]))
    fields = [row["batch"], *row["extra"].values()]
    wanted |= {f.removeprefix(FROM_OBS) for f in fields if f.startswith(FROM_OBS)}
    return wanted
