"""Loadings of the reference: truncated SVD of its corrected, scaled expression.

The batch correction enters as a low-rank term, X' = X + D W^T with D = corrected - PCs
(cells x p) and W the PC loadings (genes x p), so X is never densified or copied.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, svds

from dice_atlas.features.scaling import project


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
    """
    n, d = scaled.shape
    transposed = scaled.T.tocsr()

    def forward(vectors: np.ndarray) -> np.ndarray:
        product = project(scaled, center, vectors)
        return product if correction is None else product + correction @ (pc_loadings.T @ vectors)

    def backward(vectors: np.ndarray) -> np.ndarray:
        product = np.asarray(transposed @ vectors)
        product -= np.multiply.outer(center, vectors.sum(axis=0)).reshape(product.shape)
        if correction is None:
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


def choose_k(singular_values: np.ndarray, excess: float = 0.01) -> int:
    """Number of latent dimensions: where the singular values leave their straight tail.

    The tail is the line through the second half of the values; k is the last component that
    lies more than `excess` of the tail's mean above it. A k that is a bit too large is safe,
    one too small is not (DICE, Appendix F), so this takes the end of the elbow, not its middle.
    """
    values = np.asarray(singular_values, dtype=np.float64)
    if values.size < 6:
        return int(values.size)
    position = np.arange(values.size)
    tail = position[values.size // 2 :]
    line = np.polyval(np.polyfit(tail, values[tail], 1), position)
    above = np.flatnonzero(values - line > excess * values[tail].mean())
    return max(int(above[-1]) + 1 if above.size else 0, 2)


def residual_variance(scaled: sp.csr_matrix, center: np.ndarray, loadings: np.ndarray) -> float:
    """Mean squared residual per scaled gene outside the span of orthonormal loadings.

    ||x - V V^T x||^2 = ||x||^2 - ||V^T x||^2, over cells x (genes - k).
    """
    n, d = scaled.shape
    squares = scaled.multiply(scaled).sum() - 2 * (scaled @ center).sum() + n * center @ center
    inside = (project(scaled, center, loadings) ** 2).sum()
    return float((squares - inside) / (n * max(d - loadings.shape[1], 1)))
