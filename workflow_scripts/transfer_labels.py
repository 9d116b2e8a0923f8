"""transfer_labels: labels of the query cells from the anchors, and what is said of each cell."""

import anndata as ad
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.transfer.calls import calls_sentence, transfer
from dice_atlas.transfer.labels import predictions_table
from dice_atlas.transfer.level_calls import call_at_levels
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import read_annotation
from dice_atlas.transfer.settings import CallSettings, WeightSettings

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, annotate = snakemake.input, snakemake.params.annotate
        weights, weighing = ad.read_h5ad(given.weights), WeightSettings.from_config(annotate)
        result = transfer(read_annotation(given.anchors), weights, weighing)
        predictions = predictions_table(weights.obs_names, result)
        calibration = read_annotation(given.calibration)
        settings, levels = CallSettings.from_config(annotate), Levels.read(given.levels)
        calls = call_at_levels(predictions, calibration, settings, levels)
        log.info(calls_sentence(calls))
        write_table(predictions, snakemake.output.predictions)
        write_table(calls, snakemake.output.calls)
