"""Figures of the benchmark."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dice_atlas.baselines.methods import METHODS
from dice_atlas.benchmark.tables import ALL, summarize
from dice_atlas.plots.points import drawn_rows, point_size
from dice_atlas.plots.style import (
    BLUE,
    FULL_WIDTH,
    GREY,
    LINE,
    SOFT,
    TYPE_COLORS,
    add_legend,
    log_x,
    palette,
    styled,
)

# Methods of which curves are drawn first, then the others.
FIRST = ("pca", "dice_exact", "magic", "lda", "dice_no_labels", "dice_gibbs", "kernel", "alra")
# Metric: name, and whether up is better.
METRICS = {
    "ari_reference": ("ARI, choice by reference", True),
    "ari": ("ARI, choice without labels", True), "clisi_nn9": ("cLISI, 9 nearest", False),
    "clisi": ("cLISI", False), "silhouette": ("silhouette", True),
    "nmi_max": ("NMI (max)", True), "v_measure": ("V-measure", True),
    "knn_accuracy": ("15-NN accuracy", True),
    "knn_balanced_accuracy": ("15-NN balanced", True),
    "ilisi_role": ("iLISI, roles", True), "type_f1": ("F1 of the type", True),
    "type_silhouette": ("silhouette of the type", True),
    "silhouette_centred": ("silhouette, centred", True),
    "type_purity": ("purity of the type", True),
    "type_auc_distance": ("AUROC of the type, distance", True),
    "type_auc_background": ("AUROC of the type, background", True),
}  # fmt: skip
SHOWN = ("ari", "clisi", "silhouette")
COLUMNS, MOST_CURVES = 4, 4
# So many methods that one may lie beyond the axis.
MANY = 5
PAIR = {"pca": GREY, "dice_exact": BLUE}


def name_of(method: str) -> str:
    """A method's title; its own name where it has none (`dice_rho_1`)."""
    return METHODS[method].title if method in METHODS else method


def title_of(metric: str) -> str:
    """The metric's name with the direction that is better."""
    name, up = METRICS[metric]
    return f"{name} {'↑' if up else '↓'}"


