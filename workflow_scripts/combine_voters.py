"""combine_voters: the consensus of voters, and what each of them was worth on held-out cells."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import by_voter
from dice_atlas.transfer.calls import read_annotation
from dice_atlas.transfer.consensus import combine

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, made = snakemake.input, snakemake.output
        predictions = by_voter(given.predictions, read_annotation)
        found = combine(predictions, by_voter(given.calibration, read_annotation))
        for table, path in zip(
            found, (made.predictions, made.calibration, made.voters), strict=True
        ):
            write_table(table, path)
