"""load_counts: a sample's own files -> raw counts with role, batch and labels per cell."""

from dice_atlas.counts.sample import load_sample
from dice_atlas.files import write_h5ad
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        made, sample = snakemake.output, load_sample(snakemake.params.row, snakemake.params.names)
        log.info("%d cells x %d genes", *sample.shape)
        write_h5ad(sample, made.counts, compression="gzip", convert_strings_to_categoricals=False)
