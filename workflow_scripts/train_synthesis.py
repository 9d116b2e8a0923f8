"""train_synthesis: a generator of cells, trained on the reference's counts or a saved one."""

from pathlib import Path

from dice_atlas.dice.device import pick_device
from dice_atlas.files import write_table
from dice_atlas.logs import job_log
from dice_atlas.synthesis.saved import copy_generator, forget_results, save_generator
from dice_atlas.synthesis.settings import ModelSettings
from dice_atlas.synthesis.training import train_generator
from dice_atlas.synthesis.training_cells import read_training_cells

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        settings = ModelSettings.from_config(params.model)
        if given.saved:
            copy_generator(list(given.saved), [made.model, made.card, made.loss], settings)
        else:
            device = pick_device(params.device, snakemake.threads)
            table = read_training_cells(
                given.samples, given.genes, settings, given.clusters or None
            )
            training, held_out = table.split(params.test_share)
            # Not an output: Snakemake removes the outputs of a failed job, a checkpoint must stay.
            checkpoint = Path(made.model).with_name("checkpoint")
            model = train_generator(training, settings, params.seed, device, checkpoint)
            save_generator(model, training, held_out, settings, params.seed, made.model)
            write_table(model.losses, made.loss)
        # Not before: a training that fails loses nothing.
        forget_results(Path(made.model).parent)
