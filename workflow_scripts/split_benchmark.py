"""split_benchmark: reference and query of one seed, their latents and the reference's loadings."""

from typing import Any

import anndata as ad
import numpy as np
from dice_atlas.benchmark.split import Variant, gather, split
from dice_atlas.cells import reference_rows
from dice_atlas.features.projection import LatentSpace
from fit_loadings import compute_latents, fit_space
from integrate_harmony import integrate, principal_components


def latents_of(
    normalized: ad.AnnData, variant: Variant, settings: dict[str, Any], seed: int
) -> tuple[ad.AnnData, LatentSpace]:
    """latents.h5ad and the space, by the workflow's own steps.

    Parameters
    ----------
    settings : sections `batch`, `latent` and `normalization` of the config.
    """
    normalization, latent = settings["normalization"], dict(settings["latent"])
    scope = variant.value if variant.kind == "scope" else "none"
    if variant.kind == "k":
        latent |= {"k": int(variant.value), "max_k": max(int(variant.value), latent["max_k"])}
    # The split's cells have no other column of batches.
    batch = settings["batch"] | {"scope": scope, "keys": ["batch"]}
    n_pcs, max_value = batch["n_pcs"], normalization["max_value"]
    pcs, loadings = principal_components(normalized, n_pcs, max_value, seed)
    harmony = integrate(normalized, pcs, loadings, batch, seed, threads=1)
    rows = reference_rows(normalized.obs)
    space = fit_space(normalized, harmony, rows, latent, max_value, seed)
    return compute_latents(normalized, harmony, space, normalization["target_sum"]), space


if __name__ == "__main__":
    from dice_atlas.features.projection import save_space
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        seed, variant = int(snakemake.wildcards.seed), Variant.parse(snakemake.wildcards.variant)
        cells = gather([ad.read_h5ad(path) for path in given.counts], params.min_genes)
        normalized = split(cells, variant, seed, params.n_top, params.settings["normalization"])
        latents, space = latents_of(normalized, variant, params.settings, seed)
        query = (latents.obs["role"] == "query").to_numpy()
        log.info(
            "%d reference and %d query cells, %d genes, k = %d, label %r",
            np.sum(~query), np.sum(query), normalized.n_vars, space.k, normalized.uns["label"],
        )  # fmt: skip
        save_space(space, made.loadings)
        for data, path in ((normalized, made.split), (latents, made.latents),
                           (latents[query], made.query)):  # fmt: skip
            with atomic_path(path) as temporary:
                data.write_h5ad(temporary, compression="lzf")
