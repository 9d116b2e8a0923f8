"""The two spaces in which Seurat finds anchors, "pcaproject" and "cca", and their L2 norm.

Expression stays sparse: z-scores enter as scaled values minus a per-gene centre.
"""

import logging
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, svds

from dice_atlas.numerics.scaling import Scaling, project, project_expression, scale
from dice_atlas.numerics.svd import truncated_svd
from dice_atlas.transfer.anchors import NoAnchors

logger = logging.getLogger(__name__)

MAX_VALUE = 10.0  # ScaleData's scale.max


@dataclass(frozen=True)
class Reduction:
    """Reference and query in one space.

    Attributes
    ----------
    reference : reference cells x dims, not normalised.
    query : query cells x dims, not normalised.
    loadings : genes x dims.
    genes : positions of the genes that the loadings have, among the columns given.
    """

    reference: np.ndarray
    query: np.ndarray
    loadings: np.ndarray
    genes: np.ndarray


def pcaproject(
    reference: sp.csr_matrix, query: sp.csr_matrix, dims: int, seed: int = 0
) -> Reduction:
    """PCA of the reference, onto which the query is projected (reduction = "pcaproject").

    z-scores of both by the REFERENCE's mean and standard deviation (n - 1), cut above at 10
    and not centred again; E_ref = U S, E_query = Z_query V. Genes that are constant in the
    reference are left out.

    Parameters
    ----------
    reference, query : cells x genes, log-normalised expression of the same genes.
    dims : dimensions wanted; fewer are made, with a warning, where cells or genes are few.
    seed : of the start vector of the SVD.

    Raises
    ------
    NoAnchors
        There are fewer than 3 reference cells or variable genes.
    """
    scaling, genes = _fit(reference)

    def of_genes(expression: sp.csr_matrix) -> sp.csr_matrix:
        # No copy of a million cells where all genes vary.
        return expression if genes.size == expression.shape[1] else expression[:, genes]

    z = scale(of_genes(reference), scaling)
    dims = _possible(dims, {"reference cells": z.shape[0], "variable genes": z.shape[1]})
    _, loadings = truncated_svd(z, scaling.center, dims, seed)
    return Reduction(
        project(z, scaling.center, loadings),
        project_expression(of_genes(query), scaling, loadings),
        loadings,
        genes,
    )


def cca(reference: sp.csr_matrix, query: sp.csr_matrix, dims: int, seed: int = 0) -> Reduction:
    """Canonical vectors of the two (reduction = "cca").

    Each is scaled by its OWN mean and standard deviation (cut above at 10), each cell is then
    standardised over the genes; truncated SVD of R^T Q gives E_ref = U, E_query = V.
    The gene loadings are Z_ref E_ref + Z_query E_query of the scaled data. Genes that are
    constant in either are left out. Parameters as for `pcaproject`.

    Raises
    ------
    NoAnchors
        There are fewer than 3 cells of either, or genes variable in both.
    """
    genes = np.intersect1d(_fit(reference)[1], _fit(query)[1])
    cells = {"reference cells": reference.shape[0], "query cells": query.shape[0]}
    dims = _possible(dims, cells | {"genes variable in both": genes.size})
    r, q = _StandardCells(reference[:, genes]), _StandardCells(query[:, genes])
    operator = LinearOperator(
        (r.n, q.n),
        matvec=lambda v: r.times(q.transposed_times(v)),
        rmatvec=lambda v: q.times(r.transposed_times(v)),
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).standard_normal(min(r.n, q.n))
    left, values, right = svds(operator, k=dims, v0=start)
    order = np.argsort(-values)
    left, right = left[:, order], right[order].T
    sign = np.where(left[0] < 0, -1.0, 1.0)
    left, right = left * sign, right * sign
    return Reduction(left, right, r.gene_loadings(left) + q.gene_loadings(right), genes)


def _fit(expression: sp.csr_matrix) -> tuple[Scaling, np.ndarray]:
    """Seurat's scaling of the genes that vary, and their positions."""
    n = expression.shape[0]
    # Not every job that imports this module needs it: it takes a second to load.
    from sklearn.utils.sparsefuncs import mean_variance_axis

    mean, variance = mean_variance_axis(sp.csr_matrix(expression, dtype=np.float64), axis=0)
    genes = np.flatnonzero(variance > 1e-14 * mean**2)  # a constant's variance may round off 0
    mean, sd = mean[genes], np.sqrt(variance[genes] * n / max(n - 1, 1))
    return Scaling(sd, mean / sd + MAX_VALUE, mean / sd), genes


def _possible(dims: int, sizes: dict[str, int]) -> int:
    what, least = min(sizes.items(), key=lambda item: item[1])
    if least < 3:
        raise NoAnchors(
            f"the label transfer has {least} {what}, which is too few for a common space "
            "(needed: 3, and better hundreds)"
        )
    if dims < least:
        return dims
    logger.warning(
        "annotate.dims is %d, but there are %d %s: %d are used", dims, least, what, least - 1
    )
    return least - 1


class _StandardCells:
    """Scaled cells, each standardised over its genes, as a product of sparse parts.

    Row c is (s_c - center - m_c) / d_c, with s the scaled, uncentred expression, and m_c and
    d_c the cell's mean and standard deviation (n - 1) over the genes.
    """

    def __init__(self, expression: sp.csr_matrix) -> None:
        scaling, genes = _fit(expression)
        if genes.size < expression.shape[1]:
            raise ValueError("genes without variance must be left out first")
        self.scaled = scale(expression, scaling)
        self.transposed = self.scaled.T.tocsr()
        self.center = scaling.center
        self.n, d = self.scaled.shape
        self.mean = np.asarray(self.scaled.sum(axis=1)).ravel() / d - self.center.mean()
        squares = np.asarray(self.scaled.multiply(self.scaled).sum(axis=1)).ravel()
        squares += self.center @ self.center - 2 * (self.scaled @ self.center)
        variance = np.maximum(squares - d * self.mean**2, 0) / max(d - 1, 1)
        sd = np.sqrt(variance)
        self.factor = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)

    def times(self, genes: np.ndarray) -> np.ndarray:
        """Standardised cells (cells x genes) @ a vector of genes."""
        genes = np.ravel(genes)
        product = self.scaled @ genes - self.center @ genes - self.mean * genes.sum()
        return product * self.factor

    def transposed_times(self, cells: np.ndarray) -> np.ndarray:
        """Standardised cells transposed @ a vector of cells."""
        weighted = np.ravel(cells) * self.factor
        return self.transposed @ weighted - self.center * weighted.sum() - self.mean @ weighted

    def gene_loadings(self, embedding: np.ndarray) -> np.ndarray:
        """Scaled (not standardised) expression transposed @ an embedding (genes x dims)."""
        return np.asarray(self.transposed @ embedding) - np.outer(
            self.center, embedding.sum(axis=0)
        )
