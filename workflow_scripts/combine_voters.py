"""combine_voters: the consensus of voters, and what each of them was worth on held-out cells."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import by_voter
from dice_atlas.transfer.consensus import combine
from dice_atlas.transfer.levels import Levels

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, made = snakemake.input, snakemake.output
        read = Levels.read(given.levels).read_scores
        predictions, calibration = (
            by_voter(paths, read) for paths in (given.predictions, given.calibration)
        )
        found = combine(predictions, calibration, snakemake.params.tables)
        for table, path in zip(
            found, (made.predictions, made.calibration, made.voters), strict=True
        ):
            write_table(table, path)
