"""What each figure shows, as a table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import Container
from matplotlib.figure import Figure

from dice_atlas.plots.points import drawn_rows
from dice_atlas.report import annotation, maps, qc
from dice_atlas.report.data import ReportData
from dice_atlas.report.marker_lists import of_lists


def table_of(name: str, figure: Figure, data: ReportData) -> pd.DataFrame:
    """The data of a figure.

    Parameters
    ----------
    name : of its file.
    figure : as it was drawn.
    data : what it was drawn of.

    Returns
    -------
    DataFrame
        One row per cell of a map, field of a heat map, bar, or point of a line.
    """
    if name.startswith("umap_"):
        return map_table(name, data)
    if name == "composition":
        key = "cell_type" if data.labels else "cluster"
        return shares(pd.crosstab(data.obs["sample"], data.obs[key]), "sample", key)
    if name == "clusters_by_type":
        counts = pd.crosstab(data.obs["cluster"], data.obs["cell_type"])
        return shares(counts, "cluster", "cell_type")
    if name == "confusion":
        counts = annotation.confusion_counts(data.confusion, data.labelled_by)
        return shares(counts, "truth", "label")
    if name == "qc":
        return qc.qc_tidy(data.qc_cells, data.qc)
    if name == "markers":
        return data.expression
    if name == "markers_by_type":
        return data.type_expression
    if name == "marker_lists":
        return of_lists(data.marker_scores)
    return pd.DataFrame(points_of(figure), columns=["panel", "series", "x", "y"])


def map_table(name: str, data: ReportData) -> pd.DataFrame:
    """Cells of a map, their places, and the columns that colour them; on top is last."""
    rows = drawn_rows(len(data.obs), int(data.provenance["config"]["seed"]))
    obs = maps.with_counts(data.obs.iloc[rows])
    several = {
        "umap_types": [*maps.kinds_of(data)],
        "umap_origin": [*maps.origins(data.obs)],
        "umap_confidence": [*maps.values_of(data)],
    }
    own = several.get(name, [name.removeprefix("umap_")])
    places = pd.DataFrame(data.umap[rows], index=obs.index, columns=["umap1", "umap2"])
    return places.join(obs[own]).rename_axis("cell").reset_index()


def shares(counts: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """A table of counts as rows of a table: `cells`, and their `share` of the row."""
    table = counts.rename_axis(index=rows, columns=columns).reset_index()
    table = table.melt(rows, var_name=columns, value_name="cells")
    total = table.groupby(rows, sort=False)["cells"].transform("sum")
    return table.assign(share=table["cells"] / total.clip(lower=1))


def points_of(figure: Figure) -> Iterator[tuple[str, str, float, float]]:
    """Points, those of lines, and tops of bars: title of the panel, name of the series, x and y."""
    for axes in figure.axes:
        panel = axes.get_title(loc="left").replace("\n", " ")
        for series, x, y in drawn(axes):
            for place, value in zip(x, y, strict=True):
                yield panel, series, float(place), float(value)


def drawn(axes: Axes) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Points, lines and bars of a panel: name ("" = none), x, y; of a bar left side and height."""
    for points in axes.collections:
        x, y = np.ma.getdata(points.get_offsets()).T
        if isinstance(points, PathCollection) and len(x):
            yield named(points), x, y
    for line in axes.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if len(x):
            yield named(line), x, y
    for container in axes.containers:
        bars = [patch for patch in container if hasattr(patch, "get_height")]
        if bars:
            left = np.array([bar.get_x() for bar in bars])
            height = np.array([bar.get_height() for bar in bars])
            # matplotlib names the first bar of a histogram, not all of them together.
            yield named(container) or named(bars[0]), left, height


def named(drawn: Artist | Container) -> str:
    """The name of what was drawn; "" where it has one of matplotlib's own alone."""
    label = str(drawn.get_label())
    return "" if label.startswith("_") else label
