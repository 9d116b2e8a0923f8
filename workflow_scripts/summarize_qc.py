"""summarize_qc: one table of all samples' QC."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def join_summaries(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The samples' rows in the order of the sheet, fields as they were written."""
    tables = [pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in paths]
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        table = join_summaries(snakemake.input.summaries)
        kept, seen = (table[name].astype(int).sum() for name in ("cells_kept", "cells_in"))
        log.info("%d samples, %d of %d cells kept", len(table), kept, seen)
        write_table(table, snakemake.output.table)
