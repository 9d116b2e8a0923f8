"""denoise_shard: DICE posterior of one shard of the cells."""

from collections.abc import Mapping
from typing import Any

import anndata as ad
import h5py
import numpy as np
import scipy.sparse as sp
import torch
from anndata.io import read_elem, sparse_dataset
from dice_atlas.dice.device import has_fast_bfloat16, pick_device
from dice_atlas.dice.gene_space import GeneSpace
from dice_atlas.dice.label_posterior import label_shares, subsample_per_label
from dice_atlas.dice.sampler import Sampler
from dice_atlas.dice.saved import load_prior
from dice_atlas.features.projection import load_space
from dice_atlas.files import atomic_path
from dice_atlas.logs import Progress, job_log

# Reference cells that the posterior samples are compared with at the most.
REFERENCE_AT_MOST = 20_000


def shard_rows(n: int, shard: int, of: int) -> np.ndarray:
    """Rows of shard 1..of: contiguous, sizes differing by one at the most."""
    return np.arange(n * (shard - 1) // of, n * shard // of)


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
    """Posterior mean, sd, trace of the covariance, residual and label shares of the given rows.

    The residual is the distance of a cell's latents from their posterior mean, in standard
    deviations of the noise: s times the length of the score of the density at noise level s
    (Tweedie). It grows with the distance from where the reference is.

    Parameters
    ----------
    samplers : by role of the cells.
    """
    device = next(iter(samplers.values())).device
    points = torch.from_numpy(np.asarray(latents.obsm["X_harmony"], dtype=np.float32))
    reference, codes, names = reference_labels(latents, seed, device)
    n, k = len(rows), points.shape[1]
    result = {"mean": np.zeros((n, k), np.float32), "sd": np.zeros((n, k), np.float32)}
    result |= {name: np.zeros(n, np.float32) for name in ("uncertainty", "residual")}
    if len(names):
        result |= {"shares": np.zeros((n, len(names)), np.float32), "labels": names}
    progress, done = Progress(n, "cell"), 0
    roles = latents.obs["role"].to_numpy()[rows]
    for role, sampler in samplers.items():
        own = np.flatnonzero(roles == role)
        if not len(own):
            continue
        for block in np.split(own, range(sampler.cells_at_once, len(own), sampler.cells_at_once)):
            cells = torch.from_numpy(rows[block])
            mean, samples, trace = sampler(points[cells].to(device), cells.to(device))
            result["mean"][block] = mean.cpu()
            result["sd"][block] = samples.std(dim=0).cpu()
            result["uncertainty"][block] = trace.cpu()
            # The other likelihoods have a noise of their own.
            unit = sampler.s if sampler.gaussian else 1.0
            result["residual"][block] = (points[cells] - mean.cpu()).norm(dim=1) / unit
            if len(names):
                shares = label_shares(samples, reference, codes, len(names))
                result["shares"][block] = shares.cpu()
            done += len(block)
            progress.update(done)
    return result


def as_anndata(latents: ad.AnnData, rows: np.ndarray, result: dict[str, np.ndarray]) -> ad.AnnData:
    """The shard's part of denoised.h5ad."""
    obs = latents.obs.iloc[rows].copy()
    for name in ("uncertainty", "residual"):
        obs[f"dice_{name}"] = result[name]
    part = ad.AnnData(obs=obs, obsm={"X_dice": result["mean"], "X_dice_sd": result["sd"]})
    if "shares" in result:
        part.obsm["label_posterior"] = result["shares"]
    return part


def gene_space(
    latents: ad.AnnData, rows: np.ndarray, files: Any, target_sum: float, device: str
) -> GeneSpace | None:
    """The rows' expression; None where the rule gives no file of it, as it is not needed."""
    if not files.normalized:
        return None
    with h5py.File(files.normalized[0], "r") as file:
        genes = read_elem(file["var"]).index
        totals = read_elem(file["obs"])["total_counts"].to_numpy()[rows]
        expression = sp.csr_matrix(sparse_dataset(file["X"])[rows[0] : rows[-1] + 1])
    shift = latents.obsm["X_harmony"][rows] - latents.obsm["X_pca"][rows]
    space = load_space(files.loadings[0]).restricted_to(genes)
    latent = latents.uns["latent"]
    return GeneSpace(expression, totals / target_sum, shift, rows[0], space, latent, device)


if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        given, params = snakemake.input, snakemake.params
        shard, of = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        device = pick_device(params.device, snakemake.threads)
        latents = ad.read_h5ad(given.latents)
        prior, card = load_prior(given.prior, device)
        rows = shard_rows(latents.n_obs, shard, of)
        genes = gene_space(latents, rows, given, params.target_sum, device) if len(rows) else None
        samplers = {
            role: Sampler(
                prior, params.denoise, latents.uns["latent"], role, params.seed, device, genes
            )
            for role in sorted(set(latents.obs["role"]))
        }
        any_of = next(iter(samplers.values()))
        for note in any_of.notes:
            log.warning(note)
        if any_of.bfloat16 and not has_fast_bfloat16(device):
            log.warning("no bfloat16 in this %s's hardware: float32 would be faster", device)
        log.info("%s, %d cells, %d samples each", any_of.method, len(rows), any_of.draws)
        result = denoise_rows(latents, rows, samplers, params.seed)
        part = as_anndata(latents, rows, result)
        part.uns["dice"] = {
            "method": any_of.method,
            "likelihood": params.denoise["likelihood"],
            "note": "; ".join(any_of.notes),
            "noise_variance": {r: s.noise_variance for r, s in samplers.items() if s.gaussian},
            "s": {r: s.s for r, s in samplers.items() if s.method == "exact"},
            "samples": any_of.draws,
            "iterations": {role: s.iterations for role, s in samplers.items()},
            "preset": card["preset"],
            "labels": np.asarray(result.get("labels", []), dtype=object),
        }
        with atomic_path(snakemake.output.shard) as path:
            part.write_h5ad(path)
