"""explain_labels: the genes behind each label, and how the clusters agree with the labels."""

import anndata as ad
from dice_atlas.features.projection import load_space
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import read_by_voter, read_text_table
from dice_atlas.transfer.explain import explain
from dice_atlas.transfer.levels import Levels

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given = snakemake.input
        genes, agreement = explain(
            ad.read_h5ad(given.denoised),
            load_space(given.loadings),
            read_by_voter(given.calls),
            read_text_table(given.clusters),
            Levels.read(given.levels),
        )
        log.info("genes of %d labels, labels of the clusters", genes["label"].nunique())
        write_table(genes, snakemake.output.genes)
        write_table(agreement, snakemake.output.clusters)
