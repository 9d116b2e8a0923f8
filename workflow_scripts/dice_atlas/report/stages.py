"""Figures of the stages: singular values, training loss, choice of the resolution, markers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from dice_atlas.names import UNASSIGNED
from dice_atlas.plots.style import (
    BLUE,
    FULL_WIDTH,
    LIGHT_BLUE,
    LINE,
    ORANGE,
    SOFT,
    log_x,
    styled,
)
from dice_atlas.report.data import ReportData, top_markers
from dice_atlas.report.maps import counted

# Genes and groups that a dot plot can name legibly.
MOST_GENES = 62
MOST_GROUPS = 60
DOT = 90


def draw_singular_values(axes: Axes, values: np.ndarray, k: int) -> None:
    """Singular values of the loadings, k as a line."""
    axes.plot(np.arange(1, len(values) + 1), values, "o-", ms=3, lw=1.2, color=BLUE)
    axes.axvline(k, color=ORANGE, lw=1.2, ls="--")
    axes.text(k, values.max(), f" k = {k}", va="top", color=ORANGE)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_title("Singular values")
    axes.set_xlabel("component")


def draw_loss(axes: Axes, loss: pd.DataFrame) -> None:
    """Losses of the prior by step (loss.tsv), the weights kept as a line."""
    axes.set_title("Loss of the prior")
    for column, label, color in (
        ("train_loss", "training", LIGHT_BLUE),
        ("validation_loss", "held-out cells", BLUE),
    ):
        axes.plot(loss["step"], loss[column], "o-", ms=3, lw=1.2, label=label, color=color)
    best = loss["validation_loss"].idxmin() if loss["validation_loss"].notna().any() else None
    if best is not None:
        axes.axvline(loss["step"][best], color=ORANGE, lw=1.2, ls="--", label="weights kept")
    axes.set_xlabel("step")
    axes.set_ylim(0, None)
    axes.legend()


def draw_resolutions(axes: Axes, table: pd.DataFrame) -> None:
    """Stability, silhouette and agreement with the reference by resolution; the chosen one a line.

    Parameters
    ----------
    table : resolutions.tsv.
    """
    axes.plot(table["resolution"], table["stability"], "o-", ms=4, color=BLUE, label="stability")
    axes.plot(
        table["resolution"], table["silhouette"], "s-", ms=4, color=LIGHT_BLUE, label="silhouette"
    )
    shown = ["stability", "silhouette"]
    if table["reference_ari"].notna().any():
        shown.append("reference_ari")
        axes.plot(
            table["resolution"], table["reference_ari"], "^-", ms=4, color=SOFT,
            label="agreement with reference",
        )  # fmt: skip
    chosen = table[table["chosen"] == "True"].iloc[0]
    axes.axvline(chosen["resolution"], color=ORANGE, lw=1.2, ls="--")
    for x, y, n in zip(table["resolution"], table["stability"], table["n_clusters"], strict=True):
        axes.annotate(
            f"{int(n)}", (x, y), (3, 5), textcoords="offset points", fontsize=8.5,
            color=SOFT,
        )  # fmt: skip
    n = int(chosen["n_clusters"])
    axes.set_title(f"Resolution {chosen['resolution']:g}: {n} cluster{'s' if n != 1 else ''}")
    log_x(axes)
    axes.set_xlabel("Leiden resolution, log scale (numbers: clusters)")
    axes.set_ylim(min(0.0, np.nanmin(table[shown], initial=0)), 1.12)
    axes.legend(loc="lower left")


def fit_and_training(data: ReportData) -> Figure:
    """Singular values with k, and the loss of the prior where it was trained."""
    trained = len(data.loss) > 1
    with styled():
        width = FULL_WIDTH * (2 if trained else 1) / 3
        figure, axes = plt.subplots(1, 1 + trained, figsize=(width, 3.5), squeeze=False)
        draw_singular_values(axes[0, 0], data.singular_values, data.k)
        if trained:
            draw_loss(axes[0, 1], data.loss)
    return figure


def resolutions(data: ReportData) -> Figure:
    """How the clusters of each resolution were judged, and the chosen one."""
    with styled():
        figure, axes = plt.subplots(figsize=(FULL_WIDTH / 2, 3.5))
        draw_resolutions(axes, data.resolutions)
    return figure


def dot_genes(data: ReportData, n: int) -> tuple[list[str], int]:
    """Genes of the dot plot by cluster, and how many of each cluster: fewer where many clusters."""
    fewer = max(1, min(n, MOST_GENES // max(len(data.clusters), 1)))
    top = top_markers(data.markers, fewer)
    top = top[top["gene"].isin(data.expression["gene"])]
    order = top.sort_values(["cluster", "rank"], key=lambda values: values.astype(int))
    return list(dict.fromkeys(order["gene"]))[:MOST_GENES], fewer


def cluster_names(data: ReportData) -> dict[str, str]:
    """Clusters with their most frequent cell type."""
    if not data.labels:
        return {cluster: cluster for cluster in data.clusters}
    most = data.obs.groupby("cluster")["cell_type"].agg(lambda s: s.value_counts().index[0])
    return {cluster: f"{cluster}  {most[cluster]}" for cluster in data.clusters}


def marker_dots(data: ReportData, n: int) -> Figure:
    """Top markers in every cluster."""
    genes, _ = dot_genes(data, n)
    return dots(data.expression, "cluster", cluster_names(data), genes)


def type_dot_genes(data: ReportData, n: int) -> tuple[list[str], int]:
    """Genes of the dot plot by cell type in the order of the types, and how many of each."""
    order = {label: i for i, label in enumerate(data.labels)}
    table = data.type_genes[data.type_genes["gene"].isin(data.type_expression["gene"])]
    if len(table) and (table["label"] == "").all():
        return dot_genes(data, n)
    table = table[table["label"].isin(order)]
    fewer = max(1, min(n, MOST_GENES // max(table["label"].nunique(), 1)))
    first = table.groupby("label", sort=False).head(fewer)
    first = first.sort_values("label", kind="stable", key=lambda labels: labels.map(order))
    return list(dict.fromkeys(first["gene"]))[:MOST_GENES], fewer


def type_dots(data: ReportData, n: int) -> Figure:
    """Genes that tell the types apart, in every type; cells without one last."""
    genes, _ = type_dot_genes(data, n)
    names = counted(data.obs["cell_type"], [*data.labels, UNASSIGNED])
    return dots(data.type_expression, "cell_type", names, genes)


def dots(table: pd.DataFrame, key: str, names: dict[str, str], genes: list[str]) -> Figure:
    """Genes by group: size is the share of its cells, colour the mean expression.

    Parameters
    ----------
    table : see `mean_expression`.
    key : its column of groups.
    names : of the groups as they are written, in order; of many the first are drawn.
    genes : in order.
    """
    groups = [name for name in names if name in set(table[key])][:MOST_GROUPS]
    table = table[table["gene"].isin(genes) & table[key].isin(groups)]
    highest = table.groupby("gene")["mean"].transform("max").clip(lower=1e-9)
    x = table["gene"].map({gene: i for i, gene in enumerate(genes)})
    y = table[key].map({name: i for i, name in enumerate(groups)})
    longest = max(len(names[name]) for name in groups)
    with styled():
        width = min(2.6 + 0.075 * longest + 0.24 * len(genes), FULL_WIDTH)
        height = max(1.5 + 0.28 * len(groups), 3.0)
        figure, axes = plt.subplots(figsize=(width, height))
        shown = axes.scatter(
            x, y, s=DOT * table["share"], c=table["mean"] / highest, cmap="Blues", vmin=0, vmax=1,
            linewidths=0.4, edgecolors="#7B8794",
        )  # fmt: skip
        axes.set_xticks(range(len(genes)), genes, rotation=90, fontsize=8.5)
        axes.set_yticks(range(len(groups)), [names[name] for name in groups])
        axes.set_xlim(-0.7, len(genes) - 0.3)
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_axisbelow(True)
        axes.grid(color=LINE, lw=0.5)
        axes.tick_params(length=0)
        axes.set_ylabel(key.replace("_", " "))
        handles = [
            axes.scatter([], [], s=DOT * share, color="#9FB3C8", label=f"{share:.0%}")
            for share in (0.1, 0.5, 1.0)
        ]
        figure.legend(
            handles=handles, title="cells with\nthe gene", loc="outside right upper",
            title_fontsize=9, fontsize=9,
        )  # fmt: skip
        bar = figure.colorbar(
            shown, ax=axes, label="mean expression /\nhighest of the gene", pad=0.02,
            shrink=min(2.0 / (height - 1), 0.9), aspect=12,
        )  # fmt: skip
        bar.ax.spines["outline"].set_visible(False)
    return figure
