"""normalize_log1p: log1p-normalised expression of the selected genes, all samples' cells."""

import pandas as pd
from dice_atlas.features.normalize import normalize_samples, selected_genes
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        genes = selected_genes(pd.read_csv(snakemake.input.genes, sep="\t", keep_default_na=False))
        normalized = normalize_samples(snakemake.input.samples, genes, snakemake.params.target_sum)
        log.info("%d cells x %d genes", *normalized.shape)
        write_h5ad(normalized, snakemake.output.normalized, compression="lzf")
