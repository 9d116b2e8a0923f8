"""The methods that DICE is compared with, on the cells of one split.

Each gets (split, latents, noise level s, seed) and returns cells x dimensions; those that are
posterior means return their standard deviation as well.
"""

import anndata as ad
import numpy as np
import scipy.sparse as sp
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dice_atlas.baselines.alra import alra_embedding
from dice_atlas.baselines.factorization import nmf_embedding
from dice_atlas.baselines.kernel import kernel_posterior
from dice_atlas.baselines.magic import magic
from dice_atlas.baselines.methods import METHODS
from dice_atlas.baselines.smoothing import knn_smoothing
from dice_atlas.dice.coordinates import within_type_matrix
from dice_atlas.holdout import reference_rows
from dice_atlas.registry import load


def pca(
    split: ad.AnnData, latents: ad.AnnData, s: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Projection on the reference's loadings, not denoised: the posterior under a flat prior."""
    points = latents.obsm["X_harmony"]
    return points, np.full_like(points, s)


def kernel(
    split: ad.AnnData, latents: ad.AnnData, s: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """DICE's exact posterior with the reference's own cells in place of the network."""
    points = latents.obsm["X_harmony"]
    return kernel_posterior(points, points[reference_rows(latents.obs)], s)


def knn(
    split: ad.AnnData, latents: ad.AnnData, s: float, seed: int, n_neighbors: int
) -> np.ndarray:
    """Mean of the nearest cells."""
    return knn_smoothing(latents.obsm["X_harmony"], n_neighbors)


def magic_pcs(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    """MAGIC on the latents."""
    return magic(latents.obsm["X_harmony"])


def whitened(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    """The latents in the coordinates of `denoise.noise: within_type`, not denoised."""
    points, reference = latents.obsm["X_harmony"], reference_rows(latents.obs)
    labels = latents.obs["label"].to_numpy(dtype=str)[reference]
    return points @ within_type_matrix(points[reference], labels)


def lda(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    """Linear discriminant analysis of the latents, covariance shrunk as by Ledoit and Wolf."""
    points, reference = latents.obsm["X_harmony"], reference_rows(latents.obs)
    labels = latents.obs["label"].to_numpy(dtype=str)[reference]
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    return model.fit(points[reference], labels).transform(points)


def nmf(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    """As many non-negative factors as there are latents."""
    return nmf_embedding(sp.csr_matrix(split.X), latents.obsm["X_pca"].shape[1], seed)


def alra(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    """Principal components of the completed expression."""
    return alra_embedding(sp.csr_matrix(split.X), seed)


def embed(method: str, split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> ad.AnnData:
    """Embedding of a method: obsm `X_embedding`, and `X_embedding_sd` of a posterior mean.

    Parameters
    ----------
    method : a key of `METHODS` that has a function.
    split, latents : split.h5ad and latents.h5ad.
    s : noise level of DICE's exact mode.

    Raises
    ------
    InputError
        The method cannot do with these cells; see its function.
    """
    about = METHODS[method]
    result = load(about.function)(split, latents, s, seed, **about.options)
    embedding, sd = result if isinstance(result, tuple) else (result, None)
    data = ad.AnnData(obs=latents.obs, obsm={"X_embedding": embedding.astype(np.float32)})
    if sd is not None:
        data.obsm["X_embedding_sd"] = sd.astype(np.float32)
    return data
