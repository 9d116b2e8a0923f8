"""Labels of a CellTypist model that is trained on the reference, for levels.py.

    PYTHONPATH=workflow_scripts PYTHON tests/benchmarks/celltypist_cells.py CELLS OUT

PYTHON is that of CellTypist's own environment. CELLS is an h5ad of counts with obs `label` and
`is_reference`; OUT the labels of the other cells. Majority voting is off, all else CellTypist's
default.
"""

import argparse
import time

import anndata as ad
import celltypist
import pandas as pd
import scipy.sparse as sp
from dice_atlas.transfer.celltypist import normalized


def main() -> None:
    """Train on the reference, and label the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells")
    parser.add_argument("out")
    given = parser.parse_args()
    data = ad.read_h5ad(given.cells)
    data.X = normalized(sp.csr_matrix(data.X))
    reference = data.obs["is_reference"].to_numpy(dtype=bool)
    start = time.process_time()
    model = celltypist.train(data[reference].copy(), labels="label", n_jobs=1)
    found = celltypist.annotate(data[~reference].copy(), model=model, majority_voting=False)
    labels = found.predicted_labels["predicted_labels"].astype(str).to_numpy()
    seconds = time.process_time() - start
    table = pd.DataFrame({"label": labels, "cpu_seconds": seconds})
    table.to_csv(given.out, sep="\t", index=False)


if __name__ == "__main__":
    main()
