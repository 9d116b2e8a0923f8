"""Labelled data sets with a quarter of each label held out, their latents and prior.

By the functions of the workflow's rules, for benchmarks that need no run of it.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.dice.posterior import denoise_shard
from dice_atlas.dice.priors import Prior
from dice_atlas.dice.saved import load_prior, save_trained
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.dice.training import PriorSettings, Trainer, train
from dice_atlas.features.loadings import choose_k
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.numerics.scaling import fit_scaling, log1p_normalize, scale
from dice_atlas.numerics.svd import truncated_svd

# Column of the labels; least number of genes of a cell.
SETS = {
    "zheng_facs_pbmc": ("cell_type_fine", 200),
    "pbmc3k": ("cell_type", 200),
    "kang_ctrl_8donors": ("cell_type", 50),
    "worm_neuron": ("cell_type", 100),
}
NO_LABEL = ("unlabelled", "nan", "")
MOST_GENES = 3000


def split(labels: np.ndarray, seed: int) -> np.ndarray:
    """Mask of the held-out quarter, by label."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: len(members) // 4]] = True
    return held


def read(path: Path, column: str, min_genes: int) -> ad.AnnData:
    """Labelled cells with enough genes."""
    data = ad.read_h5ad(path)
    data.obs["label"] = data.obs[column].astype(str)
    enough = np.diff(data.X.tocsr().indptr) >= min_genes
    return data[enough & ~data.obs["label"].isin(NO_LABEL).to_numpy()].copy()


def project(data: ad.AnnData, held: np.ndarray, seed: int) -> tuple[np.ndarray, LatentSpace]:
    """Latents of all cells, cells x k, and the loadings of those that are not held out."""
    expression, space = fit_space(data, held, seed)
    return least_squares_latents(expression, space).astype(np.float32), space


def fit_space(data: ad.AnnData, held: np.ndarray, seed: int) -> tuple[sp.csr_matrix, LatentSpace]:
    """Expression of all cells on the variable genes, and the space of those not held out."""
    counts = data.X.tocsr()
    chosen, _ = variable_genes(counts[~held], MOST_GENES)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    expression = log1p_normalize(counts[:, np.sort(chosen)], totals, 1e4)
    scaling = fit_scaling(expression[~held], 10)
    scaled = scale(expression[~held], scaling)
    values, loadings = truncated_svd(scaled, scaling.center, 50, seed)
    k = choose_k(values)
    none = np.array([], dtype=str)
    genes = data.var_names[np.sort(chosen)].to_numpy(dtype=str)
    return expression, LatentSpace(genes, loadings[:, :k], scaling, values, none)


def denoise(
    points: np.ndarray, cells: pd.DataFrame, space: LatentSpace, config: dict, seed: int
) -> ad.AnnData:
    """All cells denoised (denoised.h5ad); the parameters are those of `denoise_with`."""
    return denoise_with(points, cells, space, config, seed)[0]


def denoise_with(
    points: np.ndarray, cells: pd.DataFrame, space: LatentSpace, config: dict, seed: int
) -> tuple[ad.AnnData, Prior, ad.AnnData]:
    """All cells denoised (denoised.h5ad), the prior and latents.h5ad.

    By the functions of the workflow's rules.

    Parameters
    ----------
    points : cells x k, in `space`, which has all its genes.
    cells : `role` and `label`; their names stand for their keys, and those that calibrate are
        left out of the prior.
    config : whole.
    """
    cells = cells.assign(cell_key=cells.index)
    latent = {"gram": space.gram, "orthonormal": True, "missing_genes": 0}
    data = ad.AnnData(obs=cells, uns={"latent": latent})
    data.obsm["X_pca"] = data.obsm["X_harmony"] = points
    prior = PriorSettings.from_config(config["prior"], config["denoise"]["noise"])
    about = {"latents_sha256": "", "normalization": config["normalization"]}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "prior.safetensors"
        trained = train(data, True, prior, seed, "cpu", Path(folder) / "checkpoint.pt")
        save_trained(trained, space, about, file, Path(folder) / "loss.tsv")
        found, _ = load_prior(file, "cpu")
    settings = replace(DenoiseSettings.from_config(config["denoise"]), samples=2)
    return denoise_shard(data, found, settings, (1, 1), seed, "cpu", None, 1e4), found, data


def trained_prior(trainer: Trainer) -> Prior:
    """The prior of a trainer's best weights."""
    k, settings = trainer.latents.shape[1], trainer.settings
    objective = trainer.objective
    network = objective.restore(k, settings.width, settings.blocks, trainer.best)
    return objective.prior(network)
