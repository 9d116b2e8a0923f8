"""filter_cells: QC metrics and doublet scores of one sample, and the cells that pass."""

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.counts.doublets import score_doublets
from dice_atlas.counts.qc import Limits, cell_metrics, removal_reasons, require_cells


def assess_cells(
    sample: ad.AnnData, settings: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, Limits]:
    """Every cell's metrics, doublet score, and whether and why it is removed.

    Parameters
    ----------
    sample : raw counts of `load_counts`.
    settings : `min_genes`, `max_mito_percent`, `mito_pattern`, `n_mads`, `doublets`.
    seed : of the doublet scores.

    Returns
    -------
    cells : `cell`, `n_genes`, `total_counts`, `percent_mito`, `doublet_score`,
        `predicted_doublet`, `kept`, `reason`, in the order of the sample.
    limits : those that were used.
    """
    name = str(sample.obs["sample"].iloc[0])
    keys = ("min_genes", "max_mito_percent", "mito_pattern", "n_mads")
    limits = Limits(**{key: settings[key] for key in keys})
    cells = cell_metrics(sample.X, sample.var_names, limits.mito_pattern, name)
    cells.insert(0, "cell", sample.obs_names.to_numpy(object))
    reasons, limits = removal_reasons(cells, limits)
    require_cells(cells, reasons, limits, name)
    passed = np.flatnonzero(reasons == "")
    cells["doublet_score"], cells["predicted_doublet"] = np.nan, False
    if settings["doublets"] != "off":
        scores, predicted = score_doublets(sample[passed], seed, name)
        cells.loc[passed, "doublet_score"] = scores
        cells.loc[passed, "predicted_doublet"] = predicted
        if settings["doublets"] == "remove":
            reasons[passed[predicted]] = "doublet"
            require_cells(cells, reasons, limits, name)
    cells["kept"], cells["reason"] = reasons == "", reasons
    return cells, limits


if __name__ == "__main__":
    from dice_atlas.counts.qc import filtered_sample, summary_row
    from dice_atlas.counts.qc_figure import draw_qc
    from dice_atlas.files import atomic_path, write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        sample = ad.read_h5ad(snakemake.input.counts)
        settings = snakemake.params.qc
        cells, limits = assess_cells(sample, settings, snakemake.params.seed)
        row = summary_row(sample, cells, limits, settings["doublets"])
        log.info("%s", row)
        figure = draw_qc(cells, limits, row["sample"])
        filtered = filtered_sample(sample, cells)
        with atomic_path(snakemake.output.filtered) as path:
            filtered.write_h5ad(path, compression="gzip", convert_strings_to_categoricals=False)
        write_table(cells.drop(columns="predicted_doublet"), snakemake.output.cells)
        write_table(pd.DataFrame([row]), snakemake.output.summary)
        with atomic_path(snakemake.output.figure) as path:
            # No software version in the file, or equal figures would differ.
            figure.savefig(path, metadata={"Software": None})
