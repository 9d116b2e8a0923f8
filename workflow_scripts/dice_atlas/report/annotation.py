"""Figures of the labels: composition, agreement with clusters and truth, confidence."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.metrics.calibration import expected_calibration_error, reliability_curve
from dice_atlas.report.data import ReportData
from dice_atlas.report.style import COLORS, GREY, ink_on, palette, styled


def composition(data: ReportData) -> Figure:
    """Share of every cell type in every sample."""
    table = pd.crosstab(data.obs["sample"], data.obs["cell_type"], normalize="index")
    order = [label for label in [*data.labels, "unassigned"] if label in table]
    table = table[order].iloc[::-1]
    colors = palette(data.labels)
    with styled():
        figure, axes = plt.subplots(figsize=(9, 0.9 + 0.38 * len(table)))
        left = np.zeros(len(table))
        for label in order:
            axes.barh(table.index, table[label], left=left, color=colors[label], label=label)
            left += table[label].to_numpy()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the sample's cells")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), ncols=1 + (len(order) > 14))
    return figure


def heat_map(axes: Axes, table: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Row shares as colour, counts as text where there is room."""
    axes.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(table.shape[1]), table.columns, rotation=40, ha="right")
    axes.set_yticks(range(table.shape[0]), table.index)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if table.size <= 600:
        for (i, j), share in np.ndenumerate(table.to_numpy()):
            if share >= 0.005:
                number = int(counts.iat[i, j])
                axes.text(j, i, number, ha="center", va="center", fontsize=7, color=ink_on(share))


def crosstab_figure(counts: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Heat map of a table of counts, its rows brought to 1."""
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    with styled():
        size = (2.6 + 0.55 * counts.shape[1], 1.5 + 0.32 * counts.shape[0])
        figure, axes = plt.subplots(figsize=(min(size[0], 13), min(size[1], 14)))
        heat_map(axes, shares, counts)
        axes.set_ylabel(rows)
        axes.set_xlabel(columns)
    return figure


def clusters_by_type(data: ReportData) -> Figure:
    """Cells of every cluster by cell type."""
    counts = pd.crosstab(data.obs["cluster"], data.obs["cell_type"])
    order = [label for label in [*data.labels, "unassigned"] if label in counts]
    return crosstab_figure(counts.loc[data.clusters, order], "cluster", "cell type")


def confusion(data: ReportData, space: str) -> Figure:
    """Truth against the label of one space."""
    table = data.confusion[data.confusion["space"] == space]
    counts = table.pivot_table(
        index="truth", columns="predicted", values="cells", aggfunc="sum", fill_value=0
    )
    rows = counts.sum(axis=1).sort_values(ascending=False).index
    columns = [label for label in rows if label in counts]
    columns += [label for label in counts if label not in columns]
    return crosstab_figure(counts.loc[rows, columns], "truth", "label")


def best_scores(calibration: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Score of the predicted label, and whether it is right, of held-out reference cells."""
    columns = [c for c in calibration if c.startswith("score:")]
    score = calibration[columns].to_numpy(dtype=float).max(axis=1)
    return score, (calibration["predicted"] == calibration["label"]).to_numpy()


def reliability(data: ReportData) -> Figure:
    """Scores of the query, and how often such a score is right on held-out reference cells."""
    score, right = best_scores(data.calibration)
    curve = reliability_curve(score, right)
    share, cells = curve["share_right"], curve["cells"]
    # Normal approximation of the binomial, one standard error on either side.
    error = np.sqrt(share * (1 - share) / cells)
    with styled():
        figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 3.8))
        query = data.query["cell_type_score"].dropna().to_numpy(dtype=float)
        left.hist(query, bins=np.linspace(0, 1, 26), color=COLORS[0])
        threshold = data.config["annotate"]["unassigned_below"]
        left.axvline(threshold, color=COLORS[5], lw=1)
        left.text(threshold, left.get_ylim()[1], " unassigned below", va="top", fontsize=8)
        left.set_title("Scores of the query cells")
        left.set_xlabel("score of the best label")
        left.set_ylabel("cells")
        middle.plot([0, 1], [0, 1], color=GREY, lw=1)
        middle.errorbar(curve["mean_score"], share, yerr=error, fmt="o-", color=COLORS[0], ms=4)
        for x, y, n in zip(curve["mean_score"], share, cells, strict=True):
            middle.annotate(f"{n}", (x, y), (4, -9), textcoords="offset points", fontsize=7)
        wrong = expected_calibration_error(score, right).value
        middle.set_title(f"Held-out reference cells (calibration error {wrong:.3f})")
        middle.set_xlabel("score of the best label")
        middle.set_ylabel("share that is right")
        middle.set_xlim(0, 1.02)
        middle.set_ylim(0, 1.05)
        figure.tight_layout()
    return figure
