"""Reference and query of the demo, or of any counts, as files that seurat_transfer.R reads.

    python tests/oracle/write_inputs.py OUT

writes OUT/reference and OUT/query: every second of the demo's 700 cells each.
"""

import gzip
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp


def write_input(folder: Path, counts: ad.AnnData, labels: np.ndarray) -> None:
    """Write counts (cells x genes) and one label per cell for `seurat_transfer.R`."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(counts.X.T))
    for name, values in (("features", counts.var_names), ("barcodes", counts.obs_names)):
        with gzip.open(folder / f"{name}.tsv.gz", "wt") as file:
            file.write("\n".join(values) + "\n")
    table = pd.DataFrame({"cell": counts.obs_names, "label": labels})
    table.to_csv(folder / "labels.csv", index=False)


def demo_halves() -> dict[str, ad.AnnData]:
    """The demo's cells by turns, with their labels in `sort_gate`."""
    # The oracle's script runs it; so does the test that compares with the oracle.
    from dice_atlas.counts.demo import demo_counts

    whole = demo_counts()
    return {"reference": whole[::2].copy(), "query": whole[1::2].copy()}


if __name__ == "__main__":
    for name, half in demo_halves().items():
        write_input(Path(sys.argv[1]) / name, half, half.obs["sort_gate"].to_numpy())
