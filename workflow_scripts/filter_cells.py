"""filter_cells: QC metrics and doublet scores of one sample, and the cells that pass."""

import anndata as ad
import pandas as pd
from dice_atlas.counts.qc import QcSettings, assess_cells, filtered_sample, set_apart, summary_row
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        made, settings = snakemake.output, QcSettings.from_config(snakemake.params.qc)
        sample = set_apart(ad.read_h5ad(snakemake.input.counts), settings)
        cells, bands = assess_cells(sample, settings, snakemake.params.seed)
        row = summary_row(sample, cells, settings, bands)
        log.info("%s", row)
        log.info("%d of %d cells kept", row["cells_kept"], row["cells_in"])
        filtered = filtered_sample(sample, cells)
        write_h5ad(
            filtered, made.filtered, compression="gzip", convert_strings_to_categoricals=False
        )
        write_table(cells.drop(columns="predicted_doublet"), made.cells)
        write_table(pd.DataFrame([row]), made.summary)
