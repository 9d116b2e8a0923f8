"""fit_loadings: loadings of the corrected reference by SVD, and the latents of all cells."""

import logging
from typing import Any

import anndata as ad
import numpy as np
from dice_atlas.cells import reference_rows, training_rows
from dice_atlas.features.gene_noise import gene_noise
from dice_atlas.features.loadings import choose_k, residual_variance, truncated_svd
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.features.scaling import fit_scaling, scale

logger = logging.getLogger("dice_atlas")


def fit_space(
    normalized: ad.AnnData,
    harmony: ad.AnnData,
    rows: np.ndarray,
    latent: dict[str, Any],
    max_value: float,
    seed: int,
) -> LatentSpace:
    """Loadings of the corrected, centred and scaled expression of the cells of the mask `rows`."""
    scaling = fit_scaling(normalized.X[rows], max_value)
    scaled = scale(normalized.X[rows], scaling)
    shift = correction(harmony)[rows]
    most = min(latent["max_k"], min(scaled.shape) - 1)
    values, loadings = truncated_svd(
        scaled, scaling.center, most, seed, shift, np.asarray(harmony.varm["loadings"])
    )
    k = choose_k(values) if latent["k"] == "auto" else min(latent["k"], most)
    if latent["k"] not in ("auto", k):
        logger.warning("latent.k is %d, but max_k, cells and genes allow %d", latent["k"], k)
    genes = normalized.var_names.to_numpy(dtype=str)
    return LatentSpace(genes, loadings[:, :k], scaling, values, np.array([], dtype=str))


def correction(harmony: ad.AnnData) -> np.ndarray:
    """Harmony's correction of the PCs (cells x p), without moving the mean of what it corrected.

    With `within_role` each role was corrected by itself and keeps its own mean, so that a role
    of one batch is not moved; otherwise the reference keeps its mean.
    """
    shift = harmony.obsm["X_corrected"] - harmony.obsm["X_pcs"]
    if harmony.uns["harmony"]["scope"] != "within_role":
        return shift - shift[reference_rows(harmony.obs)].mean(axis=0)
    for role in harmony.obs["role"].unique():
        rows = (harmony.obs["role"] == role).to_numpy()
        shift[rows] -= shift[rows].mean(axis=0)
    return shift


def compute_latents(
    normalized: ad.AnnData, harmony: ad.AnnData, space: LatentSpace, target_sum: float
) -> ad.AnnData:
    """Latents of all cells, with and without the batch correction, and the noise around them."""
    uncorrected = least_squares_latents(normalized.X, space)
    overlap = space.loadings.T @ np.asarray(harmony.varm["loadings"])
    moved = correction(harmony) @ np.linalg.solve(space.gram, overlap).T
    columns = [c for c in ("sample", "role", "batch", "label") if c in normalized.obs]
    summary = {
        "gram": space.gram,
        "orthonormal": space.orthonormal,
        "missing_genes": int(space.missing_genes.size),
    }
    scaled = scale(normalized.X, space.scaling)
    for role in ("reference", "query"):
        rows = (normalized.obs["role"] == role).to_numpy()
        if rows.any() and space.orthonormal:
            summary[f"residual_variance_{role}"] = residual_variance(
                scaled[rows], space.scaling.center, space.loadings
            )
    fitted = reference_rows(normalized.obs)
    depth = normalized.obs["total_counts"].to_numpy()[fitted] / target_sum
    summary["gene_variance"], summary["gene_dispersion"] = gene_noise(
        normalized.X[fitted], depth, uncorrected[fitted], space
    )
    return ad.AnnData(
        obs=normalized.obs[columns],
        obsm={
            "X_pca": uncorrected.astype(np.float32),
            "X_harmony": (uncorrected + moved).astype(np.float32),
        },
        uns={"latent": summary},
    )


if __name__ == "__main__":
    from dice_atlas.features.projection import load_saved_space, save_space
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        normalized = ad.read_h5ad(snakemake.input.normalized)
        harmony = ad.read_h5ad(snakemake.input.harmony)
        if snakemake.input.prior:
            whole = load_saved_space(snakemake.input.prior[0])
            space = whole.restricted_to(normalized.var_names)
            log.info("loadings of the saved prior; %d genes missing", space.missing_genes.size)
        else:
            whole = space = fit_space(
                normalized,
                harmony,
                training_rows(normalized.obs, snakemake.params.calibrated),
                snakemake.params.latent,
                snakemake.params.max_value,
                snakemake.params.seed,
            )
        log.info("k = %d", space.k)
        latents = compute_latents(normalized, harmony, space, snakemake.params.target_sum)
        log.info("%s", {k: v for k, v in latents.uns["latent"].items() if np.ndim(v) == 0})
        save_space(whole, snakemake.output.loadings)
        with atomic_path(snakemake.output.latents) as path:
            latents.write_h5ad(path, compression="lzf")
