"""vote_table: labels of another tool for the query, and those of held-out reference cells."""

from dice_atlas.features.card import read_card
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.transfer.dataset import read_cells
from dice_atlas.transfer.levels import Levels
from dice_atlas.transfer.tables import read_voter_table, rows_of_cells, vote

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, made, params = snakemake.input, snakemake.output, snakemake.params
        setting = f"annotate.tables.{snakemake.wildcards.table}"
        table, cells = read_voter_table(given.table, setting), read_cells(given.samples)
        rows = rows_of_cells(table, cells, params.suffixes, given.table)
        listed = read_card(given.prior[0])["calibration"] if given.prior else None
        levels = Levels.read(given.levels)
        predictions, calibration = vote(table, rows, cells, levels, setting, listed)
        write_table(predictions, made.predictions)
        write_table(calibration, made.calibration)
