"""The comparison of conditions on the page: its tables, figures and methods."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dice_atlas.conditions.files import Conditions
from dice_atlas.conditions.settings import CERTAIN, EXPECTED, LABEL, LEAST_COUNT
from dice_atlas.plots.style import BLUE, FULL_WIDTH, GREY, LINE, ORANGE, add_legend, styled
from dice_atlas.report.tables import Table, number

TITLES = {LABEL: "all labels", CERTAIN: "certain cells only", EXPECTED: "expected counts"}
COLORS = {LABEL: BLUE, CERTAIN: ORANGE, EXPECTED: GREY}
# Panels of the volcano figure, and genes that are named in each.
MOST_PANELS, PANELS_IN_ROW, MOST_NAMES = 12, 4, 5
# P values below this are drawn there.
LEAST_P = 1e-30
REFERENCES = {
    "DESeq2": "Love, Huber, Anders. Moderated estimation of fold change and dispersion for RNA-seq "
    "data with DESeq2. Genome Biology 15, 2014.",
    "PyDESeq2": "Muzellec, Teleńczuk, Cabeli, Andreux. PyDESeq2: a python package for bulk RNA-seq "
    "differential expression analysis. Bioinformatics 39, 2023.",
    "propeller": "Phipson et al. propeller: testing for differences in cell type proportions in "
    "single cell data. Bioinformatics 38, 2022.",
}


def change(value: float, low: float, high: float) -> str:
    """An estimate with its interval."""
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" if np.isfinite(value) else "–"


def gene_table(found: Conditions) -> Table:
    """One row per condition and type: what was tested, and how many findings hold."""
    rows, wide = [], found.types.set_index(["condition", "cell_type", "weighting"])
    for condition, cell_type in dict.fromkeys(
        zip(found.types["condition"], found.types["cell_type"], strict=True)
    ):
        of = {name: wide.loc[(condition, cell_type, name)] for name in TITLES}
        own = of[LABEL]
        replicates = f"{own['replicates_baseline']:.0f} + {own['replicates_condition']:.0f}"
        cells = f"{own['cells_baseline']:,.0f} + {own['cells_condition']:,.0f}"
        head = [condition, cell_type, replicates, cells]
        if own["reason"]:
            rows.append([*head, "–", "–", "–", "–", "–", own["reason"]])
            continue
        holds = [
            f"not tested ({of[name]['reason']})" if of[name]["reason"] else number(of[name][key])
            for name, key in ((CERTAIN, "holding"), (EXPECTED, "holding"))
        ]
        numbers = [number(own[key]) for key in ("genes", "up", "down")]
        rows.append([*head, *numbers, *holds, ""])
    what = "pairs" if (found.types["paired"] == "True").all() else "replicates"
    columns = ["condition", "cell type", what, "cells", "genes tested", "up", "down"]
    columns += ["hold: certain cells", "hold: expected counts", "not tested because"]
    return Table(columns, rows, [False, False, *[True] * 7, False])


def share_table(found: Conditions) -> Table:
    """One row per condition and type: its shares, their change, and whether that holds."""
    rows = []
    for row in found.shares.itertuples():
        sure = row.finding == "True"
        holds = [row.holds_certain, row.holds_expected] if sure else ["", ""]
        shown = [f"{share:.1%}" if np.isfinite(share) else "–"
                 for share in (row.share_baseline, row.share_condition)]  # fmt: skip
        estimate = change(row.log2_odds_ratio, row.interval_low, row.interval_high)
        adjusted = f"{row.p_adjusted:.2g}" if np.isfinite(row.p_adjusted) else "–"
        rows.append([row.condition, row.cell_type, *shown, estimate, adjusted, *holds, row.reason])
    columns = ["condition", "cell type", f"share in {found.settings.baseline}", "share",
               "log2 odds ratio [95 %]", "adjusted p", "holds: certain cells",
               "holds: expected counts", "not tested because"]  # fmt: skip
    return Table(columns, rows, [False, False, True, True, True, True, False, False, False])


def volcano_panel(axes: Axes, genes: pd.DataFrame, title: str) -> list[Any]:
    """Genes of one type; returns the handles of the legend."""
    height = -np.log10(genes["p_value"].clip(lower=LEAST_P))
    found = genes["finding"] == "True"
    firm = found & (genes["holds_certain"] == "yes") & (genes["holds_expected"] == "yes")
    handles = [
        axes.scatter(genes.loc[rows, "log2_fold_change"], height[rows], s=size, color=color, lw=0)
        for rows, color, size in (
            (~found, GREY, 5), (found & ~firm, ORANGE, 10), (firm, BLUE, 10)
        )
    ]  # fmt: skip
    for row in genes[found].nsmallest(MOST_NAMES, "p_value").index:
        axes.annotate(
            str(genes.loc[row, "gene"]), (genes.loc[row, "log2_fold_change"], height[row]),
            xytext=(3, 2), textcoords="offset points", fontsize=7.5,
        )  # fmt: skip
    axes.axvline(0, color=LINE, lw=0.8, zorder=0)
    axes.set_title(title, fontsize=9)
    return handles


def volcano(found: Conditions) -> Figure:
    """Change and p value of each gene, a panel per condition and type; most findings first."""
    tested = found.genes[found.genes["p_value"].notna()]
    groups = dict(list(tested.groupby(["condition", "cell_type"], sort=False)))
    order = sorted(groups, key=lambda key: -(groups[key]["finding"] == "True").sum())[:MOST_PANELS]
    columns = min(len(order), PANELS_IN_ROW)
    rows = -(-len(order) // columns)
    with styled():
        figure, axes = plt.subplots(
            rows, columns, figsize=(FULL_WIDTH * columns / PANELS_IN_ROW + 0.4, 2.7 * rows + 0.5),
            squeeze=False,
        )  # fmt: skip
        for one, key in zip(axes.flat, order, strict=False):
            title = key[1] if len(found.pairs) == 1 else f"{key[0]}: {key[1]}"
            handles = volcano_panel(one, groups[key], title)
        for one in axes.flat[len(order) :]:
            one.set_axis_off()
        for one in axes[-1]:
            one.set_xlabel("log2 fold change")
        for one in axes[:, 0]:
            one.set_ylabel("−log10 p")
        names = ["no finding", "finding", "finding that holds"]
        add_legend(figure, handles, names, loc="outside upper center", ncols=3)
    return figure


def shares_figure(found: Conditions) -> Figure:
    """Change of each type's share with its interval, by weighting."""
    shares = found.shares[found.shares["log2_odds_ratio"].notna()]
    places = np.arange(len(shares))[::-1]
    with styled():
        figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(shares) + 1.3))
        handles = []
        for name, shift in zip(TITLES, (0.22, 0.0, -0.22), strict=True):
            suffix = "" if name == LABEL else f"_{name}"
            value = shares[f"log2_odds_ratio{suffix}"]
            ends = [shares[f"interval_{end}{suffix}"] for end in ("low", "high")]
            error = np.abs([value - ends[0], ends[1] - value])
            handles.append(
                axes.errorbar(value, places + shift, xerr=error, fmt="o", ms=4, lw=1.4,
                              color=COLORS[name])
            )  # fmt: skip
        one = len(found.pairs) == 1
        ticks = [
            r.cell_type if one else f"{r.condition}: {r.cell_type}" for r in shares.itertuples()
        ]
        axes.set_yticks(places, ticks)
        axes.axvline(0, color=LINE, zorder=0)
        axes.set_xlabel(f"log2 odds ratio against {found.settings.baseline}")
        add_legend(figure, handles, list(TITLES.values()), loc="outside lower center", ncols=3)
    return figure


