"""fit_loadings: loadings of the corrected reference by SVD, and the latents of all cells."""

import anndata as ad
import numpy as np
from dice_atlas.features.latents import LatentSettings, compute_latents, fit_space
from dice_atlas.features.projection import load_saved_space, save_space
from dice_atlas.files import write_h5ad
from dice_atlas.holdout import training_rows
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        normalized, corrected = ad.read_h5ad(given.normalized), ad.read_h5ad(given.corrected)
        if given.prior:
            whole = load_saved_space(given.prior[0])
            space = whole.restricted_to(normalized.var_names)
            log.info("loadings of the saved prior; %d genes missing", space.missing_genes.size)
        else:
            rows = training_rows(normalized.obs, params.calibrated)
            settings = LatentSettings.from_config(params.latent)
            whole = space = fit_space(
                normalized, corrected, rows, settings, params.max_value, params.seed
            )
        latents = compute_latents(normalized, corrected, space, params.target_sum)
        log.info("%s", {k: v for k, v in latents.uns["latent"].items() if np.ndim(v) == 0})
        log.info("%d dimensions of %d genes", space.k, len(space.genes))
        save_space(whole, snakemake.output.loadings)
        write_h5ad(latents, snakemake.output.latents, compression="lzf")
