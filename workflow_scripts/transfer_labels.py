"""transfer_labels: labels of the query cells from the anchors, and what is said of each cell."""

import logging
from collections.abc import Mapping

import anndata as ad
import numpy as np
import pandas as pd
from dice_atlas.cells import require_same_cells
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.conformal import class_thresholds, prediction_sets
from dice_atlas.transfer.outside import reference_p_values
from dice_atlas.transfer.transfer import (
    SCORE,
    LabelScores,
    calls_table,
    predictions_table,
    transfer_labels,
)
from dice_atlas.transfer.weights import WeightSettings

logger = logging.getLogger("dice_atlas")


def anchors_of(table: pd.DataFrame, reference: pd.Index, query: pd.Index) -> Anchors:
    """Anchors by position, from the names of their cells."""
    return Anchors(
        reference.get_indexer(table["reference_cell"]),
        query.get_indexer(table["query_cell"]),
        table["score"].to_numpy(dtype=float),
    )


def transfer(anchors: pd.DataFrame, weights: ad.AnnData, annotate: Mapping) -> LabelScores:
    """Scores of the query cells (the order of `weights`)."""
    reference = weights.uns["reference_labels"]
    positions = anchors_of(anchors, pd.Index(reference["cells"].astype(str)), weights.obs_names)
    return transfer_labels(
        positions,
        np.asarray(weights.obsm["X_weight"], dtype=np.float64),
        reference["labels"].astype(str).tolist(),
        WeightSettings.from_config(annotate),
    )


def call(predictions: pd.DataFrame, calibration: pd.DataFrame, annotate: Mapping) -> pd.DataFrame:
    """Label or unassigned, second best, prediction set and entropy of every query cell.

    The sets come from the query's scores in the calibration's own transfer, where held-out cells
    and query cells were treated alike; labels and scores from the whole reference's.
    """
    columns = [name for name in predictions if name.startswith(SCORE)]
    labels = [name.removeprefix(SCORE) for name in columns]
    held = calibration[calibration["role"] == "reference"]
    n_held, outside_below = len(held), annotate["outside_below"]
    if n_held:
        asked = calibration[calibration["role"] == "query"]
        require_same_cells(asked["cell"], predictions["cell"], "calibration and predictions")
        p_values = reference_p_values(calibration)
    else:
        asked, p_values = predictions, np.full(len(predictions), np.nan)
    if 0 < outside_below <= 1 / (1 + n_held):
        logger.warning(
            "annotate.outside_below is %g, but with %d held-out reference cells p_reference is at "
            "least %.3g: no cell is unassigned by it", outside_below, n_held, 1 / (1 + n_held)
        )  # fmt: skip
    thresholds = class_thresholds(
        held["label"].astype(str), held[columns], labels, annotate["coverage"]
    )
    sets = prediction_sets(asked[columns], thresholds)
    return calls_table(predictions, sets, p_values, annotate["unassigned_below"], outside_below)


if __name__ == "__main__":
    from dice_atlas.files import write_table
    from dice_atlas.logs import job_log

    def read(path: str) -> pd.DataFrame:
        # Labels such as "01" are text.
        names = ("cell", "sample", "role", "label", "predicted", "reference_cell", "query_cell")
        return pd.read_csv(path, sep="\t", keep_default_na=False, dtype=dict.fromkeys(names, str))

    with job_log(snakemake.log[0]) as log:
        annotate = snakemake.params.annotate
        weights = ad.read_h5ad(snakemake.input.weights)
        result = transfer(read(snakemake.input.anchors), weights, annotate)
        predictions = predictions_table(weights.obs_names, result)
        calibration = read(snakemake.input.calibration)
        calls = call(predictions, calibration, annotate)
        log.info("%s", calls["cell_type"].value_counts().to_dict())
        write_table(predictions, snakemake.output.predictions)
        write_table(calls, snakemake.output.calls)
