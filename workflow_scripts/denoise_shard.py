"""denoise_shard: DICE posterior of one shard of the cells."""

import anndata as ad
from dice_atlas.dice.device import pick_device
from dice_atlas.dice.posterior import denoise_shard
from dice_atlas.dice.saved import load_prior
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params = snakemake.input, snakemake.params
        shard, of = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        device = pick_device(params.device, snakemake.threads)
        prior, card = load_prior(given.prior, device)
        settings = DenoiseSettings.from_config(params.denoise)
        # Files that only a likelihood in gene space needs.
        expression = (given.normalized[0], given.loadings[0]) if given.normalized else None
        part = denoise_shard(
            ad.read_h5ad(given.latents), prior, settings, (shard, of), params.seed, device,
            expression, params.target_sum,
        )  # fmt: skip
        part.uns["dice"]["preset"] = card["preset"]
        write_h5ad(part, snakemake.output.shard)
