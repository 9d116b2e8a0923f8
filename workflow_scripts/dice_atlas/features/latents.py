"""Latents of all cells: principal components, their batch correction, the reference's loadings."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np

from dice_atlas.errors import InputError
from dice_atlas.features.correction import correct_batches
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.gene_noise import gene_noise
from dice_atlas.features.loadings import choose_k, residual_variance
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.holdout import reference_rows
from dice_atlas.numerics.scaling import fit_scaling, project_expression, scale
from dice_atlas.numerics.svd import truncated_svd
from dice_atlas.tables import require_columns

logger = logging.getLogger(__name__)

# Fewer cells or genes make no space.
LEAST = 3


@dataclass(frozen=True)
class LatentSettings:
    """Section `latent` of the config: the dimensions `k` (None: chosen), at most `max_k`."""

    k: int | None
    max_k: int

    @classmethod
    def from_config(cls, latent: Mapping[str, Any]) -> "LatentSettings":
        """Settings from the `latent` section of the config."""
        return cls(None if latent["k"] == "auto" else latent["k"], latent["max_k"])


def most_components(n_cells: int, n_genes: int) -> int:
    """The most components that an SVD of so many cells and genes can give.

    Raises
    ------
    InputError
        There are fewer than 3 of either.
    """
    if min(n_cells, n_genes) < LEAST:
        raise InputError(
            f"seen {n_cells} cells and {n_genes} genes to fit the latent space on, expected at "
            f"least {LEAST} of each, and better hundreds: add reference cells, or loosen the "
            "limits of qc and genes"
        )
    return min(n_cells, n_genes) - 1


def principal_components(
    normalized: ad.AnnData, n_pcs: int, max_value: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """PCs of all cells on the reference's loadings.

    Parameters
    ----------
    normalized : X CSR log-normalised expression, cells x genes; obs `role`.
    n_pcs : p, fewer where the reference has too few cells or genes.
    max_value : see `fit_scaling`.
    seed : see `truncated_svd`.

    Returns
    -------
    pcs : cells x p.
    loadings : genes x p.

    Raises
    ------
    InputError
        There are fewer than 3 reference cells or genes.
    """
    rows = reference_rows(normalized.obs)
    most = most_components(int(rows.sum()), normalized.n_vars)
    reference = normalized.X[rows]
    scaling = fit_scaling(reference, max_value)
    p = min(n_pcs, most)
    _, loadings = truncated_svd(scale(reference, scaling), scaling.center, p, seed)
    return project_expression(normalized.X, scaling, loadings), loadings


def integrate(
    normalized: ad.AnnData,
    pcs: np.ndarray,
    loadings: np.ndarray,
    batch: BatchSettings,
    seed: int,
    threads: int,
) -> ad.AnnData:
    """corrected.h5ad: the PCs on their loadings, and corrected.

    Parameters
    ----------
    normalized, pcs, loadings : see `principal_components`.
    batch : settings of the correction.
    seed, threads : see `correct_batches`.

    Returns
    -------
    AnnData
        obs `sample`, `role`, `batch`; obsm `X_pcs`, `X_corrected`; varm `loadings`; uns
        `correction`.

    Raises
    ------
    InputError
        A batch key is no column of the cells.
    """
    corrected, notes = correct_batches(pcs, normalized.obs, batch, seed, threads)
    return ad.AnnData(
        obs=normalized.obs[["sample", "role", "batch"]],
        var=normalized.var[[]],
        obsm={"X_pcs": pcs, "X_corrected": corrected},
        varm={"loadings": loadings},
        uns={
            "correction": {
                "method": batch.method,
                "applied": bool((corrected != pcs).any()),
                "scope": batch.scope,
                "notes": np.array(notes, dtype=object),
            }
        },
    )


def corrected_components(
    normalized: ad.AnnData,
    saved: LatentSpace | None,
    batch: BatchSettings,
    max_value: float,
    seed: int,
    threads: int,
) -> ad.AnnData:
    """corrected.h5ad: principal components of all cells, corrected for batches.

    Parameters
    ----------
    normalized : see `principal_components`.
    saved : space of a saved prior on the genes of `normalized`, whose latents then are the PCs.
    batch : number of PCs, and settings of the correction.
    max_value, seed, threads : see `principal_components` and `correct_batches`.

    Returns
    -------
    AnnData
        See `integrate`.

    Raises
    ------
    InputError
        A batch key is no column of the cells (said before anything is computed), or there are too
        few reference cells or genes.
    """
    require_columns(batch.keys, normalized.obs, "the cells")
    if saved is None:
        pcs, loadings = principal_components(normalized, batch.n_pcs, max_value, seed)
    else:
        pcs, loadings = least_squares_latents(normalized.X, saved), saved.loadings
    return integrate(normalized, pcs, loadings, batch, seed, threads)


def fit_space(
    normalized: ad.AnnData,
    corrected: ad.AnnData,
    rows: np.ndarray,
    latent: LatentSettings,
    max_value: float,
    seed: int,
) -> LatentSpace:
    """Loadings of the corrected, centred and scaled expression of some cells.

    Parameters
    ----------
    normalized : see `principal_components`.
    corrected : see `integrate`.
    rows : mask of the cells.
    latent : number of dimensions.
    max_value : see `fit_scaling`.
    seed : see `truncated_svd`.

    Raises
    ------
    InputError
        There are fewer than 3 of these cells, or genes.
    """
    most = min(latent.max_k, most_components(int(rows.sum()), normalized.n_vars))
    scaling = fit_scaling(normalized.X[rows], max_value)
    scaled = scale(normalized.X[rows], scaling)
    shift = correction(corrected)[rows]
    values, loadings = truncated_svd(
        scaled, scaling.center, most, seed, shift, np.asarray(corrected.varm["loadings"])
    )
    k = choose_k(values) if latent.k is None else min(latent.k, most)
    if latent.k not in (None, k):
        logger.warning("latent.k is %d, but max_k, cells and genes allow %d", latent.k, k)
    genes = normalized.var_names.to_numpy(dtype=str)
    return LatentSpace(genes, loadings[:, :k], scaling, values, np.array([], dtype=str))


def correction(corrected: ad.AnnData) -> np.ndarray:
    """The correction of the PCs (cells x p), without moving the mean of what it corrected.

    With `within_role` each role was corrected by itself and keeps its own mean, so that a role
    of one batch is not moved; otherwise the reference keeps its mean.
    """
    shift = corrected.obsm["X_corrected"] - corrected.obsm["X_pcs"]
    if corrected.uns["correction"]["scope"] != "within_role":
        return shift - shift[reference_rows(corrected.obs)].mean(axis=0)
    for role in corrected.obs["role"].unique():
        rows = (corrected.obs["role"] == role).to_numpy()
        shift[rows] -= shift[rows].mean(axis=0)
    return shift


def compute_latents(
    normalized: ad.AnnData, corrected: ad.AnnData, space: LatentSpace, target_sum: float
) -> ad.AnnData:
    """Latents of all cells, with and without the batch correction, and the noise around them.

    Parameters
    ----------
    normalized : see `principal_components`; obs `total_counts` as well.
    corrected : see `integrate`.
    space : on the genes of `normalized`.
    target_sum : to which the expression was normalised.

    Returns
    -------
    AnnData
        obs `sample`, `role`, `batch`, `label`, `cell_key`; obsm `X_pca` and, corrected, `X_harmony`
        (cells x k, float32); uns `latent`: Gram matrix of the loadings, residual variances, noise
        of genes.
    """
    uncorrected = least_squares_latents(normalized.X, space)
    overlap = space.loadings.T @ np.asarray(corrected.varm["loadings"])
    moved = correction(corrected) @ np.linalg.solve(space.gram, overlap).T
    columns = [c for c in ("sample", "role", "batch", "label", "cell_key") if c in normalized.obs]
    summary = {
        "gram": space.gram,
        "orthonormal": space.orthonormal,
        "missing_genes": int(space.missing_genes.size),
    }
    for role in ("reference", "query"):
        rows = np.flatnonzero(normalized.obs["role"] == role)
        if len(rows) and space.orthonormal:
            summary[f"residual_variance_{role}"] = residual_variance(normalized.X, rows, space)
    fitted = reference_rows(normalized.obs)
    # Cells of log-normalised samples have no depth; likelihoods of counts are refused with them.
    depth = normalized.obs["total_counts"].fillna(target_sum).to_numpy()[fitted] / target_sum
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
