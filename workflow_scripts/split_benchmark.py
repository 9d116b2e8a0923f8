"""split_benchmark: reference and query of one seed, their latents and the reference's loadings."""

import anndata as ad
from dice_atlas.benchmark.split import Variant, gather, latents_of, split
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.latents import LatentSettings
from dice_atlas.features.normalize import Normalization
from dice_atlas.features.projection import save_space
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        seed, variant = int(snakemake.wildcards.seed), Variant.parse(snakemake.wildcards.variant)
        normalization = Normalization.from_config(params.settings["normalization"])
        batch = BatchSettings.from_config(params.settings["batch"])
        latent = LatentSettings.from_config(params.settings["latent"])
        cells = gather([ad.read_h5ad(path) for path in given.counts], params.min_genes)
        normalized = split(cells, variant, seed, params.n_top, normalization)
        latents, space = latents_of(normalized, variant, batch, latent, normalization, seed)
        query = latents[(latents.obs["role"] == "query").to_numpy()]
        log.info("%d cells (%d query), %d genes, k = %d, label %r", latents.n_obs, query.n_obs,
                 normalized.n_vars, space.k, normalized.uns["label"])  # fmt: skip
        save_space(space, made.loadings)
        write_h5ad(normalized, made.split, compression="lzf")
        write_h5ad(latents, made.latents, compression="lzf")
        write_h5ad(query, made.query, compression="lzf")
