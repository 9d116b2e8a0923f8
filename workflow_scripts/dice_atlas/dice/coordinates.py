"""Coordinates of the latents in which the noise of a cell is isotropic.

DICE removes what differs between cells of one type. That differs by direction: with W the pooled
covariance of the reference's latents within types, and S = 0.8 W + 0.2 tr(W) / k I, the noise of a
cell has covariance s^2 S, up to scale. In the coordinates u A, A = S^(-1/2) (tr(W) / k)^(1/2), it
is isotropic again, so that prior, exact mode and Gibbs sampling are those of isotropic noise.
"""

from dataclasses import replace

import anndata as ad
import numpy as np

from dice_atlas.features.projection import LatentSpace

# Share of tr(W) / k I in S: a type of few cells says little of k x k covariances.
SHRINKAGE = 0.2


def within_type_matrix(
    latents: np.ndarray, classes: np.ndarray, shrinkage: float = SHRINKAGE
) -> np.ndarray:
    """A (k x k), symmetric; the identity if no class varies.

    Parameters
    ----------
    latents : (n, k), of the reference.
    classes : (n,), types or clusters.
    shrinkage : share of the isotropic part, 0 to 1.
    """
    points = np.asarray(latents, dtype=np.float64)
    _, codes = np.unique(classes, return_inverse=True)
    sizes = np.bincount(codes)[:, None]
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, codes, points)
    offset = points - (sums / sizes)[codes]
    within = offset.T @ offset / len(points)
    scale = np.trace(within) / len(within)
    if scale <= 0:
        return np.eye(len(within))
    # Not every job that imports this module needs it: it takes a second to load.
    from sklearn.covariance import shrunk_covariance

    values, vectors = np.linalg.eigh(shrunk_covariance(within, shrinkage))
    return (vectors * np.sqrt(scale / values)) @ vectors.T


def in_coordinates(latents: ad.AnnData, matrix: np.ndarray | None) -> ad.AnnData:
    """Cells with their latents in the coordinates of a prior.

    Where genes are missing, least squares adds s^2 (G^-1 - I) to a cell's noise, G the Gram matrix
    of the loadings: `gram` of the result is the inverse of the whole, in the coordinates.

    Parameters
    ----------
    latents : latents.h5ad; obsm `X_pca` and `X_harmony`, uns `latent`.
    matrix : A, k x k; None: the latents as they are.
    """
    if matrix is None:
        return latents
    latent = dict(latents.uns["latent"])
    identity = np.eye(len(matrix))
    added = np.linalg.inv(np.asarray(latent["gram"])) - identity
    latent["gram"] = np.linalg.inv(identity + matrix.T @ added @ matrix)
    moved = {
        name: (np.asarray(latents.obsm[name], dtype=np.float64) @ matrix).astype(np.float32)
        for name in ("X_pca", "X_harmony")
    }
    return ad.AnnData(obs=latents.obs, obsm=moved, uns={**latents.uns, "latent": latent})


def space_in_coordinates(space: LatentSpace, matrix: np.ndarray | None) -> LatentSpace:
    """The space whose latents are u A: x = V u = (V A^-T) (A^T u).

    Parameters
    ----------
    space : loadings V.
    matrix : A, k x k; None: the space as it is.
    """
    if matrix is None:
        return space
    return replace(space, loadings=np.linalg.solve(matrix, space.loadings.T).T)