def umaps(
    name: str, layouts: Mapping[str, np.ndarray], labels: np.ndarray, scores: pd.DataFrame
) -> Figure:
    """The query in each method's UMAP, side by side, by label.

    Parameters
    ----------
    layouts : cells x 2 by method.
    scores : protocol `paper` of the same split: `method`, `metric`, `value`.
    """
    colors = palette(sorted(set(labels)))
    order = drawn_rows(len(labels), seed=0)
    lines = -(-len(layouts) // COLUMNS)
    value = scores.set_index(["method", "metric"])["value"]
    size = (FULL_WIDTH, 2.9 * lines + 0.9)
    figure, grid = plt.subplots(lines, COLUMNS, figsize=size, squeeze=False)
    for axes in grid.flat[len(layouts) :]:
        axes.set_axis_off()
    for axes, (method, points) in zip(grid.flat, layouts.items(), strict=False):
        shades = [colors[label] for label in labels[order]]
        axes.scatter(*points[order].T, c=shades, s=point_size(len(labels)) * 0.6, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_box_aspect(1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(name_of(method))
        summary = f"ARI {value[method, 'ari']:.2f}   cLISI {value[method, 'clisi']:.2f}"
        axes.set_xlabel(summary, loc="left", fontsize=8.5, color=SOFT)
    names = sorted(set(labels))
    handles = markers({label: colors[label] for label in names})
    add_legend(figure, handles, names, loc="outside lower center", ncols=min(len(names), 5))
    figure.suptitle(f"{name}: query, protocol paper", x=0.01, ha="left", fontweight="bold")
    return figure


def markers(colors: Mapping[str, str], shapes: Mapping[str, str] | None = None) -> list[plt.Line2D]:
    """Entries of a legend: a dot, or the shape given, for each name."""
    shapes = shapes or {}
    return [
        plt.Line2D([], [], marker=shapes.get(name, "o"), ls="", color=color, label=name)
        for name, color in colors.items()
    ]


def differences(table: pd.DataFrame, protocol: str) -> Figure:
    """DICE minus each other method: a point per set, the mean over sets with its interval.

    What lies beyond the axis is an arrow at its edge.

    Parameters
    ----------
    table : see `tables.paired_differences`.
    """
    part = table[table["protocol"] == protocol]
    others = list(dict.fromkeys(part["other"]))
    sets = [name for name in dict.fromkeys(part["set"]) if name != ALL]
    colors = palette(sets)
    # Twelve colours are not told apart by all, two shapes are.
    shapes = {name: "os"[i // 6 % 2] for i, name in enumerate(sets)}
    size = (FULL_WIDTH, 0.38 * len(others) + 1.6)
    figure, grid = plt.subplots(1, len(SHOWN), figsize=size, sharey=True)
    for axes, metric in zip(grid, SHOWN, strict=True):
        own = part[part["metric"] == metric].set_index(["other", "set"])
        axes.axvline(0, color=LINE, zorder=0)
        widest = shown_width(own["difference"], others, sets)
        edge = 0.97 * widest
        for y, other in enumerate(others):
            for name in sets:
                if (other, name) in own.index:
                    x = own.loc[(other, name), "difference"]
                    shape = shapes[name]
                    if abs(x) > widest:
                        x, shape = (edge, ">") if x > 0 else (-edge, "<")
                    axes.plot(x, y, shape, ms=5, alpha=0.8, color=colors[name], mew=0)
            mean = own.loc[(other, ALL)]
            axes.plot([mean["low"], mean["high"]], [y, y], color="black", lw=1.5)
            axes.plot(mean["difference"], y, "D", color="black", ms=6)
            if abs(mean["difference"]) > widest:
                side = np.sign(mean["difference"])
                axes.text(side * edge, y, f"{mean['difference']:+.2f}", fontsize=9,
                          ha="right" if side > 0 else "left", va="center")  # fmt: skip
        axes.set_xlim(-widest, widest)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        better = "right" if METRICS[metric][1] else "left"
        axes.set_title(METRICS[metric][0])
        axes.set_xlabel(f"DICE less the other; {better} of 0: DICE is better")
    grid[0].set_yticks(range(len(others)), [name_of(other) for other in others])
    grid[0].invert_yaxis()
    handles = markers({name: colors[name] for name in sets}, shapes)
    handles.append(
        plt.Line2D([], [], marker="D", color="black", label="mean of the sets, Student's 95 %")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def shown_width(gaps: pd.Series, others: Sequence[str], sets: Sequence[str]) -> float:
    """Half the width of the axis: the points of all methods but, of `MANY`, the one farthest off.

    Parameters
    ----------
    gaps : differences by (other method, set).
    """
    farthest = sorted(gaps.loc[other].reindex(sets).abs().max() for other in others)
    return 1.08 * farthest[-2 if len(farthest) >= MANY else -1] + 1e-9


def curves(table: pd.DataFrame, protocol: str, methods: Sequence[str]) -> Figure:
    """ARI by resolution: mean over seeds; a mark for each seed's chosen resolution.

    Parameters
    ----------
    table : `curves` of `collect.all_tables`.
    """
    part = table[(table["protocol"] == protocol) & (table["variant"] == "base")]
    figure, panels = set_panels(list(dict.fromkeys(part["set"])))
    colors = dict(zip(methods, (GREY, BLUE, *TYPE_COLORS[1:]), strict=False))
    for name, axes in panels.items():
        for method in methods:
            own = part[(part["set"] == name) & (part["method"] == method)]
            mean = own.groupby("resolution")["ari"].mean()
            axes.plot(mean.index, mean, color=colors[method], label=name_of(method))
            chosen = own[own["chosen"]]
            axes.plot(chosen["resolution"], chosen["ari"], "o", ms=4, alpha=0.6,
                      color=colors[method], mew=0)  # fmt: skip
        log_x(axes)
        axes.set_xlabel("resolution")
        axes.set_ylabel("ARI")
        axes.set_title(name)
    one_legend(figure, next(iter(panels.values())))
    return figure


def sweep(summary: pd.DataFrame, values: Mapping[str, tuple[str, str]], label: str) -> Figure:
    """Scores along a setting, of PCA and DICE.

    Parameters
    ----------
    summary : protocol blind.
    values : (variant, DICE's method) by the setting's value as text.
    label : of the setting's axis.
    """
    sets = [
        name for name, own in summary.groupby("set", sort=False)
        if {v for v, _ in values.values()} <= set(own["variant"])
        and {m for _, m in values.values()} <= set(own["method"])
    ]  # fmt: skip
    mean = summary.set_index(["set", "variant", "method", "metric"])["mean"]
    figure, grid = plt.subplots(
        len(SHOWN), len(sets), figsize=(FULL_WIDTH, 2.2 * len(SHOWN)), squeeze=False, sharex=True
    )
    x = [float(text) for text in values]
    for column, name in zip(grid.T, sets, strict=True):
        for axes, metric in zip(column, SHOWN, strict=True):
            for method in PAIR:
                y = [mean[name, v, m if method == "dice_exact" else method, metric]
                     for v, m in values.values()]  # fmt: skip
                axes.plot(x, y, "o-", ms=4, color=PAIR[method], label=name_of(method))
            axes.set_xscale("log")
            axes.set_xticks(x, list(values))
            axes.minorticks_off()
            axes.grid(axis="y", color=LINE, lw=0.6)
        column[0].set_title(name)
        column[-1].set_xlabel(label)
    for axes, metric in zip(grid[:, 0], SHOWN, strict=True):
        axes.set_ylabel(title_of(metric))
    one_legend(figure, grid[0, 0])
    return figure


def dots(
    summary: pd.DataFrame, variants: Mapping[str, str], metrics: Sequence[str], sets: Sequence[str]
) -> Figure:
    """PCA and DICE side by side, mean and standard deviation over seeds, by set and variant.

    Parameters
    ----------
    variants : name shown by variant.
    """
    indexed = summary.set_index(["set", "variant", "method", "metric"])
    figure, grid = plt.subplots(
        len(metrics), len(sets), figsize=(FULL_WIDTH, 2.1 * len(metrics) + 1.0), squeeze=False,
        sharex=True,
    )  # fmt: skip
    for column, name in zip(grid.T, sets, strict=True):
        for axes, metric in zip(column, metrics, strict=True):
            for shift, (method, color) in zip((-0.12, 0.12), PAIR.items(), strict=True):
                own = indexed.reindex([(name, variant, method, metric) for variant in variants])
                axes.errorbar(np.arange(len(own)) + shift, own["mean"], yerr=own["sd"].fillna(0),
                              fmt="o", ms=5, color=color, label=name_of(method))  # fmt: skip
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y", color=LINE, lw=0.6)
        column[0].set_title(name, fontsize=10)
        column[-1].set_xticks(range(len(variants)), variants.values(), rotation=90)
        column[-1].set_xlim(-0.5, len(variants) - 0.5)
    for axes, metric in zip(grid[:, 0], metrics, strict=True):
        axes.set_ylabel(title_of(metric), fontsize=9)
    figure.align_ylabels(grid[:, 0])
    one_legend(figure, grid[0, 0])
    return figure


def set_panels(sets: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each set."""
    lines = -(-len(sets) // COLUMNS)
    columns = min(len(sets), COLUMNS)
    size = (FULL_WIDTH, 2.6 * lines + 0.5)
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, sharey=True)
    for axes in grid.flat[len(sets) :]:
        axes.set_axis_off()
    return figure, dict(zip(sets, grid.flat, strict=False))


def one_legend(figure: Figure, axes: Axes) -> None:
    """One panel's legend for all of them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def all_figures(
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    curve: pd.DataFrame,
    layouts: Mapping[str, Mapping[str, np.ndarray]],
) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) of all that the tables hold.

    Parameters
    ----------
    scores, paired, curve : tables `scores`, `differences` and `curves` of `collect.all_tables`.
    layouts : see `collect.read_layouts`.
    """
    with styled():
        for name, layout in layouts.items():
            own = scores[(scores["set"] == name) & (scores["seed"] == scores["seed"].iloc[0])]
            own = own[(own["protocol"] == "paper") & (own["variant"] == "base")]
            points = {method: layout[method] for method in layout if method != "label"}
            yield f"umap_{name}", umaps(name, points, layout["label"], own)
        methods = curve_methods(curve["method"])
        for protocol in dict.fromkeys(scores["protocol"]):
            if protocol in set(paired["protocol"]):
                yield f"differences_{protocol}", differences(paired, protocol)
            if protocol in set(curve["protocol"]):
                yield f"curves_{protocol}", curves(curve, protocol, methods)
        blind = scores[scores["protocol"] == "blind"]
        swept = blind[blind["method"].str.startswith("dice_rho_")]
        rho = sorted({float(m.removeprefix("dice_rho_")) for m in swept["method"]})
        if rho:
            values = {f"{x:g}": ("base", f"dice_rho_{x:g}") for x in rho}
            yield "rho", sweep(on_seeds_of(blind, swept), values, "rho")
        variants = list(dict.fromkeys(blind["variant"]))
        k = by_number(variants, "k-")
        if k:
            values = {v.removeprefix("k-"): (v, "dice_exact") for v in k}
            yield "k", sweep(summarize(blind), values, "latent dimensions k")
        changed = [v for kind in ("missing-", "extra-") for v in by_number(variants, kind)]
        if changed:
            shown = {"base": "all", **{v: v.replace("-", " ") for v in changed}}
            swept = sets_with(blind, changed[0])
            summary = on_seeds_of(blind, blind[blind["variant"].isin(changed)])
            yield "types", dots(summary, shown, ("silhouette", "clisi"), swept)
            missing = {v: text for v, text in shown.items() if v.startswith("missing")}
            yield "types_missing", dots(summary, missing, ("type_silhouette", "type_f1"), swept)
        scopes = {v: v.removeprefix("scope-") for v in variants if v.startswith("scope-")}
        if scopes:
            metrics = ("knn_accuracy", "knn_balanced_accuracy", "clisi", "ilisi_role")
            sets = sets_with(blind, next(iter(scopes)))
            summary = on_seeds_of(blind, blind[blind["variant"].isin(scopes)])
            yield "scopes", dots(summary, {"base": "none", **scopes}, metrics, sets)


def curve_methods(found: Iterable[str]) -> list[str]:
    """The methods whose curves are drawn, `MOST_CURVES` at the most, of those that were run."""
    order, run = dict.fromkeys((*FIRST, *METHODS)), set(found)
    return [method for method in order if method in run][:MOST_CURVES]


def by_number(variants: Sequence[str], kind: str) -> list[str]:
    """The variants whose names are `kind` and a number, in the numbers' order."""
    of_kind = [v for v in variants if v.startswith(kind)]
    return sorted(of_kind, key=lambda v: int(v.removeprefix(kind)))


def sets_with(scores: pd.DataFrame, variant: str) -> list[str]:
    """Sets that have a variant."""
    return list(dict.fromkeys(scores.loc[scores["variant"] == variant, "set"]))


def on_seeds_of(scores: pd.DataFrame, swept: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of a sweep alone: the base, beside which it stands, may have more."""
    return summarize(scores[scores["seed"].isin(swept["seed"].unique())])
