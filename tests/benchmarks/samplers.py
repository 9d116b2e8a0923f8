"""Cost and agreement of the samplers, and of the two presets' training, on simulated latents.

    python tests/benchmarks/samplers.py [--cells 4000] [--paper-steps 3000]

Latents of k = 25: twelve clusters of unequal size with low-rank variation within (`simulate`).
Every row is measured in this one run; ratios are what to read, seconds depend on the machine.
Writes docs/benchmarks/samplers.tsv.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.gibbs import gibbs_samples
from dice_atlas.dice.likelihoods import GaussianLikelihood
from dice_atlas.dice.noise import CellNoise
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.priors import DDPMPrior, DenoiserPrior, posterior_covariance
from dice_atlas.dice.sampler import ROWS_AT_ONCE
from dice_atlas.dice.schedule import first_needed_iteration, rho_schedule
from dice_atlas.dice.training import PriorSettings, Trainer
from held_out import trained_prior

OUT = Path(__file__).parents[2] / "docs" / "benchmarks"
K = 25
NOISE_VARIANCE, RHO_END = 1.0, 0.5
S = float(np.sqrt(NOISE_VARIANCE + RHO_END**2))
ROWS: list[dict] = []


def simulate(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, k) with falling spread by dimension, and their clusters."""
    rng = np.random.default_rng(seed)
    scale = 12.0 / np.arange(1, K + 1) ** 0.7
    centers = rng.standard_normal((12, K)) * scale
    cluster = rng.choice(12, n, p=rng.dirichlet(np.full(12, 3.0)))
    directions = rng.standard_normal((12, 3, K)) * scale / 3
    within = np.einsum("nj,njk->nk", rng.standard_normal((n, 3)), directions[cluster])
    return (centers[cluster] + within).astype(np.float32), cluster


def record(what: str, value: float, unit: str, note: str = "") -> None:
    """Keep and print one measurement."""
    ROWS.append({"what": what, "value": value, "unit": unit, "note": note})
    print(f"{what:58} {value:12.4g} {unit}  {note}", flush=True)


def timed(function, *arguments):
    """Result and seconds of one call."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def trainer_of(preset: str, points: np.ndarray, cluster: np.ndarray, **overrides) -> Trainer:
    """A trainer with mixup within the clusters."""
    settings = PriorSettings(preset, overrides=overrides).training(len(points))
    classes = torch.from_numpy(cluster.astype(np.int64))
    objective, latents = OBJECTIVES[preset], torch.from_numpy(points)
    return Trainer(objective, settings, latents, classes, True, 0, "cpu")


def training(points: np.ndarray, cluster: np.ndarray, paper_steps: int):
    """Both presets; the fast one's time until it is as good as the paper's at its end."""
    fast, fit_seconds = timed(trainer_of, "fast", points, cluster)
    _, seconds = timed(fast.run)
    record("fit of the mixture that the fast preset starts from", fit_seconds, "s",
           f"loss {fast.rows[0][2]:.4f}")  # fmt: skip
    record("training, fast preset", seconds, "s", f"{fast.step} steps, loss {fast.best_loss:.4f}")
    # The paper's sizes take days here: D = 128, M = 4, as in the prototype's comparison.
    paper = trainer_of(
        "paper", points, cluster, width=128, blocks=4, steps=paper_steps, batch_size=1024
    )
    _, paper_seconds = timed(paper.run)
    note = f"D=128 M=4, {paper.step} steps x 1,024, loss {paper.best_loss:.4f}"
    record("training, paper's network", paper_seconds, "s", note)
    # Until its best weights: what comes after is no merit of the fast one.
    best = next(step for step, _, loss in paper.rows if loss == paper.best_loss)
    paper_seconds *= best / paper.step
    reached = [step for step, _, loss in fast.rows if loss <= paper.best_loss]
    if reached:
        share = fit_seconds + seconds * reached[0] / fast.step
        record("  fast preset reaches that loss after", share, "s", f"step {reached[0]}")
        note = f"to the paper's network at its best, step {best}"
        record("  ratio of the training times", paper_seconds / share, "x", note)
    return trained_prior(fast), trained_prior(paper)


class Counter:
    """Counts the evaluations (cells x calls) of a prior's network."""

    def __init__(self, prior) -> None:
        self.count = 0
        module = prior.network if isinstance(prior, DDPMPrior) else prior.denoiser
        call = module.forward if isinstance(prior, DDPMPrior) else module

        def counted(u, *rest):
            self.count += len(u)
            return call(u, *rest)

        if isinstance(prior, DDPMPrior):
            module.forward = counted
        else:
            prior.denoiser = counted


