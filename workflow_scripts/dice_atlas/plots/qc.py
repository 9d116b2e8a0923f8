"""The QC figure of one sample: distributions before and after filtering, with the limits."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.counts.criteria import METRICS
from dice_atlas.counts.qc import Bands, QcSettings
from dice_atlas.files import atomic_path
from dice_atlas.plots.style import plain

BEFORE, AFTER, LIMIT = "#b9c0c9", "#2f6f9f", "#b5392c"
TITLES = {metric.name: metric.title for metric in METRICS} | {"doublet_score": "Doublet score"}
LOG_SCALED = tuple(metric.name for metric in METRICS if metric.log)
# Inches of one histogram.
WIDTH, HEIGHT = 2.5, 2.9


def write_qc(
    cells: pd.DataFrame, settings: QcSettings, bands: Bands, title: str, path: str | Path
) -> None:
    """Draw and write the figure; see `draw_qc`."""
    with plain(), atomic_path(path) as temporary:
        # No software version in the file, or equal figures would differ.
        draw_qc(cells, settings, bands, title).savefig(temporary, metadata={"Software": None})


def draw_qc(cells: pd.DataFrame, settings: QcSettings, bands: Bands, title: str) -> Figure:
    """A histogram of each metric: all cells, the kept ones, and the limits as lines.

    Parameters
    ----------
    cells : every cell, see `qc.assess_cells`.
    settings, bands : the limits that were used.
    title : over the figure.
    """
    # Most experiments have no spike-ins.
    absent = {metric.name for metric in METRICS if metric.apart and not cells[metric.name].any()}
    titles = {name: title for name, title in TITLES.items() if name not in absent}
    figure = Figure(figsize=(WIDTH * len(titles), HEIGHT), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(titles))
    for axis, (metric, name) in zip(axes, titles.items(), strict=True):
        draw_metric(axis, cells, metric, limit_lines(settings, bands, metric))
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("cells", fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(
        f"{title}: {int(cells['kept'].sum()):,} of {len(cells):,} cells kept", fontsize=11
    )
    return figure


def draw_metric(axis: Axes, cells: pd.DataFrame, metric: str, lines: list[float]) -> None:
    """Histogram of one metric, the limits dashed.

    Parameters
    ----------
    cells : every cell; the column `metric`, and `kept`.
    lines : limits, see `limit_lines`.
    """
    values = cells[metric]
    if values.notna().sum() == 0:
        axis.text(0.5, 0.5, "not computed", ha="center", va="center", transform=axis.transAxes)
        axis.set_xticks([])
        axis.set_yticks([])
        return
    if metric in LOG_SCALED:
        axis.set_xscale("log")
        values = values.clip(lower=1)
    edges = bin_edges(values.dropna().to_numpy(float), metric in LOG_SCALED)
    axis.hist(values.dropna(), bins=edges.tolist(), color=BEFORE, label="before filtering")
    axis.hist(values[cells["kept"]].dropna(), bins=edges.tolist(), color=AFTER, label="kept")
    axis.set_xlim(edges[0], edges[-1])
    if metric in LOG_SCALED:
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: minor_label(value, edges))
        axis.tick_params(axis="x", which="minor", labelsize=8)
    if lines:
        words = ", ".join(f"{line:.4g}" for line in sorted(set(lines)))
        axis.set_xlabel(f"limit{'s' if len(set(lines)) > 1 else ''}: {words}", fontsize=8)
        axis.xaxis.label.set_color(LIMIT)
    for i, line in enumerate(lines):
        # A limit outside of the data would squeeze them together: it is not drawn.
        if edges[0] <= line <= edges[-1]:
            axis.axvline(line, color=LIMIT, lw=1.2, ls="--", label="limit" if i == 0 else None)
    if not axis.get_legend_handles_labels()[1].count("limit"):
        axis.plot([], [], color=LIMIT, lw=1.2, ls="--", label="limit")


def minor_label(value: float, edges: np.ndarray) -> str:
    """Labels between the powers of ten, only where fewer than two of these are on the axis."""
    if edges[-1] / edges[0] > 20 or int(f"{value:e}"[0]) not in (2, 3, 5):
        return ""
    return f"{value:g}"


def bin_edges(values: np.ndarray, log: bool, n_bins: int = 40) -> np.ndarray:
    """Edges (n_bins + 1) that hold all values; of the same ratio where the axis is logarithmic."""
    low, high = float(values.min()), float(values.max())
    if log:
        return np.geomspace(low * 0.95, max(high, low * 1.1) * 1.05, n_bins + 1)
    return np.linspace(low, high if high > low else low + 1.0, n_bins + 1)


def limit_lines(settings: QcSettings, bands: Bands, metric: str) -> list[float]:
    """The limits that bear on a metric, finite ones only."""
    lines = [*bands.get(metric, ()), *settings.active(metric)]
    return [float(line) for line in lines if np.isfinite(line)]
