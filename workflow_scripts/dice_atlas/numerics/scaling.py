"""Normalisation and scaling of expression, kept sparse; unit length of rows."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dice_atlas.numerics.blocks import row_slices


@dataclass(frozen=True)
class Scaling:
    """Statistics of the reference that scale any cell, per gene (d values each).

    Attributes
    ----------
    sd
        Standard deviation (n - 1) of the log-normalised expression; 1 where it is 0.
    cap
        Largest scaled, uncentred value: (mean + max_value sd) / sd.
    center
        Mean of the scaled, capped expression of the reference.
    """

    sd: np.ndarray
    cap: np.ndarray
    center: np.ndarray


def fit_scaling(expression: sp.csr_matrix, max_value: float) -> Scaling:
    """Fit the scaling on the reference.

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    max_value : cap of the scaled expression, in standard deviations.
    """
    n = expression.shape[0]
    # Not every job that imports this module needs it: it takes a second to load.
    from sklearn.utils.sparsefuncs import mean_variance_axis

    mean, variance = mean_variance_axis(expression.astype(np.float64), axis=0)
    sd = np.sqrt(variance * n / max(n - 1, 1))
    sd[sd == 0] = 1.0
    cap = mean / sd + max_value
    uncentered = scale(expression, Scaling(sd, cap, np.zeros_like(sd)))
    center = np.asarray(uncentered.mean(axis=0, dtype=np.float64)).ravel()
    return Scaling(sd, cap, center)


def scale(expression: sp.csr_matrix, scaling: Scaling) -> sp.csr_matrix:
    """Scaled, capped expression (cells x genes), sparse and NOT yet centred.

    The centre is subtracted in products only (`project`), so that zeros stay zeros.
    """
    scaled = sp.csr_matrix(expression, dtype=np.float64, copy=True)
    genes = scaled.indices
    scaled.data = np.minimum(scaled.data / scaling.sd[genes], scaling.cap[genes])
    return scaled


def project(scaled: sp.csr_matrix, center: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    """(scaled - center) @ loadings, cells x k, without densifying the cells."""
    return np.asarray(scaled @ loadings) - center @ loadings


def project_expression(
    expression: sp.csr_matrix, scaling: Scaling, loadings: np.ndarray
) -> np.ndarray:
    """Centred, scaled expression @ loadings, cells x k, block by block of the cells.

    Parameters
    ----------
    expression : cells x genes, log-normalised.
    loadings : genes x k.
    """
    found = np.empty((expression.shape[0], loadings.shape[1]))
    for rows in row_slices(expression.shape[0]):
        found[rows] = project(scale(expression[rows], scaling), scaling.center, loadings)
    return found


def log1p_normalize(counts: sp.csr_matrix, totals: np.ndarray, target_sum: float) -> sp.csr_matrix:
    """log1p(counts / totals * target_sum), float32 CSR (cells x genes).

    Parameters
    ----------
    counts : cells x genes, raw counts of any subset of the genes.
    totals : cells, counts over all genes of the cell; a cell of total 0 stays all zero.
    target_sum : the total that every cell is brought to.
    """
    normalized = sp.csr_matrix(counts, dtype=np.float64, copy=True)
    factor = target_sum / np.maximum(np.asarray(totals, dtype=np.float64), 1.0)
    normalized.data *= np.repeat(factor, np.diff(normalized.indptr))
    np.log1p(normalized.data, out=normalized.data)
    return normalized.astype(np.float32)


def l2_normalize(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their Euclidean norm; a row of zeros stays as it is."""
    rows = np.asarray(rows, dtype=np.float64)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm == 0, 1.0, norm)
