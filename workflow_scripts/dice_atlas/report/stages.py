"""Figures of the stages: singular values, training loss, choice of the resolution, markers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dice_atlas.report.data import ReportData
from dice_atlas.report.style import COLORS, styled


def fit_and_training(data: ReportData) -> Figure:
    """Singular values with k, the loss of the prior, the resolutions."""
    with styled():
        figure, (first, second, third) = plt.subplots(1, 3, figsize=(13, 3.4))
        values = data.singular_values
        first.plot(np.arange(1, len(values) + 1), values, "o-", ms=3, color=COLORS[0])
        first.axvline(data.k, color=COLORS[5], lw=1)
        first.text(data.k, values.max(), f" k = {data.k}", va="top")
        first.set_yscale("log")
        first.set_title("Singular values")
        first.set_xlabel("component")
        for column, label, color in (
            ("train_loss", "training", COLORS[4]),
            ("validation_loss", "held-out cells", COLORS[0]),
        ):
            second.plot(data.loss["step"], data.loss[column], "o-", ms=3, label=label, color=color)
        second.set_title("Loss of the prior")
        second.set_xlabel("step")
        second.legend()
        table = data.resolutions
        third.plot(table["resolution"], table["stability"], "o-", ms=4, label="stability (ARI)")
        third.plot(table["resolution"], table["silhouette"], "s-", ms=4, label="silhouette")
        chosen = table[table["chosen"].astype(str) == "True"].iloc[0]
        third.axvline(chosen["resolution"], color=COLORS[5], lw=1)
        for x, y, n in zip(
            table["resolution"], table["stability"], table["n_clusters"], strict=True
        ):
            third.annotate(f"{n}", (x, y), (0, 5), textcoords="offset points", fontsize=7)
        third.set_title(f"Resolution {chosen['resolution']:g}: {chosen['n_clusters']} clusters")
        third.set_xlabel("Leiden resolution (numbers: clusters)")
        third.legend()
        figure.tight_layout()
    return figure


def top_markers(markers: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first n markers of every cluster that are up in it."""
    up = markers[markers["log2_fold_change"] > 0]
    return up.sort_values("rank").groupby("cluster", sort=False).head(n)


def marker_dots(data: ReportData, n: int) -> Figure:
    """Top markers of every cluster: size is the share of its cells, colour the fold change."""
    top = top_markers(data.markers, n)
    genes = list(
        dict.fromkeys(top.sort_values(["cluster", "rank"], key=lambda s: s.astype(int))["gene"])
    )
    table = data.markers[data.markers["gene"].isin(genes)]
    clusters = [c for c in data.clusters if c in set(table["cluster"])]
    x = table["gene"].map({gene: i for i, gene in enumerate(genes)})
    y = table["cluster"].map({name: i for i, name in enumerate(clusters)})
    with styled():
        width = min(2.5 + 0.2 * len(genes), 16)
        figure, axes = plt.subplots(figsize=(width, 1.4 + 0.28 * len(clusters)))
        shown = axes.scatter(
            x, y, s=70 * table["share_in"].clip(0, 1), c=table["log2_fold_change"],
            cmap="viridis_r", vmin=0, vmax=10, linewidths=0.3, edgecolors="#7B8794",
        )  # fmt: skip
        axes.set_xticks(range(len(genes)), genes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(clusters)), clusters)
        axes.set_ylabel("cluster")
        axes.set_xlim(-0.7, len(genes) - 0.3)
        axes.set_ylim(len(clusters) - 0.4, -0.6)
        figure.colorbar(shown, ax=axes, label="log2 fold change", pad=0.01, extend="max")
    return figure
