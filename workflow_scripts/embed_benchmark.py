"""embed_benchmark: one of the methods that DICE is compared with, on the cells of one split."""

from collections.abc import Callable, Mapping
from functools import partial

import anndata as ad
import numpy as np
import scipy.sparse as sp
from dice_atlas.baselines.alra import alra_embedding
from dice_atlas.baselines.factorization import nmf_embedding
from dice_atlas.baselines.kernel import kernel_posterior
from dice_atlas.baselines.magic import magic
from dice_atlas.baselines.smoothing import knn_smoothing
from dice_atlas.cells import reference_rows
from dice_atlas.dice.schedule import noise_level


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
    return knn_smoothing(latents.obsm["X_harmony"], n_neighbors)


def magic_pcs(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    return magic(latents.obsm["X_harmony"])


def nmf(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    return nmf_embedding(sp.csr_matrix(split.X), latents.obsm["X_pca"].shape[1], seed)


def alra(split: ad.AnnData, latents: ad.AnnData, s: float, seed: int) -> np.ndarray:
    return alra_embedding(sp.csr_matrix(split.X), seed)


# Each gets (split, latents, noise level s, seed) and returns cells x dimensions; those that are
# posterior means return their standard deviation as well.
METHODS: Mapping[str, Callable[..., np.ndarray | tuple[np.ndarray, np.ndarray]]] = {
    "pca": pca,
    "kernel": kernel,
    "knn_5": partial(knn, n_neighbors=5),
    "knn_10": partial(knn, n_neighbors=10),
    "knn_15": partial(knn, n_neighbors=15),
    "magic": magic_pcs,
    "nmf": nmf,
    "alra": alra,
}


if __name__ == "__main__":
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        split, latents = ad.read_h5ad(snakemake.input.split), ad.read_h5ad(snakemake.input.latents)
        method, denoise = snakemake.wildcards.method, snakemake.params.denoise
        noise = noise_level(denoise["noise_variance"], latents.uns["latent"], "query")
        # The level of DICE's exact mode.
        s = float(np.sqrt(noise + denoise["rho"]["end"] ** 2))
        found = METHODS[method](split, latents, s, int(snakemake.wildcards.seed))
        embedding, sd = found if isinstance(found, tuple) else (found, None)
        log.info("%s: %d cells x %d", method, *embedding.shape)
        result = ad.AnnData(obs=latents.obs, obsm={"X_embedding": embedding.astype(np.float32)})
        if sd is not None:
            result.obsm["X_embedding_sd"] = sd.astype(np.float32)
        with atomic_path(snakemake.output.embedding) as path:
            result.write_h5ad(path)
