"""The figure of quality control: each metric of all samples on one scale, and what was removed."""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter1d

from dice_atlas.counts.criteria import CRITERIA, METRICS
from dice_atlas.plots.style import (
    BLUE,
    FULL_WIDTH,
    GREY,
    INK,
    LINE,
    ORANGE,
    SOFT,
    log_x,
    styled,
)
from dice_atlas.report.input_tables import QC_TITLES, used_columns

TITLES = {metric.name: metric.title for metric in METRICS} | {"doublet_score": "Doublet score"}
LOG_SCALED = {metric.name for metric in METRICS if metric.log}
BEFORE, KEPT = "before filtering", "kept"
# More samples than this get a box in place of a violin.
MOST_VIOLINS = 20
# Of more samples those are drawn that lost the largest share of their cells.
MOST_SAMPLES = 100
# A linear axis holds this share of each sample's kept cells at the least, and so many limits: the
# few cells far beyond must not squeeze the others.
REACHED, BEYOND = 0.995, 2.0
GRID = 256
STATISTICS = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}
# Inches: of a row, of a column of numbers, over and under the panels, between them.
NUMBERS, HEAD, FOOT, GAP = 0.54, 0.6, 0.85, 0.24
LONGEST_NAME = 26


def metrics_of(cells: pd.DataFrame) -> list[str]:
    """The metrics that were computed; most experiments have no spike-ins."""
    apart = {metric.name for metric in METRICS if metric.apart and not cells[metric.name].any()}
    return [name for name in TITLES if name not in apart and cells[name].notna().any()]


def limits_of(row: Mapping[str, object], metric: str) -> list[float]:
    """The limits of a metric in a row of qc.tsv that can remove a cell, or call it a doublet."""
    fixed = [row[c.setting] for c in CRITERIA if c.metric == metric and row[c.setting] != c.off]
    found = [*fixed, *(row.get(f"mad_{side}_{metric}", np.nan) for side in ("min", "max"))]
    if metric == "doublet_score":
        found.append(row["doublet_threshold"])
    return sorted({float(str(value)) for value in found if np.isfinite(float(str(value)))})


