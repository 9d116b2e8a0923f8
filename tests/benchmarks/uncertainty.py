"""The paper's Figure 2 (two points) and Figure A.2 (rho sweep), on the mixture of Table 1.

    python tests/benchmarks/uncertainty.py [--seeds 3]

Two points: cells on the line from one cluster's centre to the other's; the share of their posterior
samples that fall to the second cluster, by the trained network and by the exact mixture posterior.
Sweep: gain in silhouette and cLISI over PCA as rho grows. Writes docs/benchmarks/uncertainty.png
and docs/benchmarks/rho_sweep.tsv.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from dice_atlas.dice.exact import exact_posterior
from dice_atlas.dice.label_posterior import LabelShares
from dice_atlas.scoring.groups import label_scores
from table1 import MEANS, OUT, QUERY, REFERENCE, VARIANCES, K, bayes_mean, latents, train

DRAWS = 500


def exact_share(u: np.ndarray, s: float) -> np.ndarray:
    """Posterior probability of the second component under the true mixture."""
    log = [
        -((u - mean) ** 2).sum(axis=1) / (2 * (v + s**2)) - K / 2 * np.log(v + s**2)
        for mean, v in zip(MEANS, VARIANCES, strict=True)
    ]
    return 1 / (1 + np.exp(log[0] - log[1]))


def two_points(prior, reference: torch.Tensor, codes: torch.Tensor, s: float) -> pd.DataFrame:
    """Share of posterior samples in the second cluster along the line between the centres."""
    place = np.linspace(-0.25, 1.25, 13)
    points = np.repeat(place[:, None], K, axis=1).astype(np.float32)
    cells = torch.arange(len(place))
    _, samples = exact_posterior(prior, torch.from_numpy(points), cells, s, DRAWS, 0)
    shares = LabelShares(reference, codes, 2)(samples)[:, 1].numpy()
    return pd.DataFrame({"place": place, "dice": shares, "exact": exact_share(points, s), "s": s})


def sweep(prior, origin: np.ndarray, rng: np.random.Generator, seed: int) -> list[dict]:
    """Scores of the exact posterior mean at rising noise levels, against PCA and Bayes.

    The silhouette is by angles: embeddings are seen from the reference's mean, as everywhere.
    """
    component = rng.integers(0, 2, QUERY)
    u = latents(component, rng, False)
    labels, rows = component.astype(str), []
    base = label_scores(u - origin, labels)
    for s in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 13.0):
        with torch.inference_mode():
            mean = prior.mean(torch.from_numpy(u.astype(np.float32)), s).numpy()
        for method, embedding in (("DICE exact", mean), ("Bayes", bayes_mean(u, s))):
            scores = label_scores(embedding - origin, labels)
            gains = {n: scores[n].value - base[n].value for n in ("silhouette", "clisi")}
            rows.append({"seed": seed, "rho": s, "method": method, **gains})
    return rows


def draw(points: pd.DataFrame, rows: pd.DataFrame, path: Path) -> None:
    """Both figures, side by side."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for (s, part), color in zip(points.groupby("s"), ("#1f77b4", "#d95f02"), strict=True):
        axes[0].plot(part["place"], part["exact"], color=color, label=f"exact posterior, s = {s:g}")
        axes[0].plot(part["place"], part["dice"], "o", color=color, label="DICE's samples")
    axes[0].set(xlabel="place between the cluster centres (0, 1)",
                ylabel="posterior share of the second cluster")  # fmt: skip
    axes[0].legend(fontsize=8)
    for axis, name in zip(axes[1:], ("silhouette", "clisi"), strict=True):
        for method, part in rows.groupby("method"):
            mean, sd = (part.groupby("rho")[name].agg(which) for which in ("mean", "std"))
            axis.errorbar(mean.index, mean, sd.fillna(0), marker="o", ms=4, capsize=2, label=method)
        axis.set(xscale="log", xlabel="rho (noise negligible)", ylabel=f"{name}, gain over PCA")
        axis.axhline(0, color="grey", lw=0.8)
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    rows = []
    for seed in range(parser.parse_args().seeds):
        rng = np.random.default_rng(seed)
        component = rng.integers(0, 2, REFERENCE)
        reference = latents(component, rng, False)
        prior = train("fast", reference, seed, {})
        if seed == 0:
            cells, codes = (
                torch.from_numpy(reference.astype(np.float32)),
                torch.from_numpy(component),
            )
            points = pd.concat([two_points(prior, cells, codes, s) for s in (0.5, 2.0)])
            print(points.round(3).to_string(index=False))
        rows += sweep(prior, reference.mean(axis=0), rng, seed)
    rows = pd.DataFrame(rows)
    print(rows.groupby(["rho", "method"])[["silhouette", "clisi"]].mean().round(3).to_string())
    draw(points, rows, OUT / "uncertainty.png")
    rows.to_csv(OUT / "rho_sweep.tsv", sep="\t", index=False, float_format="%.5g")
