"""call_labels: label or unassigned, prediction set and more of each query cell, of one voter."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.transfer.calls import NO_ANCHOR, NO_LABEL, calls_sentence
from dice_atlas.transfer.level_calls import call_at_levels
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import read_annotation
from dice_atlas.transfer.settings import CallSettings

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, settings = snakemake.input, CallSettings.from_config(snakemake.params.annotate)
        predictions, calibration = map(read_annotation, (given.predictions, given.calibration))
        without = NO_LABEL if snakemake.params.is_table else NO_ANCHOR
        levels = Levels.read(given.levels)
        calls = call_at_levels(predictions, calibration, settings, levels, without)
        log.info(calls_sentence(calls))
        write_table(calls, snakemake.output.calls)
