"""Genes that a query lacks: the closed form and Gibbs against the run with all genes.

    python tests/benchmarks/missing_genes.py DATA [--sets ...] [--cells 200]

DATA is a folder of labelled raw counts (`held_out.SETS`). Priors are fitted on three quarters of
the cells. Of the others some are denoised with all genes, and without a share of them drawn at
random. Each method is compared with its own run with all genes: the closed form on the kernel,
Gibbs on the mixture that the preset fast starts from. Writes docs/benchmarks/missing_genes.tsv.
"""

import argparse
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import torch
from dice_atlas.dice.coordinates import in_coordinates, within_type_matrix
from dice_atlas.dice.kernel import KernelSettings, kernel_of
from dice_atlas.dice.mixup import mixup_classes
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.priors import KernelPrior, Prior
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.settings import DenoiseSettings, RhoSettings
from dice_atlas.dice.training import PriorSettings, Trainer
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.metrics.knn_accuracy import knn_accuracy
from held_out import SETS, fit_space, read, split, trained_prior

OUT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "missing_genes.tsv"
SHARES = (0.0, 0.1, 0.3, 0.5)
SETTINGS = {
    "closed form": DenoiseSettings("exact", "gaussian", 1.0, 20, "float32"),
    "Gibbs": DenoiseSettings(
        "gibbs", "gaussian", 1.0, 20, "float32", RhoSettings(5.0, 0.5), 100, repeats=10
    ),
}


def cells_of(points: np.ndarray, space: LatentSpace) -> ad.AnnData:
    """latents.h5ad, as far as the sampler reads it."""
    latent = {
        "gram": space.gram,
        "orthonormal": space.orthonormal,
        "missing_genes": len(space.missing_genes),
    }
    obs = pd.DataFrame(index=[f"c{i}" for i in range(len(points))])
    return ad.AnnData(obs=obs, obsm={"X_pca": points, "X_harmony": points}, uns={"latent": latent})


def priors_of(points: torch.Tensor, classes: np.ndarray, seed: int) -> dict[str, Prior]:
    """The kernel, for the closed form; the mixture that the preset fast starts from, for Gibbs."""
    codes, numbers = torch.from_numpy(classes), np.arange(len(points))
    kernel = kernel_of(points, codes, numbers, KernelSettings(), True, seed)
    fast = PriorSettings("fast", overrides={"steps": 0}, background=0.1).training(len(points))
    trainer = Trainer(OBJECTIVES["fast"], fast, points, codes, True, seed, "cpu")
    trainer.run()
    return {"closed form": KernelPrior(kernel), "Gibbs": trained_prior(trainer)}


def rows_of(folder: Path, name: str, n_cells: int, seed: int) -> list[dict]:
    """Rows of one data set."""
    rng = np.random.default_rng(seed)
    data = read(folder / name / f"{name}.h5ad", *SETS[name])
    labels = data.obs["label"].to_numpy(dtype=str)
    held = split(labels, seed)
    expression, space = fit_space(data, held, seed)
    known = labels[~held]
    reference = least_squares_latents(expression[~held], space).astype(np.float32)
    query = np.sort(rng.permutation(np.flatnonzero(held))[:n_cells])
    classes, _ = mixup_classes(reference, known, "labels", seed)
    matrix = within_type_matrix(reference, classes)
    points = torch.from_numpy((reference @ matrix).astype(np.float32))
    rows = []
    for method, prior in priors_of(points, classes, seed).items():
        prior.coordinates = matrix
        level = SETTINGS[method].level({}, "reference")
        denoised = prior.mean(points, level).detach().numpy()
        complete, rng = np.empty(0), np.random.default_rng(seed)
        for share in SHARES:
            kept = np.sort(rng.permutation(len(space.genes))[round(share * len(space.genes)) :])
            part = space.restricted_to(pd.Index(space.genes[kept]))
            observed = least_squares_latents(expression[query][:, kept], part)
            cells = in_coordinates(cells_of(observed, part), matrix)
            latents = torch.from_numpy(np.asarray(cells.obsm["X_harmony"]))
            # With all genes every prior has its closed form.
            settings = SETTINGS["closed form"] if share == 0 else SETTINGS[method]
            sampler = Sampler(prior, settings, cells.uns["latent"], "query", seed, "cpu")
            start = time.process_time()
            blocks = torch.arange(len(query)).split(sampler.cells_at_once)
            means = [sampler(latents[block], block)[0].detach() for block in blocks]
            mean = torch.cat(means).numpy()
            seconds = time.process_time() - start
            complete = mean if share == 0 else complete
            found = knn_accuracy(denoised, known, mean, labels[query])["knn_accuracy"].value
            error = float(np.sqrt(((mean - complete) ** 2).sum(axis=1).mean()))
            rows.append(
                {"set": name, "method": method, "missing": share, "seconds": seconds,
                 "rms_to_complete": error, "knn_accuracy": found}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row for name in given.sets for row in rows_of(given.data, name, given.cells, given.seed)
    ]
    pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
