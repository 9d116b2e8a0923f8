"""score_augment: rare classes found with synthetic cells, and with simpler remedies."""

from dice_atlas.dice.device import pick_device
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.scoring.augment import score_augment
from dice_atlas.synthesis.rare_classes import MODEL
from dice_atlas.synthesis.settings import AugmentSettings
from dice_atlas.synthesis.training_cells import read_training_cells

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params = snakemake.input, snakemake.params
        table = read_training_cells(given.samples, given.genes, MODEL)
        device = pick_device(params.device, snakemake.threads)
        settings = AugmentSettings.from_config(params.augment)
        scores = score_augment(table, settings, params.seed, device)
        write_table(scores, snakemake.output.scores)
