"""Figures of the labels: composition, agreement with clusters and truth, confidence."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from dice_atlas.metrics.calibration import expected_calibration_error, reliability_curve
from dice_atlas.names import UNASSIGNED
from dice_atlas.plots.style import (
    BLUE,
    FULL_WIDTH,
    GREY,
    LINE,
    ORANGE,
    SOFT,
    UNASSIGNED_COLOR,
    ink_on,
    styled,
)
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.transfer.conformal import best_scores, labelled_and_wrong

# A table with more fields than this has no room for numbers.
MOST_NUMBERS = 900
# Bins of the reliability curve with fewer cells say next to nothing.
FEW_CELLS = 5


def heat_map(axes: Axes, shares: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Row shares as colour, counts as text where there is room."""
    axes.imshow(shares.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right")
    plt.setp(axes.get_xticklabels(), rotation_mode="anchor")
    axes.set_yticks(range(shares.shape[0]), shares.index)
    axes.set_xticks(np.arange(shares.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(shares.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=LINE, lw=0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0)
    if shares.size > MOST_NUMBERS:
        return
    for (i, j), share in np.ndenumerate(shares.to_numpy()):
        if counts.iat[i, j] > 0:
            number = f"{int(counts.iat[i, j]):,}"
            axes.text(j, i, number, ha="center", va="center", fontsize=8.5, color=ink_on(share))


def crosstab_figure(counts: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Heat map of a table of counts, its rows brought to 1."""
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    longest = [max(len(str(name)) for name in names) for names in (counts.index, counts.columns)]
    field = 0.4 if int(counts.to_numpy().max(initial=0)) < 10_000 else 0.5
    width = 0.5 + 0.077 * longest[0] + field * counts.shape[1]
    height = 0.55 + 0.062 * longest[1] + 0.32 * counts.shape[0]
    with styled():
        size = (float(np.clip(width, 4.0, FULL_WIDTH)), float(np.clip(height, 2.2, 16)))
        figure, axes = plt.subplots(figsize=size)
        heat_map(axes, shares, counts)
        axes.set_ylabel(rows)
        axes.set_xlabel(columns)
    return figure


def cluster_counts(data: ReportData) -> pd.DataFrame:
    """Cells by cluster (rows) and cell type."""
    counts = pd.crosstab(data.obs["cluster"], data.obs["cell_type"])
    order = [label for label in [*data.labels, UNASSIGNED] if label in counts]
    return counts.loc[data.clusters, order]


def clusters_by_type(data: ReportData) -> Figure:
    """Cells of every cluster by cell type."""
    return crosstab_figure(cluster_counts(data), "cluster", "cell type")


def confusion_counts(confusion: pd.DataFrame, space: str) -> pd.DataFrame:
    """Truth x label of one space; types in the same order on both sides, `unassigned` last."""
    table = confusion[confusion["space"] == space]
    counts = table.pivot_table(
        index="truth", columns="predicted", values="cells", aggfunc="sum", fill_value=0
    )
    rows = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    columns = [label for label in rows if label in counts and label != UNASSIGNED]
    others = sorted(label for label in counts if label not in (*columns, UNASSIGNED))
    last = [UNASSIGNED] if UNASSIGNED in counts else []
    return counts.loc[rows, [*columns, *others, *last]]


def confusion(data: ReportData, space: str) -> Figure:
    """Truth against the label of one space."""
    return crosstab_figure(confusion_counts(data.confusion, space), "truth", "label")


def wilson(right: Sequence[int], cells: Sequence[int]) -> np.ndarray:
    """Wilson's 95 % intervals of shares (2 x n: low, high)."""
    intervals = [
        binomtest(int(k), int(n)).proportion_ci(method="wilson")
        for k, n in zip(right, cells, strict=True)
    ]
    return np.array([(i.low, i.high) for i in intervals]).reshape(-1, 2).T


def draw_scores(axes: Axes, data: ReportData) -> None:
    """Histogram of the query's scores, unassigned cells grey."""
    query = data.query
    low = (query["cell_type"] == UNASSIGNED).to_numpy()
    score = query["cell_type_score"].to_numpy(dtype=float)
    both = [part[np.isfinite(part)] for part in (score[low], score[~low])]
    axes.hist(
        both, bins=np.linspace(0, 1, 41).tolist(), stacked=True, color=[UNASSIGNED_COLOR, BLUE],
        label=[f"unassigned ({len(both[0]):,})", f"assigned ({len(both[1]):,})"],
    )  # fmt: skip
    if 0 < data.least_score <= 1:
        axes.axvline(data.least_score, color=ORANGE, lw=1.2, ls="--",
                     label=f"threshold {data.least_score:.2g}")  # fmt: skip
    axes.set_title("Scores of the query cells")
    axes.set_xlabel("cell_type_score")
    axes.set_ylabel("cells")
    axes.set_xlim(0, 1)
    axes.legend(loc="upper left")


def draw_reliability(axes: Axes, calibration: pd.DataFrame) -> None:
    """How often a score is right, with Wilson's intervals."""
    score, right = best_scores(calibration)
    curve = reliability_curve(score, right)
    share, cells = curve["share_right"].to_numpy(), curve["cells"].to_numpy()
    low, high = wilson(np.rint(share * cells), cells)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1.2, ls="--", label="score = share right")
    error = np.abs(np.array([share - low, high - share]))
    x, many = curve["mean_score"].to_numpy(), cells >= FEW_CELLS
    axes.plot(x[many], share[many], color=BLUE, lw=1.6)
    for some, face in ((many, BLUE), (~many, "white")):
        if some.any():
            kind = (
                f"fewer than {FEW_CELLS} cells" if face == "white" else "held-out reference cells"
            )
            axes.errorbar(
                x[some], share[some], yerr=error[:, some], fmt="o", color=BLUE, mfc=face, ms=5,
                elinewidth=1, label=kind,
            )  # fmt: skip
    for place, n in zip(x, cells, strict=True):
        axes.text(place, -0.075, f"{n:,}", ha="center", va="center", fontsize=8.5, color=SOFT)
    axes.text(0.005, -0.075, "cells", ha="left", va="center", fontsize=8.5, color=SOFT)
    gap = expected_calibration_error(score, right).value
    axes.set_title(f"How often a score is right\n(calibration error, held-out cells: {gap:.3f})")
    axes.set_xlabel("score of the best label")
    axes.set_ylabel("share of labels that are right")
    axes.set_xlim(0, 1.03)
    axes.set_ylim(-0.13, 1.04)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.legend(loc="upper left")


def draw_risk(axes: Axes, data: ReportData, calibration: pd.DataFrame) -> None:
    """What a higher threshold costs and what it gains, on held-out reference cells."""
    score, right = best_scores(calibration)
    _, cells, wrong_cells = labelled_and_wrong(score, right)
    labelled, wrong = cells / len(score), wrong_cells / cells
    axes.plot(labelled, wrong, color=BLUE, lw=1.6, label="held-out reference cells")
    if data.settings.calls.unassigned_below is None:
        risk = data.settings.calls.risk
        axes.axhline(risk, color=GREY, lw=1.2, ls="--", label=f"risk asked for: {risk:.0%}")
    given = score >= data.least_score
    if given.any():
        label = f"threshold {data.least_score:.2g}" if data.least_score else "all labels are kept"
        axes.plot([given.mean()], [(~right[given]).mean()], "o", color=ORANGE, ms=7, label=label)
    axes.set_title("What a threshold costs")
    axes.set_xlabel("share of cells that get a label")
    axes.set_ylabel("share of these labels that is wrong")
    axes.set_xlim(0, 1.03)
    axes.set_ylim(bottom=0, top=max(0.05, 1.15 * wrong.max(initial=0), axes.get_ylim()[1]))
    axes.legend(loc="best")


def reliability(data: ReportData) -> Figure:
    """Scores of the query; how often a score is right, and the risk, on held-out cells."""
    calibration = of_transfer(data.calibration)
    all_three = len(calibration) > 0
    with styled():
        panels, size = (3, (FULL_WIDTH, 3.8)) if all_three else (1, (FULL_WIDTH / 2, 4.0))
        figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False)
        draw_scores(axes[0, 0], data)
        if all_three:
            draw_reliability(axes[0, 1], calibration)
            draw_risk(axes[0, 2], data, calibration)
    return figure