def gibbs_against_exact(name: str, prior, x: torch.Tensor, iterations: int, repeats: int) -> None:
    """Split Gibbs and exact mode on the same prior and cells."""
    cells, counter = torch.arange(len(x)), Counter(prior)
    annealed = rho_schedule(5.0, RHO_END, iterations)
    schedules = {
        "Gibbs, annealed": annealed,
        "Gibbs, annealed, forgotten iterations skipped": annealed[
            first_needed_iteration(annealed, NOISE_VARIANCE) :
        ],
        # The influence of the start falls by 1 / (1 + rho^2 / noise variance) = 0.8 a time.
        "Gibbs, constant rho": np.full(40, RHO_END),
    }
    likelihood = GaussianLikelihood(x, torch.eye(K))
    runs = {}
    for what, rho in schedules.items():
        counter.count = 0
        runs[what] = timed(gibbs_samples, prior, likelihood, cells, rho, repeats, 0)
        note = f"{len(x)} cells, {len(rho)} iterations x {repeats}"
        record(f"{name}: {what}: evaluations per cell", counter.count / len(x), "")
        record(f"{name}: {what}: time", runs[what][1], "s", note)
        if what == "Gibbs, annealed":
            evaluations = counter.count
    counter.count = 0
    mean, seconds = timed(prior.mean, x, S)
    mean = mean.detach()
    record(f"{name}: exact mean: evaluations per cell", counter.count / len(x), "")
    record(f"{name}: exact mean: time", seconds, "s")
    record(f"{name}: evaluations, Gibbs annealed / exact", evaluations / counter.count, "x")
    record(f"{name}: time, Gibbs annealed / exact", runs["Gibbs, annealed"][1] / seconds, "x")
    spread = x.std(dim=0).square().sum().sqrt()
    for what, (samples, _) in runs.items():
        apart = (samples.mean(dim=0) - mean).square().sum(dim=1).mean().sqrt()
        expected = (samples.var(dim=0).sum(dim=1).mean() / repeats).sqrt()
        note = f"Monte-Carlo error {float(expected):.2f}, spread of the cells {float(spread):.1f}"
        record(f"{name}: {what}: distance of its mean from the exact one", float(apart), "", note)


def calibration(prior: DenoiserPrior, clean: np.ndarray) -> None:
    """Squared error of the posterior mean on held-out cells against what the posterior says."""
    truth = torch.from_numpy(clean)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    x = truth + S * noise
    error = (prior.mean(x, S).detach() - truth).square().sum(dim=1).mean()
    record("squared error of the raw latents, held-out cells", K * S**2, "", "k s^2")
    record("squared error of the posterior mean, held-out cells", float(error), "")
    trace = posterior_covariance(prior, x, S).diagonal(dim1=1, dim2=2).sum(dim=1)
    record("trace of the posterior covariance, by the Jacobian", float(trace.mean()), "")
    variance = samples_of(prior, x).var(dim=0).sum(dim=1).mean()
    record("trace of the posterior covariance, of 32 samples", float(variance), "",
           "the network's own error is not in either trace")  # fmt: skip


def short_against_long_chain(prior: DenoiserPrior, x: torch.Tensor) -> None:
    """Chains of several lengths against one of 200 steps, over many draws of a few cells."""
    n, draws = 20, 500
    cells = torch.arange(n).repeat(draws)
    draw = torch.arange(draws).repeat_interleave(n)
    moments = {}
    for density in (3.0, prior.steps_per_fold, 9.0, 75.0):
        chain = DenoiserPrior(prior.denoiser, prior.levels, density)
        steps = len(chain.chain(S)) - 1
        with torch.inference_mode():
            samples = chain.sample(x[:n].repeat(draws, 1), S, CellNoise(steps, cells, draw, K))
        samples = samples.view(draws, n, K)
        moments[steps] = samples.mean(dim=0), samples.var(dim=0).sum(dim=1)
    *shorter, longest = moments
    error = float((moments[longest][1].mean() / draws).sqrt())
    for steps in shorter:
        name = f"chain of {steps} against {longest} steps"
        name += ", the default" if steps == len(prior.chain(S)) - 1 else ""
        apart = (moments[steps][0] - moments[longest][0]).square().sum(dim=1).mean().sqrt()
        ratio = float((moments[steps][1] / moments[longest][1]).median())
        record(f"{name}: RMS distance of the means", float(apart), "",
               f"Monte-Carlo error {error * 2**0.5:.3f}")  # fmt: skip
        record(f"{name}: ratio of the variances", ratio, "", "median")


def samples_of(prior: DenoiserPrior, x: torch.Tensor, bfloat16: bool = False) -> torch.Tensor:
    """32 posterior samples (32, n, k), in blocks as in a shard."""
    blocks = torch.arange(len(x)).split(ROWS_AT_ONCE["cpu"] // 32)
    parts = [exact_posterior(prior, x[c], c, S, 32, 0, bfloat16)[1] for c in blocks]
    return torch.cat(parts, dim=1)


def throughput(prior: DenoiserPrior, x: torch.Tensor) -> None:
    """Cells per second of the mean and of 32 samples, after a warm-up."""
    with torch.inference_mode():
        blocks = x.split(ROWS_AT_ONCE["cpu"])
        prior.mean(x, S)
        _, seconds = timed(lambda: [prior.mean(part, S) for part in blocks * 5])
    record("posterior mean", 5 * len(x) / seconds, "cells/s", f"{torch.get_num_threads()} threads")
    some = x[:2000]

    exact, seconds = timed(samples_of, prior, some)
    record("32 posterior samples", len(some) / seconds, "cells/s")
    low, seconds = timed(samples_of, prior, some, True)
    apart = (low.float() - exact).square().mean().sqrt() / exact.std(dim=0).square().mean().sqrt()
    record("32 posterior samples, denoise.precision bfloat16", len(some) / seconds, "cells/s",
           f"a sample moves by {float(apart):.3f} of its posterior standard deviation")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--paper-steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    points, cluster = simulate(options.cells + 4000, 0)
    prior, paper = training(points[: options.cells], cluster[: options.cells], options.paper_steps)
    noise = np.random.default_rng(1).standard_normal((4000, K)).astype(np.float32)
    x = torch.from_numpy(points[options.cells :] + noise)
    throughput(prior, x)
    short_against_long_chain(prior, x)
    calibration(prior, points[options.cells :][:2000])
    gibbs_against_exact("fast prior", prior, x[:30], 100, 10)
    gibbs_against_exact("paper's prior", paper, x[:20], 100, 3)
    OUT.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(ROWS).to_csv(OUT / "samplers.tsv", sep="\t", index=False, float_format="%.5g")
