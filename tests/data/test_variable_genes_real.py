"""Variable genes of real data sets against scanpy, where its loess does not raise."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.features.variable_genes import rank_over_batches, variable_genes


@pytest.mark.parametrize("name", ["pbmc3k", "pbmc4k"])
def test_one_batch(shared, name):
    data = ad.read_h5ad(shared / "data" / name / f"{name}.h5ad")
    order, variances = variable_genes(sp.csr_matrix(data.X), 2000)
    data.X = sp.csr_matrix(data.X, dtype=np.float64)
    table = sc.pp.highly_variable_genes(data, flavor="seurat_v3", n_top_genes=2000, inplace=False)
    np.testing.assert_allclose(variances, table["variances_norm"], rtol=1e-6, atol=1e-9)
    theirs = set(np.flatnonzero(table["highly_variable"]))
    # Other genes are chosen only where they tie on the last places.
    others = list(theirs ^ set(order))
    assert len(order) == len(theirs)
    np.testing.assert_allclose(variances[others], variances[order[-1]], rtol=1e-9)


def test_donors_as_batches(shared):
    data = ad.read_h5ad(shared / "data" / "kang_ctrl_8donors" / "kang_ctrl_8donors.h5ad")
    data.X = sp.csr_matrix(data.X, dtype=np.float64)
    theirs = sc.pp.highly_variable_genes(
        data, flavor="seurat_v3_paper", n_top_genes=300, batch_key="batch", inplace=False
    )
    batch = data.obs["batch"].astype(str).to_numpy()
    ours = rank_over_batches(
        [variable_genes(data.X[batch == b], 300)[1] for b in sorted(set(batch))], 300
    )
    chosen = ours["rank"].to_numpy() <= 300
    assert (chosen & theirs["highly_variable"].to_numpy()).sum() >= 298
    np.testing.assert_array_equal(ours["n_batches"], theirs["highly_variable_nbatches"])
