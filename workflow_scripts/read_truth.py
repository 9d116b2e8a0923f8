"""read_truth: true labels of the samples that have them, checked before the long work begins."""

import pandas as pd
from dice_atlas.counts.labels import read_truth
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import read_part

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        obs = pd.concat([read_part(path, "obs") for path in snakemake.input.counts])
        table = read_truth(snakemake.params.truth, obs)
        log.info("%d of %d cells have a truth", len(table), len(obs))
        write_table(table, snakemake.output.truth)
