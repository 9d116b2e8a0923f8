"""vote_linear: labels of a linear model of the reference's expression, and their calibration."""

from dice_atlas.features.card import read_card
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.transfer.dataset import read_cells, read_expression, reference_features
from dice_atlas.transfer.linear import vote

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        expression = read_expression(
            given.samples, reference_features(given.samples, params.nfeatures)
        )
        listed = read_card(given.prior[0])["calibration"] if given.prior else None
        predictions, calibration = vote(expression, read_cells(given.samples), listed, params.seed)
        write_table(predictions, made.predictions)
        write_table(calibration, made.calibration)
