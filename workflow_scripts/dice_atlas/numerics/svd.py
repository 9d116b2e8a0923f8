"""Truncated SVD of centred sparse expression, with a batch correction as a low-rank term.

The correction enters as X' = X + D W^T with D = corrected - PCs (cells x p) and W the PC loadings
(genes x p), so X is never densified or copied.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, svds

from dice_atlas.numerics.scaling import project


def truncated_svd(
    scaled: sp.csr_matrix,
    center: np.ndarray,
    k: int,
    seed: int,
    correction: np.ndarray | None = None,
    pc_loadings: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Top-k singular values and right singular vectors of centred, corrected expression.

    Parameters
    ----------
    scaled : cells x genes, scaled and capped, not centred.
    center : genes, its column means.
    k : number of components, at most min(cells, genes) - 1.
    seed : of the start vector of ARPACK.
    correction, pc_loadings : D (cells x p) and W (genes x p), or None.

    Returns
    -------
    singular_values : k, largest first.
    loadings : genes x k, orthonormal; of each column the entry largest in size is positive.

    Raises
    ------
    ValueError
        One of `correction` and `pc_loadings` is given without the other.
    """
    if (correction is None) != (pc_loadings is None):
        raise ValueError("correction and pc_loadings: expected both or neither")
    n, d = scaled.shape
    transposed = scaled.T.tocsr()

    def forward(vectors: np.ndarray) -> np.ndarray:
        product = project(scaled, center, vectors)
        if correction is None or pc_loadings is None:
            return product
        return product + correction @ (pc_loadings.T @ vectors)

    def backward(vectors: np.ndarray) -> np.ndarray:
        product = np.asarray(transposed @ vectors)
        product -= np.multiply.outer(center, vectors.sum(axis=0)).reshape(product.shape)
        if correction is None or pc_loadings is None:
            return product
        return product + pc_loadings @ (correction.T @ vectors)

    operator = LinearOperator(
        (n, d),
        matvec=forward,
        rmatvec=backward,
        matmat=forward,
        rmatmat=backward,
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).standard_normal(min(n, d))
    _, values, right = svds(operator, k=k, v0=start, return_singular_vectors="vh")
    order = np.argsort(-values)
    loadings = right[order].T
    signs = np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(k)])
    return values[order], np.ascontiguousarray(loadings * signs)
