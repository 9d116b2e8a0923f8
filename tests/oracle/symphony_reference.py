"""Small reference and query mapped by symphonypy 0.2.4, for tests/unit/test_mapping.py.

    pip download --no-deps symphonypy==0.2.4, unpack it into DIR, then in this project's environment
    PYTHONPATH=DIR python tests/oracle/symphony_reference.py

writes tests/oracle/symphony.npz. The "genes" are already PCs (loadings are the identity), so that
only the mapping itself is compared. The query is one batch: symphonypy fits the batches of a
query together, dice-atlas each by itself. symphonypy divides a cell by its largest coordinate
before it takes the cosine, which turns cells without a positive one around: none is drawn here.
"""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import symphonypy as sp

P, TYPES = 6, 4


def draw(rng: np.random.Generator, centers: np.ndarray, shifts: np.ndarray, n: int) -> ad.AnnData:
    """Cells around the centres, each batch shifted."""
    types, batches = rng.integers(0, TYPES, n), rng.integers(0, len(shifts), n)
    pcs = centers[types] + shifts[batches] + rng.normal(0, 0.5, (n, P))
    kept = (pcs.max(axis=1) > 0) & (np.abs(pcs).max(axis=1) < 10)
    names = pd.Index([f"PC{j}" for j in range(P)])
    var = pd.DataFrame({"mean": 0.0, "std": 1.0, "highly_variable": True}, index=names)
    obs = pd.DataFrame(
        {"batch": batches[kept].astype(str)}, index=np.arange(kept.sum()).astype(str)
    )
    cells = ad.AnnData(pcs[kept], obs=obs, var=var, obsm={"X_pca": pcs[kept]})
    cells.varm["PCs"] = np.eye(P)
    cells.uns["log1p"] = {}
    return cells


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 3, (TYPES, P))
    reference = draw(rng, centers, rng.normal(0, 0.3, (2, P)), 240)
    query = draw(rng, centers, rng.normal(0, 1, (1, P)), 120)
    sp.pp.harmony_integrate(reference, key="batch", nclust=8, ncores=1, max_iter_harmony=3)
    stored = reference.uns["harmony"]
    out = {
        "reference": reference.obsm["X_pca_harmony"],
        "reference_assignment": stored["R"].T,
        "query": query.X,
    }
    for lamb in (1.0, 20.0):
        sp.tl.map_embedding(query, reference, lamb=lamb)
        out[f"corrected_{lamb:g}"] = query.obsm["X_pca_harmony"]
    out["query_assignment"] = query.obsm["X_pca_harmony_symphony_R"]
    path = Path(__file__).with_name("symphony.npz")
    np.savez_compressed(path, **out)
    print({k: v.shape for k, v in out.items()}, path.stat().st_size)
