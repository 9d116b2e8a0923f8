"""The posterior of all cells, shard by shard: means, spread, label shares."""

import logging
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import numpy as np
import torch

from dice_atlas.dice.coordinates import in_coordinates, space_in_coordinates
from dice_atlas.dice.device import has_fast_bfloat16
from dice_atlas.dice.gene_space import GeneSpace
from dice_atlas.dice.label_posterior import LabelShares
from dice_atlas.dice.priors import Prior
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.settings import REFERENCE_AT_MOST, DenoiseSettings
from dice_atlas.features.projection import load_space
from dice_atlas.holdout import cell_numbers
from dice_atlas.logs import Progress
from dice_atlas.numerics.blocks import read_rows
from dice_atlas.numerics.shards import shard_rows
from dice_atlas.numerics.sketch import subsample_per_label
from dice_atlas.tables import read_part

logger = logging.getLogger(__name__)


# Numbers of a cell, beside its positions.
OF_CELL = ("uncertainty", "residual", "background")


def reference_labels(
    latents: ad.AnnData, seed: int, device: str
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Latents and label codes of labelled reference cells, and the labels; empty if none."""
    labels = latents.obs["label"].astype(str).to_numpy()
    rows = np.flatnonzero((labels != "") & (latents.obs["role"] == "reference").to_numpy())
    rows = rows[subsample_per_label(labels[rows], REFERENCE_AT_MOST, seed)]
    names, codes = np.unique(labels[rows], return_inverse=True)
    points = torch.from_numpy(np.asarray(latents.obsm["X_harmony"][rows], dtype=np.float32))
    return points.to(device), torch.from_numpy(codes.astype(np.int64)).to(device), names


def denoise_rows(
    latents: ad.AnnData, rows: np.ndarray, samplers: Mapping[str, Sampler], seed: int
) -> dict[str, np.ndarray]:
    """Posterior of the given rows.

    The residual is the distance of a cell's latents from their posterior mean, in standard
    deviations of the noise: s times the length of the score of the density at noise level s
    (Tweedie). It grows with the distance from where the reference is.

    Parameters
    ----------
    latents : latents.h5ad, all cells.
    rows : positions (n,) of the cells, int64.
    samplers : by role of the cells.
    seed : of the choice of reference cells that samples are compared with.

    Returns
    -------
    `mean` and `sd` (n, k), `uncertainty` (trace of the covariance), `residual` and `background`
    (n,), all float32; where the reference has labels, `shares` (n, labels) and their names,
    `labels`.
    """
    device = next(iter(samplers.values())).device
    points = torch.from_numpy(np.asarray(latents.obsm["X_harmony"], dtype=np.float32))
    reference, codes, names = reference_labels(latents, seed, device)
    n, k = len(rows), points.shape[1]
    result: dict[str, np.ndarray] = {name: np.zeros((n, k), np.float32) for name in ("mean", "sd")}
    result |= {name: np.zeros(n, np.float32) for name in OF_CELL}
    if len(names):
        result |= {"shares": np.zeros((n, len(names)), np.float32), "labels": names}
        shares_of = LabelShares(reference, codes, len(names))
    progress, done = Progress(n, "cell"), 0
    roles = latents.obs["role"].to_numpy()[rows]
    for role, sampler in samplers.items():
        own = np.flatnonzero(roles == role)
        if not len(own):
            continue
        for block in np.split(own, range(sampler.cells_at_once, len(own), sampler.cells_at_once)):
            cells = torch.from_numpy(rows[block])
            own_points = points[cells].to(device)
            found = sampler(own_points, cells.to(device))
            result["mean"][block] = found.mean.cpu()
            result["sd"][block] = found.samples.std(dim=0).cpu()
            result["uncertainty"][block] = found.variance.cpu()
            result["background"][block] = found.background.cpu()
            result["residual"][block] = found.residual.cpu()
            if len(names):
                result["shares"][block] = shares_of(found.samples).cpu()
            done += len(block)
            progress.update(done)
    return result


def as_anndata(latents: ad.AnnData, rows: np.ndarray, result: dict[str, np.ndarray]) -> ad.AnnData:
    """The shard's part of denoised.h5ad."""
    obs = latents.obs.iloc[rows].copy()
    for name in OF_CELL:
        obs[f"dice_{name}"] = result[name]
    part = ad.AnnData(obs=obs, obsm={"X_dice": result["mean"], "X_dice_sd": result["sd"]})
    if "shares" in result:
        part.obsm["label_posterior"] = result["shares"]
    return part


def gene_space(
    latents: ad.AnnData,
    rows: np.ndarray,
    files: tuple[str | Path, str | Path],
    target_sum: float,
    device: str,
    coordinates: np.ndarray | None = None,
) -> GeneSpace:
    """Expression of neighbouring rows.

    Parameters
    ----------
    latents : latents.h5ad, all cells, in the coordinates of the prior.
    rows : positions of the cells, each after the one before.
    files : normalized.h5ad and loadings.npz.
    target_sum : the total that cells were normalised to.
    coordinates : of the prior, see `coordinates.py`.
    """
    normalized, loadings = files
    genes = read_part(normalized, "var").index
    totals = read_part(normalized, "obs")["total_counts"].to_numpy()[rows]
    expression = read_rows(normalized, slice(rows[0], rows[-1] + 1))
    shift = latents.obsm["X_harmony"][rows] - latents.obsm["X_pca"][rows]
    space = space_in_coordinates(load_space(loadings).restricted_to(genes), coordinates)
    latent = latents.uns["latent"]
    return GeneSpace(expression, totals / target_sum, shift, rows[0], space, latent, device)


def denoise_shard(
    latents: ad.AnnData,
    prior: Prior,
    settings: DenoiseSettings,
    shard: tuple[int, int],
    seed: int,
    device: str,
    expression: tuple[str | Path, str | Path] | None,
    target_sum: float,
) -> ad.AnnData:
    """The part of denoised.h5ad that one shard of the cells makes up.

    Parameters
    ----------
    latents : latents.h5ad, all cells.
    prior, settings : of the posterior.
    shard : number of the shard, from 1, and how many there are.
    seed, device : of the draws.
    expression : normalized.h5ad and loadings.npz, for a likelihood in gene space.
    target_sum : the total that cells were normalised to.

    Raises
    ------
    InputError
        The noise variance is not defined, or the prior does not know the posterior's noise level.
    """
    latents = in_coordinates(latents, prior.coordinates)
    rows, latent = shard_rows(latents.n_obs, *shard), latents.uns["latent"]
    genes = None
    if expression and len(rows):
        genes = gene_space(latents, rows, expression, target_sum, device, prior.coordinates)
    numbers = torch.from_numpy(cell_numbers(latents.obs)).to(device)
    samplers = {
        role: Sampler(prior, settings, latent, role, seed, device, genes, numbers)
        # No cells: none are asked for, but the part says how they would have been denoised.
        for role in sorted(set(latents.obs["role"])) or ["reference"]
    }
    first = next(iter(samplers.values()))
    for note in first.notes:
        logger.warning(note)
    if first.bfloat16 and not has_fast_bfloat16(device):
        logger.warning("no bfloat16 in this %s's hardware: float32 would be faster", device)
    logger.info("%s, %d cells, %d samples each", first.method, len(rows), first.draws)
    result = denoise_rows(latents, rows, samplers, seed)
    logger.info("%d cells denoised", len(rows))
    part = as_anndata(latents, rows, result)
    part.uns["dice"] = {
        "method": first.method,
        "likelihood": settings.likelihood,
        "note": "; ".join(first.notes),
        "noise_variance": {r: s.noise_variance for r, s in samplers.items() if s.gaussian},
        "s": {r: s.s for r, s in samplers.items() if s.method == "exact"},
        "samples": first.draws,
        "iterations": {role: s.iterations for role, s in samplers.items()},
        "labels": np.asarray(result.get("labels", []), dtype=object),
        "noise": "isotropic" if prior.coordinates is None else "within_type",
    }
    if prior.coordinates is not None:
        part.uns["dice_coordinates"] = prior.coordinates
    return part
