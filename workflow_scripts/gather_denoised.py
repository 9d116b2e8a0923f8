"""gather_denoised: the shards' posteriors in the order of the atlas."""

import anndata as ad
from dice_atlas.dice.gather import gather
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        latents = ad.read_h5ad(snakemake.input.latents, backed="r")
        parts = [ad.read_h5ad(path) for path in snakemake.input.shards]
        denoised = gather(parts, latents.obs_names)
        log.info("%d cells", denoised.n_obs)
        write_h5ad(denoised, snakemake.output.denoised, compression="lzf")
