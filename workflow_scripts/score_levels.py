"""score_levels: coverage, accuracy and share of labelled cells at each level of the labels."""

import pandas as pd
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.scoring.levels import level_table
from dice_atlas.tables import read_text_table
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.scores import read_annotation
from dice_atlas.transfer.settings import CallSettings

if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, settings = snakemake.input, CallSettings.from_config(snakemake.params.annotate)
        levels = Levels.read(given.levels)
        calls, calibration = read_text_table(given.calls[0]), read_annotation(given.calibration[0])
        truth = pd.concat([read_text_table(path) for path in given.truth] or [pd.DataFrame()])
        table = level_table(calls, calibration, truth, settings, levels)
        log.info("\n%s", table.to_string(index=False))
        write_table(table, snakemake.output.levels)
