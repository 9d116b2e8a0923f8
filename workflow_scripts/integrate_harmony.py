"""integrate_harmony: principal components of all cells and their Harmony correction."""

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.cells import reference_rows
from dice_atlas.errors import InputError
from dice_atlas.features.harmony import correct_batches
from dice_atlas.features.loadings import truncated_svd
from dice_atlas.features.scaling import fit_scaling, project, scale


def check_batch_keys(keys: list[str], cells: pd.DataFrame) -> None:
    missing = [key for key in keys if key not in cells]
    if missing:
        raise InputError(
            f"batch.keys: {', '.join(missing)} is no column of the cells; there are "
            f"{', '.join(map(str, cells.columns))} (add it to the sample sheet)"
        )


def principal_components(
    normalized: ad.AnnData, n_pcs: int, max_value: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """PCs (cells x p) on the reference's loadings (genes x p)."""
    rows = reference_rows(normalized.obs)
    scaling = fit_scaling(normalized.X[rows], max_value)
    scaled = scale(normalized.X, scaling)
    p = min(n_pcs, min(scaled[rows].shape) - 1)
    _, loadings = truncated_svd(scaled[rows], scaling.center, p, seed)
    return project(scaled, scaling.center, loadings), loadings


def integrate(
    normalized: ad.AnnData,
    pcs: np.ndarray,
    loadings: np.ndarray,
    batch: dict[str, Any],
    seed: int,
    threads: int,
) -> ad.AnnData:
    """harmony.h5ad: the PCs (cells x p) on their loadings (genes x p), and corrected."""
    corrected, notes = correct_batches(pcs, normalized.obs, batch, seed, threads)
    return ad.AnnData(
        obs=normalized.obs[["sample", "role", "batch"]],
        var=normalized.var[[]],
        obsm={"X_pcs": pcs, "X_corrected": corrected},
        varm={"loadings": loadings},
        uns={
            "harmony": {
                "applied": bool((corrected != pcs).any()),
                "scope": batch["scope"],
                "notes": np.array(notes, dtype=object),
            }
        },
    )


if __name__ == "__main__":
    from dice_atlas.features.projection import least_squares_latents, load_saved_space
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        normalized = ad.read_h5ad(snakemake.input.normalized)
        batch, seed = snakemake.params.batch, snakemake.params.seed
        check_batch_keys(batch["keys"], normalized.obs)
        if snakemake.input.prior:
            saved = load_saved_space(snakemake.input.prior[0]).restricted_to(normalized.var_names)
            pcs, loadings = least_squares_latents(normalized.X, saved), saved.loadings
        else:
            pcs, loadings = principal_components(
                normalized, batch["n_pcs"], snakemake.params.max_value, seed
            )
        result = integrate(normalized, pcs, loadings, batch, seed, snakemake.threads)
        with atomic_path(snakemake.output.harmony) as path:
            result.write_h5ad(path, compression="lzf")
