"""augment_reference: synthetic cells for the rare classes of the reference, and their latents."""

from pathlib import Path

import anndata as ad
import pandas as pd
from dice_atlas.dice.device import pick_device
from dice_atlas.features.card import read_card
from dice_atlas.features.projection import load_space
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log
from dice_atlas.synthesis.rare_classes import augment_reference, latents_of
from dice_atlas.synthesis.settings import AugmentSettings

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        listed = read_card(given.prior[0])["calibration"] if given.prior else None
        checkpoint = Path(made.cells).with_name("checkpoint")
        cells, classes = augment_reference(
            given.samples, given.genes, AugmentSettings.from_config(params.augment), listed,
            params.seed, pick_device(params.device, snakemake.threads), checkpoint,
        )  # fmt: skip
        write_h5ad(cells, made.cells, convert_strings_to_categoricals=False)
        genes = pd.read_csv(given.genes, sep="\t", keep_default_na=False)
        normalized, latents = latents_of(
            made.cells, genes, params.target_sum, load_space(given.loadings),
            ad.read_h5ad(given.latents),
        )  # fmt: skip
        write_h5ad(normalized, made.normalized)
        write_h5ad(latents, made.latents)
        write_table(classes, made.classes)
