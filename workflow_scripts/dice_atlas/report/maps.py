"""UMAP figures."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.report.data import ReportData
from dice_atlas.report.style import GREY, INK, natural, palette, styled

# More points only make the file larger.
MOST_POINTS = 50_000


def drawn_rows(n: int, seed: int) -> np.ndarray:
    """Rows that are drawn, in random order so that no sample lies on top."""
    return np.random.default_rng(seed).permutation(n)[:MOST_POINTS]


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("UMAP 1", loc="left", fontsize=7)
    axes.set_ylabel("UMAP 2", loc="bottom", fontsize=7)
    axes.set_aspect("equal", adjustable="datalim")


def point_size(n: int) -> float:
    return float(np.clip(18_000 / max(n, 1), 1.0, 14.0))


def draw_categories(
    axes: Axes,
    points: np.ndarray,
    values: pd.Series,
    colors: dict[str, str],
    on_plot: bool,
    order: Sequence[str],
) -> None:
    """Points in the colours of their categories, named on the plot or in a legend."""
    shades = values.map(colors).fillna(GREY).to_numpy()
    axes.scatter(*points.T, s=point_size(len(points)), c=shades, linewidths=0, rasterized=True)
    if on_plot:
        for name in order:
            inside = (values == name).to_numpy()
            if inside.any():
                x, y = np.median(points[inside], axis=0)
                axes.text(
                    x, y, name, ha="center", va="center", fontsize=8, fontweight="bold", color=INK,
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
                )  # fmt: skip
    else:
        handles = [
            axes.plot([], [], "o", ms=5, color=colors.get(name, GREY), label=name)[0]
            for name in order
        ]
        columns = 1 + (len(order) > 24)
        axes.legend(
            handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns,
            handletextpad=0.2, borderaxespad=0.3,
        )  # fmt: skip
    bare(axes)


def draw_values(figure: Figure, axes: Axes, points: np.ndarray, values: np.ndarray) -> None:
    """Points coloured by a number; cells without one are grey and lie below."""
    there = np.isfinite(values)
    size = point_size(len(points))
    axes.scatter(*points[~there].T, s=size, c="#E4E7EB", linewidths=0, rasterized=True)
    low, high = np.percentile(values[there], [1, 99]) if there.any() else (0, 1)
    shown = axes.scatter(
        *points[there].T, s=size, c=values[there], cmap="viridis", vmin=low,
        vmax=max(high, low + 1e-9), linewidths=0, rasterized=True,
    )  # fmt: skip
    figure.colorbar(shown, ax=axes, shrink=0.6, pad=0.02)
    bare(axes)


def umap_types(data: ReportData, seed: int) -> Figure:
    """Cell types and clusters."""
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], data.obs.iloc[rows]
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5), width_ratios=[1.25, 1])
        present = [*data.labels, *(["unassigned"] if "unassigned" in set(obs["cell_type"]) else [])]
        draw_categories(left, points, obs["cell_type"], palette(data.labels), False, present)
        left.set_title("Cell type")
        colors = palette(data.clusters)
        draw_categories(right, points, obs["cluster"], colors, True, data.clusters)
        right.set_title("Cluster")
        figure.tight_layout()
    return figure


def umap_origin(data: ReportData, seed: int) -> Figure:
    """Samples and roles."""
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], data.obs.iloc[rows]
    with styled():
        figure, axes = plt.subplots(1, 2, figsize=(12.5, 5))
        for panel, column in zip(axes, ("sample", "role"), strict=True):
            names = natural(obs[column])
            draw_categories(panel, points, obs[column], palette(names), False, names[:40])
            panel.set_title(column.capitalize())
        figure.tight_layout()
    return figure


def umap_confidence(data: ReportData, seed: int) -> Figure:
    """Transfer score, entropy and the uncertainty of the denoised position."""
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], data.obs.iloc[rows]
    titles = {"dice_uncertainty": "Uncertainty of the position (dice_uncertainty)"}
    if data.transferred:
        titles = {
            "cell_type_score": "Score of the label (query)",
            "cell_type_entropy": "Entropy of the label (query)",
            **titles,
        }
    with styled():
        figure, axes = plt.subplots(1, len(titles), figsize=(4.6 * len(titles), 4.2), squeeze=False)
        for panel, (column, title) in zip(axes[0], titles.items(), strict=True):
            draw_values(figure, panel, points, obs[column].to_numpy(dtype=float))
            panel.set_title(title)
        figure.tight_layout()
    return figure
