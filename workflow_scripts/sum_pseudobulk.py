"""sum_pseudobulk: raw counts of each replicate and cell type, by three weightings of a cell."""

from dice_atlas.conditions.pseudobulk import sum_pseudobulk
from dice_atlas.conditions.settings import Grouping
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, grouping = snakemake.input, Grouping.from_config(snakemake.params.compare)
        sums = sum_pseudobulk(given.atlas, given.samples, grouping)
        log.info("%d genes, %d replicates", sums.n_vars, sums.obs["unit"].nunique())
        write_h5ad(sums, snakemake.output.sums, compression="gzip")
