"""One sample as the workflow holds it: raw counts, roles, batches and labels per cell."""

from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd

from dice_atlas.counts.genes import merge_repeated, read_names, renamed
from dice_atlas.counts.labels import read_labels
from dice_atlas.counts.readers import read_counts
from dice_atlas.counts.subset import batch_values
from dice_atlas.files import sha256


def load_sample(row: dict[str, Any], names: str | Path | None = None) -> ad.AnnData:
    """The canonical raw counts of one sample.

    Parameters
    ----------
    row : of the sample sheet: `sample`, `path` (counts, any format of `read_counts`), `role`,
        `batch`, `labels`, `labels_source`, `subset` and `extra` (further columns).
    names : table of Ensembl ids and symbols, for files that have ids alone.

    Returns
    -------
    AnnData
        `X` CSR int32, cells x all genes; obs (index `<sample>_<barcode>`): `barcode`, `sample`,
        `role`, `batch`, `label`, further columns; var: `gene_id`; uns: `source`.

    Raises
    ------
    InputError
        See `read_counts`, `batch_values`, `read_labels`, `read_names` and `renamed`.
    """
    path = row["path"]
    counts = read_counts(path, row["subset"])
    barcodes = pd.Index(counts.obs_names.to_numpy(object), dtype=object)
    columns = {
        "barcode": barcodes.to_numpy(object),
        "sample": row["sample"],
        "role": row["role"],
        "batch": batch_values(row["batch"], counts.obs, path),
        "label": read_labels(row["labels"], row["labels_source"], barcodes, counts.obs),
        **row["extra"],
    }
    cells = pd.Index([f"{row['sample']}_{barcode}" for barcode in barcodes], dtype=object)
    source = {"path": str(path), "sha256": sha256(path), "format": counts.uns["format"]}
    if row["labels_source"] not in ("", path):
        table = row["labels_source"]
        source |= {"labels_path": str(table), "labels_sha256": sha256(table)}
    X, genes = counts.X, counts.var
    if names is not None:
        X, genes = merge_repeated(X, renamed(genes, read_names(names), str(path)), str(path))
    return ad.AnnData(X, obs=pd.DataFrame(columns, index=cells), var=genes, uns={"source": source})
