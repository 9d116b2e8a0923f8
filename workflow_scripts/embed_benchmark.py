"""embed_benchmark: one of the methods that DICE is compared with, on the cells of one split."""

import anndata as ad
from dice_atlas.baselines.embed import embed
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        split, latents = ad.read_h5ad(snakemake.input.split), ad.read_h5ad(snakemake.input.latents)
        # The level of DICE's exact mode.
        settings = DenoiseSettings.from_config(snakemake.params.denoise)
        s = settings.level(latents.uns["latent"], "query")
        method, seed = snakemake.wildcards.method, int(snakemake.wildcards.seed)
        result = embed(method, split, latents, s, seed)
        log.info("%s: %d cells x %d", method, *result.obsm["X_embedding"].shape)
        write_h5ad(result, snakemake.output.embedding)
