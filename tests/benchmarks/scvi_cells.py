"""Cells of scVI's posterior predictive, for synthesis.py; runs in scVI's own environment.

    PYTHONPATH=workflow_scripts .venv-scvi/bin/python tests/benchmarks/scvi_cells.py TRAINING OUT

TRAINING is an h5ad of counts whose uns["chosen"] lists the cells to draw again. OUT is the h5ad of
the drawn counts, in that order.
"""

import argparse

import anndata as ad
import numpy as np
import scipy.sparse as sp
from dice_atlas.baselines.scvi import draw


def main() -> None:
    """Train scVI on all cells and draw the chosen ones again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = ad.read_h5ad(given.training)
    data.layers["counts"], data.obs["batch"] = data.X, "all"
    chosen = np.asarray(data.uns["chosen"], dtype=int)
    counts = sp.csr_matrix(draw(data, chosen, given.seed, threads=1))
    ad.AnnData(counts).write_h5ad(given.out)


if __name__ == "__main__":
    main()
