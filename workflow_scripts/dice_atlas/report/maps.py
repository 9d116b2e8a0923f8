"""UMAP figures."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.names import UNASSIGNED
from dice_atlas.plots.placement import densest, write_names
from dice_atlas.plots.points import drawn_rows, point_size
from dice_atlas.plots.style import (
    FULL_WIDTH,
    GREY,
    LINE,
    PALE,
    ROLE_COLORS,
    SOFT,
    add_legend,
    figure_of,
    natural,
    styled,
)
from dice_atlas.report.data import ReportData

MOST_NAMES = 40
# Cell types that are named on maps: so many of the most frequent ones, these, or all (None).
Names = int | tuple[str, ...] | None
# With more types than this their legend takes the width of the page.
MANY_TYPES = 14
# Height of a map by its width, at the least.
FLATTEST = 0.7
# Inches over a map for its title, and on the left and below for the names of its axes.
HEAD, EDGE = 0.35, 0.24


def limits(points: np.ndarray) -> np.ndarray:
    """Corners of the map (low, high): all points and a margin, `FLATTEST` to 1 times as high."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, extent = (low + high) / 2, 1.08 * np.maximum(high - low, 1e-6)
    extent[0] = max(extent[0], extent[1])
    extent[1] = max(extent[1], FLATTEST * extent[0])
    return np.array([middle - extent / 2, middle + extent / 2])


def frame(axes: Axes, points: np.ndarray) -> None:
    """Equal scales, a light frame without ticks."""
    (left, bottom), (right, top) = limits(points)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(LINE)
    axes.set_xlabel("UMAP 1", loc="left", fontsize=8, color=SOFT, labelpad=3)
    axes.set_ylabel("UMAP 2", loc="bottom", fontsize=8, color=SOFT, labelpad=3)


def map_width(n: int, total: float, beside: float = 0.1) -> float:
    """Inches of one of n maps side by side."""
    return total / n - EDGE - beside


def panels(
    points: np.ndarray, n: int, total: float, under: float = 0.0, beside: float = 0.1
) -> tuple[Figure, list[Axes]]:
    """A figure of n maps side by side; every place is given, so that no legend moves a map.

    Parameters
    ----------
    points : cells x 2, by which the maps get their shape.
    n : number of maps.
    total : inches of the figure's width.
    under, beside : inches for what stands under all maps and on the right of each.

    Returns
    -------
    The figure, and the axes of the maps.
    """
    low, high = limits(points)
    width = map_width(n, total, beside)
    height = width * (high - low)[1] / (high - low)[0]
    step = width + EDGE + beside
    size = np.array([step * n, HEAD + height + EDGE + under])
    figure = plt.figure(figsize=tuple(size), layout="none")
    places = [np.array([i * step + EDGE, EDGE + under]) for i in range(n)]
    extent = np.array([width, height]) / size
    axes = [figure.add_axes((*(place / size), *extent)) for place in places]
    return figure, axes


def legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of a legend of the given width in inches, at 9.5 points."""
    longest = max((len(name) for name in names), default=1)
    return int(np.clip(width / (0.07 * longest + 0.36), 1, 6))


def legend_height(entries: dict[str, dict[str, str]], width: float) -> float:
    """Inches that the longest of the legends needs."""
    found = [list(texts.values())[: MOST_NAMES + 1] for texts in entries.values() if texts]
    rows = [-(-len(texts) // legend_columns(texts, width)) for texts in found]
    return 0.1 + 0.212 * max(rows, default=0)


def draw_categories(
    axes: Axes,
    points: np.ndarray,
    values: pd.Series,
    colors: dict[str, str],
    entries: dict,
    width: float,
) -> None:
    """Points in the colours of their categories, and a legend of the `entries` under them.

    Parameters
    ----------
    points : cells x 2.
    values, colors : category of each cell, and the colour of each category; others are grey.
    entries : category -> text of the legend, in order; none: no legend.
    width : inches of the legend.
    """
    shades, size = values.map(colors).fillna(GREY).to_numpy(), size_of_points(axes, len(points))
    # Cells without a label lie on top and have another shape: they are those to look at.
    lost = (values == UNASSIGNED).to_numpy()
    for some, shape, width_of_line in ((~lost, "o", 0.0), (lost, "x", size**0.5 / 3)):
        axes.scatter(
            points[some, 0], points[some, 1], s=size, c=shades[some], marker=shape,
            linewidths=width_of_line, rasterized=True,
        )  # fmt: skip
    frame(axes, points)
    handles = [
        axes.plot([], [], "x" if name == UNASSIGNED else "o", ms=6, color=colors.get(name, GREY))[0]
        for name in list(entries)[:MOST_NAMES]
    ]
    texts = list(entries.values())[:MOST_NAMES]
    columns = legend_columns(texts, width)
    if len(entries) > MOST_NAMES:
        handles.append(axes.plot([], [], " ")[0])
        texts.append(f"{len(entries) - MOST_NAMES} more")
    add_legend(
        axes, handles, texts, loc="upper left",
        bbox_to_anchor=(-0.01, -EDGE / inches(axes)[1]), borderaxespad=0, borderpad=0.2,
        handletextpad=0.2, columnspacing=1.2, ncols=columns,
    )  # fmt: skip


def inches(axes: Axes) -> np.ndarray:
    """Width and height of the axes."""
    return np.multiply(axes.get_position().size, figure_of(axes).get_size_inches())


def size_of_points(axes: Axes, n: int) -> float:
    """Area of each of n points, in square points: smaller on a map smaller than half a page."""
    return point_size(n) * float(np.clip((2.2 * inches(axes)[0] / FULL_WIDTH) ** 2, 0.3, 1.0))


def anchors_of(points: np.ndarray, values: pd.Series, names: Sequence[str]) -> dict:
    """Densest place of each category that has points."""
    found = {name: points[(values == name).to_numpy()] for name in names}
    return {name: densest(cloud) for name, cloud in found.items() if len(cloud)}


def counted(values: pd.Series, order: Sequence[str]) -> dict[str, str]:
    """Legend texts with the number of cells."""
    counts = values.value_counts()
    return {name: f"{name} ({counts[name]:,})" for name in order if name in counts}


def kinds_of(data: ReportData) -> dict[str, str]:
    """Columns that are named on the map, and their titles."""
    titles = {"cell_type": "Cell type", "cluster": "Cluster"}
    return titles if data.labels else {"cluster": titles["cluster"]}


def names_asked(setting: Any) -> Names:
    """The cell types that `figures.names` of the config asks for."""
    if setting == "all":
        return None
    return setting if isinstance(setting, int) else tuple(setting)


def named(labels: Sequence[str], asked: Names) -> list[str]:
    """Those of the labels, most frequent first, that are written on a map."""
    if asked is None or isinstance(asked, int):
        return list(labels)[:asked]
    return [label for label in labels if label in asked]


def width_of(maps: Sequence[str]) -> float:
    """Inches of a figure of these maps on the page."""
    return FULL_WIDTH if len(maps) > 1 else 0.62 * FULL_WIDTH


def umap_types(
    data: ReportData,
    seed: int,
    only: str | None = None,
    width: float | None = None,
    names: Names = None,
) -> Figure:
    """Cell types (if there are any) and clusters, named on the map; or one of them alone.

    Parameters
    ----------
    data, seed : cells, and which of them are drawn.
    only : column of a single map.
    width : inches of the figure; None: as on the page.
    names : cell types that are named, see `named`.
    """
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], data.obs.iloc[rows]
    orders = {"cluster": data.clusters}
    if data.labels:
        orders = {"cell_type": [*data.labels, UNASSIGNED], **orders}
    orders = {key: order for key, order in orders.items() if only in (None, key)}
    entries = {key: counted(data.obs[key], order) for key, order in orders.items()}
    total = width or width_of([*orders])
    beneath = map_width(len(orders), total)
    if len(data.labels) > MANY_TYPES and len(orders) > 1:
        beneath, entries["cluster"] = total - EDGE, {}
    with styled():
        figure, axes = panels(points, len(orders), total, legend_height(entries, beneath))
        for panel, (key, order) in zip(axes, orders.items(), strict=True):
            draw_categories(panel, points, obs[key], data.colors[key], entries[key], beneath)
            panel.set_title(kinds_of(data)[key])
            shown = named(data.labels, names) if key == "cell_type" else order
            write_names(panel, anchors_of(points, obs[key], shown), points)
    return figure


def origins(obs: pd.DataFrame) -> dict[str, str]:
    """Columns that say where cells come from, and their titles; the same split only once."""
    found = {"sample": "Sample"}
    pairs = obs[["sample", "batch"]].drop_duplicates()
    same = len(pairs) == pairs["sample"].nunique() == pairs["batch"].nunique()
    if not same and obs["batch"].nunique() > 1:
        found["batch"] = "Batch"
    if obs["role"].nunique() > 1:
        found["role"] = "Role"
    return found


def umap_origin(
    data: ReportData, seed: int, only: str | None = None, width: float | None = None
) -> Figure:
    """Samples, batches and roles; or one of them alone."""
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], data.obs.iloc[rows]
    columns = {key: title for key, title in origins(data.obs).items() if only in (None, key)}
    batches = natural(data.obs["batch"])
    orders = {"sample": data.samples, "batch": batches, "role": list(ROLE_COLORS)}
    entries = {key: counted(data.obs[key], orders[key]) for key in columns}
    with styled():
        total = width or width_of([*columns])
        beneath = map_width(len(columns), total)
        figure, axes = panels(points, len(columns), total, legend_height(entries, beneath))
        for panel, (key, title) in zip(axes, columns.items(), strict=True):
            draw_categories(panel, points, obs[key], data.colors[key], entries[key], beneath)
            panel.set_title(title)
    return figure


def draw_values(
    figure: Figure, axes: Axes, points: np.ndarray, values: np.ndarray, colors: str
) -> None:
    """Points coloured by a number; cells without one are grey and lie below."""
    there = np.isfinite(values)
    size = size_of_points(axes, len(points))
    grey, coloured = points[~there], points[there]
    axes.scatter(grey[:, 0], grey[:, 1], s=size, c=PALE, linewidths=0, rasterized=True)
    low, high = np.percentile(values[there], [1, 99]) if there.any() else (0, 1)
    shown = axes.scatter(
        coloured[:, 0], coloured[:, 1], s=size, c=values[there], cmap=colors, vmin=low,
        vmax=max(high, low + 1e-9), linewidths=0, rasterized=True,
    )  # fmt: skip
    frame(axes, points)
    bar = figure.colorbar(shown, cax=axes.inset_axes((1.025, 0.15, 0.035, 0.7)))
    bar.ax.spines["outline"].set_visible(False)


def with_counts(obs: pd.DataFrame) -> pd.DataFrame:
    """obs with the counts as they are drawn."""
    return obs.assign(log10_counts=np.log10(obs["total_counts"].clip(lower=1)))


def values_of(data: ReportData) -> dict[str, tuple[str, str]]:
    """Columns of the confidence on the map: title and colours; dark is certain in all."""
    shown = {"dice_uncertainty": ("dice_uncertainty (all cells)", "viridis")}
    if data.transferred and len(data.query):
        shown = {
            "cell_type_score": ("cell_type_score (query)", "viridis_r"),
            "cell_type_entropy": ("cell_type_entropy (query)", "viridis"),
            **shown,
        }
    elif data.obs["total_counts"].notna().any():
        shown["log10_counts"] = ("log10 counts of the cell", "viridis_r")
    return shown


def umap_confidence(
    data: ReportData, seed: int, only: str | None = None, width: float | None = None
) -> Figure:
    """Score, entropy and the uncertainty of the denoised position; or one of them alone."""
    rows = drawn_rows(len(data.obs), seed)
    points, obs = data.umap[rows], with_counts(data.obs.iloc[rows])
    shown = {key: kind for key, kind in values_of(data).items() if only in (None, key)}
    with styled():
        figure, axes = panels(points, len(shown), width or width_of([*shown]), beside=0.7)
        for panel, (column, (title, colors)) in zip(axes, shown.items(), strict=True):
            draw_values(figure, panel, points, obs[column].to_numpy(dtype=float), colors)
            panel.set_title(title)
    return figure
