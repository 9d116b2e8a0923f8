"""load_counts: a sample's own files -> raw counts with role, batch and labels per cell."""

if __name__ == "__main__":
    from dice_atlas.counts.sample import load_sample
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        sample = load_sample(snakemake.params.row, snakemake.params.names)
        log.info("%s: %d cells x %d genes", snakemake.wildcards.sample, *sample.shape)
        with atomic_path(snakemake.output.counts) as path:
            sample.write_h5ad(path, compression="gzip", convert_strings_to_categoricals=False)
