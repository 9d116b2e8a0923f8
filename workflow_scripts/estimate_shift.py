"""estimate_shift: how far each query sample lies apart from the reference."""

from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.tables import by_voter
from dice_atlas.transfer.scores import read_annotation
from dice_atlas.transfer.shift import shift_table

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        tables = by_voter(snakemake.input.calibration, read_annotation)
        write_table(shift_table(tables, snakemake.params.final), snakemake.output.shift)
