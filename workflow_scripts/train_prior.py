"""train_prior: the diffusion prior of the reference's latents, trained or a saved one."""

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from dice_atlas import __version__
from dice_atlas.cells import reference_rows, training_rows
from dice_atlas.dice.device import pick_device
from dice_atlas.dice.saved import load_prior, save_prior
from dice_atlas.dice.training import Trainer, preset_settings
from dice_atlas.errors import InputError
from dice_atlas.features.projection import load_saved_space, load_space
from dice_atlas.files import atomic_path, sha256, write_table
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin


def mixup_classes(
    latents: np.ndarray, labels: np.ndarray, augmentation: str, seed: int
) -> tuple[np.ndarray, str]:
    """Classes of the cells for the mixup, and what they are.

    `labels` falls back to clusters of the latents where there are none. Cells without a label
    are a class of their own only if all have none; else they join their nearest class.
    """
    if augmentation == "none":
        return np.zeros(len(latents), dtype=np.int64), "none"
    labelled = labels != ""
    if augmentation == "labels" and labelled.any():
        names, codes = np.unique(labels[labelled], return_inverse=True)
        centers = np.stack([latents[labelled][codes == c].mean(axis=0) for c in range(len(names))])
        classes = np.empty(len(latents), dtype=np.int64)
        classes[labelled] = codes
        if not labelled.all():
            classes[~labelled] = pairwise_distances_argmin(latents[~labelled], centers)
        return classes, "labels"
    n_clusters = int(np.clip(len(latents) // 50, 2, 20))
    clusters = KMeans(n_clusters, n_init=5, random_state=seed).fit_predict(latents)
    return clusters.astype(np.int64), "clusters"


def train(
    latents: ad.AnnData,
    rows: np.ndarray,
    prior: dict[str, Any],
    seed: int,
    device: str,
    checkpoint: Path,
) -> tuple[Trainer, str]:
    """Train on the latents of `rows`; returns the finished trainer and the mixup's classes."""
    data = np.asarray(latents.obsm["X_harmony"][rows], dtype=np.float32)
    if len(data) < 50:
        raise InputError(
            f"{len(data)} reference cells are left to train the prior on, expected at least 50; "
            "loosen the QC limits or add reference samples"
        )
    labels = latents.obs["label"].astype(str).to_numpy()[rows]
    classes, kind = mixup_classes(data, labels, prior["augmentation"], seed)
    settings = preset_settings(prior["preset"], len(data), prior["overrides"])
    trainer = Trainer(
        prior["preset"],
        settings,
        torch.from_numpy(data),
        torch.from_numpy(classes),
        kind != "none",
        seed,
        device,
    )
    trainer.run(checkpoint)
    return trainer, kind


def copy_saved(saved: list[str], outputs: list[str], k: int) -> None:
    """Take a saved prior over, after a look at whether it fits."""
    _, card = load_prior(saved[0], "cpu")
    if card["k"] != k:
        raise InputError(f"{saved[0]} has k = {card['k']}, the latents have {k}")
    load_saved_space(saved[0])
    for source, target in zip(saved, outputs, strict=True):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


if __name__ == "__main__":
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        files = snakemake.output
        outputs = [files.prior, files.card, files.loss]
        space = load_space(snakemake.input.loadings)
        if snakemake.input.saved:
            copy_saved(list(snakemake.input.saved), outputs, space.k)
        else:
            device = pick_device(snakemake.params.device, snakemake.threads)
            latents = ad.read_h5ad(snakemake.input.latents)
            # Not an output: Snakemake removes the outputs of a failed job, a checkpoint must stay.
            checkpoint = Path(files.prior).parent / "checkpoint.pt"
            rows = training_rows(latents.obs, snakemake.params.calibrated)
            held = int(reference_rows(latents.obs).sum() - rows.sum())
            log.info("%d cells to train on, %d held out to calibrate", rows.sum(), held)
            trainer, classes = train(
                latents, rows, snakemake.params.prior, snakemake.params.seed, device, checkpoint
            )
            card = {
                "dice_atlas": __version__,
                "torch": torch.__version__,
                "preset": snakemake.params.prior["preset"],
                "k": space.k,
                "settings": vars(trainer.settings),
                "augmentation": classes,
                "seed": snakemake.params.seed,
                "device": device,
                "precision": "bfloat16" if trainer.bfloat16 else "float32",
                "n_cells": int(rows.sum()),
                "n_held_out": held,
                "latents_sha256": sha256(snakemake.input.latents),
                "steps": trainer.step,
                "seconds": round(trainer.seconds, 1),
                "held_out_loss": trainer.best_loss,
                "normalization": dict(snakemake.params.normalization),
                "genes": space.genes.tolist(),
            }
            log.info("%s", json.dumps({k: v for k, v in card.items() if k != "genes"}))
            save_prior(trainer.best, space, card, files.prior)
            columns = ["step", "train_loss", "validation_loss"]
            write_table(pd.DataFrame(trainer.rows, columns=columns), files.loss)
            checkpoint.unlink(missing_ok=True)
