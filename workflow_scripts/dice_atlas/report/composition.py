"""What each sample consists of: a figure, and bars of the page whose parts select their cells."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dice_atlas.names import UNASSIGNED
from dice_atlas.plots.style import FULL_WIDTH, add_legend, styled
from dice_atlas.report.data import ReportData
from dice_atlas.report.finding import pick, pick_json
from dice_atlas.report.maps import legend_columns
from dice_atlas.report.tables import Table, matrix_table, percent

# More samples than this get narrower bars.
MANY_SAMPLES = 30


@dataclass(frozen=True)
class Part:
    """A part of a bar: the cells of one type (or cluster) in one sample."""

    name: str
    cells: int
    share: str
    color: str
    pick: str


def groups_of(data: ReportData) -> str:
    """The column that samples are divided by: types, or clusters where there are none."""
    return "cell_type" if data.labels else "cluster"


def counted(data: ReportData) -> pd.DataFrame:
    """Cells by sample and type (or cluster), in the order of the sheet and of the legend."""
    key = groups_of(data)
    names = [*data.labels, UNASSIGNED] if data.labels else data.clusters
    counts = pd.crosstab(data.obs["sample"], data.obs[key]).reindex(data.samples)
    return counts[[name for name in names if name in counts]]


def bars(data: ReportData) -> list[tuple[str, int, list[Part]]]:
    """Each sample, its cells, and the parts of its bar."""
    key, counts = groups_of(data), counted(data)
    found = []
    for sample, row in counts.iterrows():
        total = int(row.sum())
        parts = [
            Part(name, int(n), percent(n / total, total), data.colors[key][name],
                 pick_json(pick(sample=str(sample), **{key: name})))
            for name, n in row.items() if n
        ]  # fmt: skip
        found.append((str(sample), total, parts))
    return found


def keys(data: ReportData) -> list[tuple[str, str]]:
    """Names and colours of the parts."""
    colors = data.colors[groups_of(data)]
    return [(str(name), colors[name]) for name in counted(data)]


def composition_table(data: ReportData) -> Table:
    """The numbers of the bars."""
    key = groups_of(data)
    corner = f"sample \\ {'type' if data.labels else 'cluster'}"
    return matrix_table(counted(data), corner, "sample", key)


def composition(data: ReportData) -> Figure:
    """Share of every cell type (clusters, where there are no types) in every sample."""
    key = groups_of(data)
    counts = counted(data).iloc[::-1]
    order, shares = list(counts), counts.div(counts.sum(axis=1), axis=0)
    ticks = [f"{sample} ({n:,})" for sample, n in counts.sum(axis=1).items()]
    height = (0.38 if len(counts) <= MANY_SAMPLES else 0.22) * len(counts) + 0.6
    # The legend stands on the right where it is not higher than the bars.
    beside = 0.2 * (len(order) + (key == "cluster")) + 0.2 <= height
    columns = 1 if beside else legend_columns(order, FULL_WIDTH)
    under = 0 if beside else 0.2 * (-(-len(order) // columns) + (key == "cluster")) + 0.2
    with styled():
        figure, axes = plt.subplots(figsize=(FULL_WIDTH, height + under))
        left = np.zeros(len(shares))
        handles = []
        for name in order:
            bars = axes.barh(
                ticks, shares[name], left=left, color=data.colors[key][name],
                edgecolor="white", linewidth=0.6, height=0.78,
            )  # fmt: skip
            handles.append(bars)
            left += shares[name].to_numpy()
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.5, len(shares) - 0.5)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("share of the sample's cells")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        add_legend(
            figure, handles, order, ncols=columns, alignment="left",
            loc="outside right upper" if beside else "outside lower left",
            handlelength=1, handleheight=1, title="cluster" if key == "cluster" else None,
        )  # fmt: skip
    return figure