def methods_text(found: Conditions) -> str:
    """What was compared, and how."""
    settings = found.settings
    paired = set(found.types["paired"])
    design = "the condition"
    if settings.covariates:
        design += f" and {', '.join(settings.covariates)}"
    if "True" in paired:
        some = "" if paired == {"True"} else " where replicates lie in both conditions"
        design += f", with a coefficient for each replicate (pairs){some}"
    whose = "query" if settings.cells == "query" else "all"
    return (
        f"Conditions ({settings.column}: {', '.join(found.pairs)}) were compared with "
        f"{settings.baseline}; replicates were the values of {settings.sample}. Raw counts of the "
        f"assigned {whose} cells were summed by replicate and cell type. Sums of at least "
        f"{settings.min_cells} cells were compared gene by gene with DESeq2's negative binomial "
        "model (Love et al. 2014; PyDESeq2, Muzellec et al. 2023; Wald test) on "
        f"{design}, type by type, for genes with {LEAST_COUNT} counts or more in as many sums as "
        "the smaller condition has. Shares of cell types were compared by a linear model of the "
        "log odds in each replicate on the same design (in the manner of propeller, "
        "Phipson et al. 2022). P "
        "values were adjusted by Benjamini and Hochberg within each type (genes) and over the "
        f"types (shares); findings have an adjusted p below {settings.fdr:g}. Everything was "
        "computed twice more: with only the cells whose prediction set holds exactly their label, "
        "and with each cell's counts spread over the labels of its prediction set in proportion to "
        "its scores, sums rounded. A finding holds if it is one there too, with the same sign."
    )
