"""train_prior: the prior of the reference's latents: a kernel, a trained one or a saved one."""

from pathlib import Path

import anndata as ad
from dice_atlas.dice.device import pick_device
from dice_atlas.dice.saved import copy_saved, save_trained
from dice_atlas.dice.training import PriorSettings, train
from dice_atlas.features.projection import load_space
from dice_atlas.files import sha256
from dice_atlas.logs import job_log

if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        given, params, made = snakemake.input, snakemake.params, snakemake.output
        space = load_space(given.loadings)
        if given.saved:
            copy_saved(list(given.saved), [made.prior, made.card, made.loss], space.k)
        else:
            device = pick_device(params.device, snakemake.threads)
            # Not an output: Snakemake removes the outputs of a failed job, a checkpoint must stay.
            checkpoint = Path(made.prior).parent / "checkpoint.pt"
            settings = PriorSettings.from_config(params.prior, params.noise)
            synthetic = ad.read_h5ad(given.synthetic[0]) if given.synthetic else None
            trained = train(ad.read_h5ad(given.latents), params.calibrated, settings, params.seed,
                            device, checkpoint, synthetic)  # fmt: skip
            about = {
                "latents_sha256": sha256(given.latents),
                "normalization": dict(params.normalization),
            }
            save_trained(trained, space, about, made.prior, made.loss)
            checkpoint.unlink(missing_ok=True)
