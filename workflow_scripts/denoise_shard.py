"""denoise_shard: DICE posterior of one shard of the cells."""

import logging
from typing import Any

import anndata as ad
import numpy as np
import torch
from dice_atlas.dice.device import pick_device
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.label_posterior import label_shares, subsample_per_label
from dice_atlas.dice.priors import Prior
from dice_atlas.dice.saved import load_prior
from dice_atlas.dice.schedule import first_needed_iteration, rho_schedule
from dice_atlas.errors import InputError
from dice_atlas.files import atomic_path
from dice_atlas.logs import Progress, job_log

logger = logging.getLogger("dice_atlas")

# Rows (cells x draws) that go through the network at once: bounds the memory.
ROWS_AT_ONCE = 20_000
# Reference cells that the posterior samples are compared with at the most.
REFERENCE_AT_MOST = 20_000


def shard_rows(n: int, shard: int, of: int) -> np.ndarray:
    """Rows of shard 1..of: contiguous, sizes differing by one at the most."""
    return np.arange(n * (shard - 1) // of, n * shard // of)


def noise_level(noise_variance: float | str, latent: dict[str, Any]) -> float:
    """The noise variance per scaled gene: as given, or the residual outside the loadings."""
    if noise_variance != "auto":
        return float(noise_variance)
    for role in ("query", "reference"):
        if f"residual_variance_{role}" in latent:
            return float(latent[f"residual_variance_{role}"])
    raise InputError(
        "denoise.noise_variance is auto, but genes of the reference are missing from the query, "
        "so that the residual is not defined; give a number (1.0 is the paper's)"
    )


class Sampler:
    """Posterior mean and samples of any cells by the configured method."""

    def __init__(
        self, prior: Prior, denoise: dict[str, Any], latent: dict[str, Any], seed: int, device: str
    ) -> None:
        self.prior, self.denoise, self.seed, self.device = prior, denoise, seed, device
        self.noise_variance = noise_level(denoise["noise_variance"], latent)
        self.gram = torch.as_tensor(np.asarray(latent["gram"]), dtype=torch.float32, device=device)
        self.method = denoise["method"]
        self.note = ""
        if self.method == "exact" and not latent["orthonormal"]:
            self.method = "gibbs"
            self.note = (
                f"{latent['missing_genes']} genes of the reference are missing, the loadings are "
                "not orthonormal: Gibbs in place of exact mode"
            )
        rho = denoise["rho"]
        self.rho = rho_schedule(rho["start"], rho["end"], denoise["iterations"])
        if latent["orthonormal"]:
            self.rho = self.rho[first_needed_iteration(self.rho, self.noise_variance) :]
        self.s = float(np.sqrt(self.noise_variance + rho["end"] ** 2))
        self.keep_to_levels(*prior.levels)

    def keep_to_levels(self, low: float, high: float) -> None:
        """Refuse a posterior at a noise level that the prior does not know; limit rho to it."""
        if self.method == "exact" and not low <= self.s <= high:
            raise InputError(
                f"denoise.noise_variance {self.noise_variance:g} and rho.end "
                f"{self.denoise['rho']['end']:g} ask for the posterior at noise level "
                f"{self.s:.3g}; the prior knows the levels {low:.3g} to {high:.3g}"
            )
        limited = np.clip(self.rho, low, high)
        if self.method == "gibbs" and (limited != self.rho).any():
            logger.warning("rho is limited to the prior's noise levels, %.3g to %.3g", low, high)
        self.rho = limited

    @property
    def draws(self) -> int:
        """Samples per cell."""
        return self.denoise["samples" if self.method == "exact" else "repeats"]

    def __call__(
        self, latents: torch.Tensor, cells: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior mean (n, k) and samples (draws, n, k)."""
        if self.method == "exact":
            return exact_posterior(self.prior, latents, cells, self.s, self.draws, self.seed)
        samples = gibbs_samples(
            self.prior,
            latents,
            cells,
            self.gram,
            self.noise_variance,
            self.rho,
            self.draws,
            self.seed,
        )
        return samples.mean(dim=0), samples


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
    latents: ad.AnnData, rows: np.ndarray, sampler: Sampler, seed: int
) -> dict[str, np.ndarray]:
    """Posterior mean, sd, trace of the covariance and label shares of the given rows."""
    device = sampler.device
    points = torch.from_numpy(np.asarray(latents.obsm["X_harmony"], dtype=np.float32))
    reference, codes, names = reference_labels(latents, seed, device)
    parts: dict[str, list[torch.Tensor]] = {"mean": [], "sd": [], "shares": []}
    progress = Progress(len(rows), "cell")
    size = max(1, ROWS_AT_ONCE // sampler.draws)
    for first in range(0, len(rows), size):
        block = torch.from_numpy(rows[first : first + size])
        mean, samples = sampler(points[block].to(device), block.to(device))
        parts["mean"].append(mean.cpu())
        parts["sd"].append(samples.std(dim=0).cpu())
        if len(names):
            parts["shares"].append(label_shares(samples, reference, codes, len(names)).cpu())
        progress.update(min(first + size, len(rows)))
    empty = torch.zeros(0, points.shape[1])
    result = {n: torch.cat([empty, *p]).numpy() for n, p in parts.items() if n != "shares"}
    result["uncertainty"] = (result["sd"] ** 2).sum(axis=1)
    if len(names):
        result["shares"] = torch.cat([torch.zeros(0, len(names)), *parts["shares"]]).numpy()
        result["labels"] = names
    return result


def as_anndata(latents: ad.AnnData, rows: np.ndarray, result: dict[str, np.ndarray]) -> ad.AnnData:
    """The shard's part of denoised.h5ad."""
    obs = latents.obs.iloc[rows].copy()
    obs["dice_uncertainty"] = result["uncertainty"]
    part = ad.AnnData(obs=obs, obsm={"X_dice": result["mean"], "X_dice_sd": result["sd"]})
    if "shares" in result:
        part.obsm["label_posterior"] = result["shares"]
    return part


if __name__ == "__main__":
    with job_log(snakemake.log[0]) as log:
        shard, of = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        device = pick_device(snakemake.params.device, snakemake.threads)
        latents = ad.read_h5ad(snakemake.input.latents)
        prior, card = load_prior(snakemake.input.prior, device)
        latent = latents.uns["latent"]
        seed = snakemake.params.seed
        sampler = Sampler(prior, snakemake.params.denoise, latent, seed, device)
        if sampler.note:
            log.warning(sampler.note)
        rows = shard_rows(latents.n_obs, shard, of)
        log.info("%s, %d cells, %d samples each", sampler.method, len(rows), sampler.draws)
        result = denoise_rows(latents, rows, sampler, seed)
        part = as_anndata(latents, rows, result)
        part.uns["dice"] = {
            "method": sampler.method,
            "note": sampler.note,
            "noise_variance": sampler.noise_variance,
            "s": sampler.s,
            "samples": sampler.draws,
            "preset": card["preset"],
            "labels": np.asarray(result.get("labels", []), dtype=object),
        }
        with atomic_path(snakemake.output.shard) as path:
            part.write_h5ad(path)
