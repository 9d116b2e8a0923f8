"""Cells of scVI's posterior predictive, for synthesis.py; runs in scVI's own environment.

    .venv-scvi/bin/python tests/benchmarks/scvi_cells.py TRAINING OUT --seed 0

TRAINING is an h5ad of counts whose uns["chosen"] lists the cells to draw again. OUT is the h5ad of
the drawn counts, in that order.
"""

import argparse
import logging
import os

import anndata as ad
import numpy as np
import scipy.sparse as sp


def main() -> None:
    """Train scVI on all cells and draw the chosen ones again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import scvi
    import torch

    scvi.settings.verbosity = logging.WARNING
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    scvi.settings.seed = given.seed
    torch.set_num_threads(1)
    data = ad.read_h5ad(given.training)
    scvi.model.SCVI.setup_anndata(data)
    model = scvi.model.SCVI(data)
    model.train(early_stopping=True, enable_progress_bar=False)
    chosen = np.asarray(data.uns["chosen"], dtype=int)
    drawn = model.posterior_predictive_sample(data[chosen].copy())
    dense = drawn.todense() if hasattr(drawn, "todense") else drawn
    counts = sp.csr_matrix(np.asarray(dense, dtype=np.int32))
    ad.AnnData(counts, obs=data.obs.iloc[chosen].reset_index(drop=True)).write_h5ad(given.out)


if __name__ == "__main__":
    main()
