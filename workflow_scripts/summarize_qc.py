"""summarize_qc: one table of all samples' QC."""

from dice_atlas.counts.qc import join_summaries
from dice_atlas.files import write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        table = join_summaries(snakemake.input.summaries)
        kept, seen = (table[name].astype(int).sum() for name in ("cells_kept", "cells_in"))
        log.info("%d samples, %d of %d cells kept", len(table), kept, seen)
        write_table(table, snakemake.output.table)
