"""correct_batches: principal components of all cells, corrected for batches."""

import anndata as ad
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.latents import corrected_components
from dice_atlas.features.projection import load_saved_space
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params = snakemake.input, snakemake.params
        normalized, batch = ad.read_h5ad(given.normalized), BatchSettings.from_config(params.batch)
        saved = None
        if given.prior:
            saved = load_saved_space(given.prior[0]).restricted_to(normalized.var_names)
        result = corrected_components(
            normalized, saved, batch, params.max_value, params.seed, snakemake.threads
        )
        write_h5ad(result, snakemake.output.corrected, compression="lzf")
