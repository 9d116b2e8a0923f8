"""score_synthesis: how much synthetic cells resemble real ones that the generator has not seen."""

from dice_atlas.dice.device import pick_device
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.logs import job_log
from dice_atlas.scoring.fidelity import score_generator
from dice_atlas.synthesis.saved import load_generator, split_of
from dice_atlas.synthesis.settings import ModelSettings
from dice_atlas.synthesis.training_cells import read_training_cells

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        generator = load_generator(given.model, pick_device(params.device, snakemake.threads))
        settings = ModelSettings.from_config(params.model)
        table = read_training_cells(given.samples, given.genes, settings, given.clusters or None)
        fidelity = score_generator(
            generator, *split_of(table, generator.card), params.seed,
            params.guidance, params.steps,
        )  # fmt: skip
        write_table(fidelity.table, made.table)
        write_table(fidelity.by_class, made.by_class)
        write_table(fidelity.memorization, made.memorization)
        write_h5ad(fidelity.cells, made.cells, compression="gzip")
