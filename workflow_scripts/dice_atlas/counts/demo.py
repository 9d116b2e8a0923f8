"""The demo data: 700 PBMC that scanpy ships, as one labelled reference and two queries."""

import io
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

from dice_atlas.errors import InputError
from dice_atlas.files import atomic_path, gzip_stream

TARGET_SUM = 10_000.0
MIN_REFERENCE = 3  # cells per label, where the label has as many
SAMPLES = ("reference", "query1", "query2")
# Gates that RNA alone hardly tells apart, and the type that they are of. Others are types.
TYPES = {
    "CD4+/CD25 T Reg": "CD4+ T",
    "CD4+/CD45RA+/CD25- Naive T": "CD4+ T",
    "CD4+/CD45RO+ Memory": "CD4+ T",
    "CD8+ Cytotoxic T": "CD8+ T",
    "CD8+/CD45RA+ Naive Cytotoxic": "CD8+ T",
}


def demo_counts() -> ad.AnnData:
    """Raw counts and labels of scanpy's pbmc68k_reduced (700 cells x 765 genes).

    obs `sort_gate` is the source's label, one of ten; `cell_type` one of seven types.

    The counts were normalised to 10,000 per cell and logged; with each cell's total they can be
    computed back to whole numbers. Source: Zheng et al. 2017, doi:10.1038/ncomms14049.

    Raises
    ------
    InputError
        Scanpy's file is another one, from which no whole numbers are computed.
    """
    # Not every job that imports this module needs it: it takes two seconds to load.
    import scanpy as sc

    source = sc.datasets.pbmc68k_reduced()
    counts, distance = invert_log1p(
        sp.csr_matrix(source.raw.X), source.obs["n_counts"].to_numpy(float)
    )
    if distance >= 0.2:
        raise InputError(
            f"scanpy's pbmc68k_reduced: computed counts lie up to {distance:.2g} from whole "
            "numbers, expected less than 0.2; use scanpy 1.9 to 1.11, whose file is known"
        )
    gates = source.obs["bulk_labels"].astype(str).to_numpy(object)
    types = np.array([TYPES.get(gate, gate) for gate in gates], dtype=object)
    index = pd.Index(source.obs_names.to_numpy(object), dtype=object)
    obs = pd.DataFrame({"cell_type": types, "sort_gate": gates}, index=index)
    var = pd.DataFrame(index=pd.Index(source.raw.var_names.to_numpy(object), dtype=object))
    return ad.AnnData(counts, obs=obs, var=var)


def invert_log1p(logged: sp.csr_matrix, totals: np.ndarray) -> tuple[sp.csr_matrix, float]:
    """Counts of log1p(counts / total x 10,000), and how far they were from whole numbers."""
    counts = sp.csr_matrix(logged, dtype=np.float64, copy=True)
    np.expm1(counts.data, out=counts.data)
    counts.data *= np.repeat(totals / TARGET_SUM, np.diff(counts.indptr))
    whole = np.rint(counts.data)
    distance = float(np.abs(counts.data - whole).max(initial=0.0))
    counts.data = whole
    counts = sp.csr_matrix(counts, dtype=np.int32)
    counts.eliminate_zeros()
    return counts, distance


def split_cells(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Positions of each sample's cells: half reference, two quarters of queries, per label.

    A label has at least three cells in the reference, where it has as many.
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SAMPLES}
    for i, label in enumerate(np.unique(labels)):
        cells = rng.permutation(np.flatnonzero(labels == label))
        n_reference = min(len(cells), max(MIN_REFERENCE, round(len(cells) / 2)))
        rest = cells[n_reference:]
        # The odd cell goes to one query and to the other in turn.
        n_first = (len(rest) + i % 2) // 2
        for name, part in zip(
            SAMPLES, (cells[:n_reference], rest[:n_first], rest[n_first:]), strict=True
        ):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def write_reference(cells: ad.AnnData, path: str | Path) -> None:
    """An h5ad with raw counts in X and the labels in obs `cell_type` and `sort_gate`."""
    with atomic_path(path) as temporary:
        cells.write_h5ad(temporary, compression="gzip", convert_strings_to_categoricals=False)


def write_mtx_folder(cells: ad.AnnData, folder: str | Path) -> None:
    """A folder as Cell Ranger 3 writes it, the same bytes every time."""
    matrix = io.BytesIO()
    scipy.io.mmwrite(matrix, sp.coo_matrix(cells.X.T), field="integer")
    features = "".join(f"{name}\t{name}\tGene Expression\n" for name in cells.var_names)
    barcodes = "".join(f"{name}\n" for name in cells.obs_names)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_gzip(temporary / "matrix.mtx.gz", matrix.getvalue())
        write_gzip(temporary / "features.tsv.gz", features.encode())
        write_gzip(temporary / "barcodes.tsv.gz", barcodes.encode())


def write_gzip(path: Path, content: bytes) -> None:
    """Write a gzipped file, the same bytes every time."""
    with open(path, "wb") as raw, gzip_stream(raw) as stream:
        stream.write(content)


def write_truth(cells: ad.AnnData, path: str | Path) -> None:
    """A csv with the columns barcode,label."""
    table = pd.DataFrame({"barcode": cells.obs_names, "label": cells.obs["cell_type"].to_numpy()})
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
