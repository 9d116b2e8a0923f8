"""compare_conditions: genes and shares of each cell type between conditions, and what holds."""

import anndata as ad
from dice_atlas.conditions.results import compare_conditions
from dice_atlas.conditions.settings import CompareSettings
from dice_atlas.files import write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        made, settings = snakemake.output, CompareSettings.from_config(snakemake.params.compare)
        sums = ad.read_h5ad(snakemake.input.sums)
        results = compare_conditions(sums, settings, snakemake.threads)
        log.info("\n%s", results.types.to_string(index=False))
        write_table(results.genes, made.genes)
        write_table(results.composition, made.composition)
        write_table(results.types, made.types)
        differ = [table["finding"].sum() for table in (results.genes, results.composition)]
        log.info("%d genes and %d shares of types differ", *differ)