def qc_tidy(cells: pd.DataFrame, qc: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: `sample`, `panel`, `series`, `what` and `value`."""
    return pd.DataFrame(
        tidy_rows(cells, qc), columns=["sample", "panel", "series", "what", "value"]
    )


def tidy_rows(cells: pd.DataFrame, qc: pd.DataFrame) -> Iterator[tuple[str, str, str, str, float]]:
    """Rows of `qc_tidy`: numbers of cells, quantiles, limits."""
    by_sample = dict(list(cells.groupby("sample", sort=False)))
    for row in qc.to_dict("records"):
        sample = str(row["sample"])
        for name in counted(qc):
            yield sample, "cells", QC_TITLES[name], "cells", float(row[name])
        for metric in metrics_of(cells):
            own = by_sample[sample]
            for series, values in ((BEFORE, own[metric]), (KEPT, own[metric][own["kept"]])):
                yield sample, TITLES[metric], series, "cells", float(values.notna().sum())
                for what, value in quantiles(values).items():
                    yield sample, TITLES[metric], series, what, value
            for limit in limits_of(row, metric):
                yield sample, TITLES[metric], "limit", "limit", limit


def counted(qc: pd.DataFrame) -> list[str]:
    """Columns of qc.tsv that count cells: before, removed for each reason that was used, kept."""
    removed = [name for name in used_columns(qc) if name.startswith("removed_")]
    return ["cells_in", *removed, "cells_kept"]


def quantiles(values: pd.Series) -> dict[str, float]:
    """The `STATISTICS`; NaN without a value."""
    return {what: float(values.quantile(share)) for what, share in STATISTICS.items()}


def axis_range(cells: pd.DataFrame, metric: str, limits: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis that all samples share.

    It holds all cells where it is logarithmic; for others see `REACHED`.
    """
    values = cells[metric]
    if metric in LOG_SCALED:
        low, high = float(values.clip(lower=1).min()), float(values.max())
        return low / 1.15, max(high, 1.1 * low) * 1.15
    highest = float(values.max())
    reached = cells[cells["kept"]].groupby("sample")[metric].quantile(REACHED).max()
    high = max([reached, *(BEYOND * limit for limit in limits if limit <= highest)])
    return 0.0, 1.03 * min(high, highest) or 1.0


def density(values: np.ndarray, low: float, high: float, width: float) -> np.ndarray:
    """Cells by place on a grid of `GRID` fields from low to high, smoothed by a Gaussian.

    Parameters
    ----------
    values : of cells; those outside are left out.
    width : standard deviation of the Gaussian, in units of the values.
    """
    counts = np.histogram(values, bins=GRID, range=(low, high))[0].astype(float)
    step = (high - low) / GRID
    return gaussian_filter1d(counts, max(width / step, 1.0), mode="reflect") / step


def bandwidth(values: np.ndarray) -> float:
    """Silverman's rule of thumb (1986, equation 3.31)."""
    spread = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    deviation = float(values.std())
    return 0.9 * (min(deviation, spread) or deviation) * len(values) ** -0.2


def draw_violin(
    axes: Axes, y: float, before: np.ndarray, kept: np.ndarray, ends: tuple[float, float], log: bool
) -> None:
    """All cells in grey, the kept ones over them in blue: what stays grey was removed."""
    low, high = np.log10(ends) if log else ends
    some, left = (np.log10(np.maximum(v, 1)) if log else v for v in (before, kept))
    width = bandwidth(some)
    x = low + (np.arange(GRID) + 0.5) * (high - low) / GRID
    x = 10**x if log else x
    whole = density(some, low, high, width)
    for values, color in ((whole, GREY), (density(left, low, high, width), BLUE)):
        half = 0.42 * values / max(whole.max(), 1e-12)
        axes.fill_between(x, y - half, y + half, color=color, linewidth=0)
    if len(kept):
        axes.plot(np.median(kept), y, "o", ms=3.6, mfc="white", mec=INK, mew=0.7, clip_on=False)


def draw_box(axes: Axes, y: float, before: np.ndarray, kept: np.ndarray) -> None:
    """All cells above in grey, the kept ones below in blue: 5th to 95th percentile, quartiles."""
    for values, shift, color in ((before, -0.19, GREY), (kept, 0.19, BLUE)):
        if not len(values):
            continue
        p5, p25, median, p75, p95 = np.quantile(values, [*STATISTICS.values()])
        axes.plot([p5, p95], [y + shift] * 2, color=color, lw=1.0, solid_capstyle="butt")
        axes.plot([p25, p75], [y + shift] * 2, color=color, lw=4.0, solid_capstyle="butt")
        axes.plot(median, y + shift, "o", ms=2.4, mfc="white", mec=INK, mew=0.5)


def draw_metric(axes: Axes, cells: Mapping[str, pd.DataFrame], metric: str, rows: list) -> None:
    """One metric of all samples, a row each.

    Parameters
    ----------
    axes : the panel.
    cells : of each sample.
    metric : a column of these.
    rows : of qc.tsv, from top to bottom.
    """
    log, limits = metric in LOG_SCALED, [limits_of(row, metric) for row in rows]
    ends = axis_range(pd.concat(cells.values()), metric, [one for own in limits for one in own])
    if log:
        log_x(axes)
    axes.set_xlim(ends)
    for y, (row, own) in enumerate(zip(rows, limits, strict=True)):
        sample = cells[str(row["sample"])]
        before = sample[metric].dropna().to_numpy(float)
        kept = sample.loc[sample["kept"], metric].dropna().to_numpy(float)
        if not len(before):
            axes.text(0.02, y, "not computed", transform=axes.get_yaxis_transform(), va="center",
                      fontsize=8, color=SOFT)  # fmt: skip
        elif len(rows) > MOST_VIOLINS:
            draw_box(axes, y, before, kept)
        else:
            draw_violin(axes, y, before, kept, ends, log)
        within = [limit for limit in own if ends[0] <= limit <= ends[1]]
        axes.vlines(within, y - 0.48, y + 0.48, color=ORANGE, lw=1.3, zorder=4)
    axes.set_xlabel(limit_words(limits), fontsize=8, color=ORANGE, loc="left")
    if not log:
        axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.set_title(in_lines(TITLES[metric]), fontsize=9.5, pad=5)


def limit_words(limits: Sequence[Sequence[float]]) -> str:
    """Limits of a metric in all samples, as text: one, or the lowest and the highest."""
    every = sorted({limit for own in limits for limit in own})
    words = [f"{limit:,.0f}" if limit >= 100 else f"{limit:.3g}" for limit in every]
    if len(every) < 2:
        return f"limit: {words[0]}" if every else ""
    return f"limits: {words[0]} {'and' if len(every) == 2 else 'to'} {words[-1]}"


def in_lines(title: str) -> str:
    """A title of more than two words in two lines: panels are narrow."""
    words = title.split()
    return title if len(words) < 3 or len(title) < 16 else f"{words[0]}\n{' '.join(words[1:])}"


def draw_numbers(axes: Axes, qc: pd.DataFrame) -> None:
    """Cells before, removed by reason (shaded by their share), and kept."""
    columns = counted(qc)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    for y, row in enumerate(qc.to_dict("records")):
        for x, name in enumerate(columns):
            n, share = int(row[name]), row[name] / max(row["cells_in"], 1)
            removed = name.startswith("removed_")
            if removed and n:
                # All of the shade where half of the cells or more were removed.
                alpha = 0.12 + 0.88 * min(2 * share, 1.0)
                axes.barh(y, 1, left=x - 0.5, height=0.96, color=ORANGE, alpha=0.75 * alpha, lw=0)
            axes.text(
                x + 0.42, y, f"{n:,}", ha="right", va="center", fontsize=8,
                color=SOFT if removed and not n else INK,
                fontweight="bold" if name == "cells_kept" else "normal",
            )  # fmt: skip
    heads = [QC_TITLES[name].removeprefix("removed: ").replace(" ", "\n") for name in columns]
    axes.set_xticks(np.arange(len(columns)) + 0.42, heads, fontsize=8, ha="right")
    if len(columns) > 2:
        axes.annotate("removed", ((len(columns) - 1) / 2, 1), (0, 27), ha="center", fontsize=8,
                      xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)


def shown_rows(qc: pd.DataFrame) -> pd.DataFrame:
    """Rows of the samples that are drawn: all, or those that lost the largest share."""
    if len(qc) <= MOST_SAMPLES:
        return qc
    share = qc["cells_kept"] / qc["cells_in"]
    return qc.loc[sorted(share.sort_values(kind="stable").index[:MOST_SAMPLES])]


def figure_height(n: int) -> tuple[float, float]:
    """Inches of n rows together, and of the figure."""
    rows = 0.26 * n if n > MOST_VIOLINS else n * float(np.clip(4.2 / n, 0.42, 0.85))
    return rows, rows + HEAD + FOOT


def qc_figure(cells: pd.DataFrame, qc: pd.DataFrame) -> Figure:
    """Each metric of every sample before and after filtering, with limits and numbers removed.

    Parameters
    ----------
    cells : see `report.data.read_qc_cells`.
    qc : qc.tsv.
    """
    qc = shown_rows(qc)
    samples = [str(name) for name in qc["sample"]]
    by_sample = dict(list(cells[cells["sample"].isin(samples)].groupby("sample", sort=False)))
    metrics, n = metrics_of(cells), len(samples)
    names = [s if len(s) <= LONGEST_NAME else f"{s[: LONGEST_NAME - 1]}…" for s in samples]
    left = 0.12 + 0.078 * max(map(len, names))
    numbers = NUMBERS * len(counted(qc))
    width = (FULL_WIDTH - left - numbers - GAP * (len(metrics) + 1)) / len(metrics)
    rows, height = figure_height(n)
    with styled():
        figure = plt.figure(figsize=(FULL_WIDTH, height), layout="none")
        for i in range(len(metrics) + 1):
            x = left + i * (width + GAP)
            wide = width if i < len(metrics) else numbers
            place = (x / FULL_WIDTH, FOOT / height, wide / FULL_WIDTH, rows / height)
            axes = figure.add_axes(place)
            if i < len(metrics):
                draw_metric(axes, by_sample, metrics[i], qc.to_dict("records"))
            else:
                draw_numbers(axes, qc)
            axes.set_ylim(n - 0.5, -0.5)
            axes.set_yticks(range(n), names if i == 0 else [""] * n, fontsize=9)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.hlines(np.arange(n + 1) - 0.5, 0, 1, transform=axes.get_yaxis_transform(),
                        color=LINE, lw=0.6, zorder=0)  # fmt: skip
        add_key(figure, n)
    return figure


def add_key(figure: Figure, n: int) -> None:
    """The legend under n samples."""
    handles = [Patch(color=GREY), Patch(color=BLUE), plt.Line2D([], [], color=ORANGE, lw=1.3)]
    texts = [BEFORE, KEPT, "limit"]
    handles.append(plt.Line2D([], [], ls="", marker="o", ms=4, mfc="white", mec=INK, mew=0.7))
    texts.append("median" if n > MOST_VIOLINS else "median of the kept cells")
    if n > MOST_VIOLINS:
        handles.append(plt.Line2D([], [], color=SOFT, lw=4))
        handles.append(plt.Line2D([], [], color=SOFT, lw=1))
        texts += ["quartiles", "5th to 95th percentile"]
    figure.legend(handles, texts, loc="lower left", ncols=len(texts), fontsize=9, handlelength=1.2)
