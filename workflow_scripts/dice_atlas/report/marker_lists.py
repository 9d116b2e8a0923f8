"""What the page says of labels by marker lists: figure, table, texts."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dice_atlas.marker_lists.calls import LEAST, LIMIT, SEVERAL
from dice_atlas.marker_lists.evidence import LISTS
from dice_atlas.marker_lists.genes import FEW_GENES
from dice_atlas.names import UNASSIGNED, split_set
from dice_atlas.plots.style import FULL_WIDTH, LINE, ink_on, styled
from dice_atlas.report.data import ReportData
from dice_atlas.report.finding import Finding, pick, plural
from dice_atlas.report.tables import Table, number, percent

# Effects from here on have the darkest colour.
STRONG = 4.0


def of_lists(table: pd.DataFrame | None) -> pd.DataFrame:
    """A table that there is only with marker lists.

    Raises
    ------
    ValueError
        There are none.
    """
    if table is None:
        raise ValueError("there are no marker lists: there is no such table")
    return table


def calls_of(data: ReportData) -> pd.DataFrame:
    """calls.tsv of the marker lists, by cluster."""
    return of_lists(data.marker_calls).set_index("cluster")


def heat_map(data: ReportData) -> Figure:
    """Effect of each list in each cluster, as a number where it fits; the call in bold."""
    calls, table = calls_of(data), of_lists(data.marker_scores)
    types = list(dict.fromkeys(table["type"]))
    wide = table.pivot_table(index="cluster", columns="type", values=["effect", "q", "strength"])
    effect, q, strength = (
        wide[name].loc[data.clusters, types].to_numpy() for name in ("effect", "q", "strength")
    )
    longest = max(map(len, types))
    width = float(np.clip(1.6 + 0.55 * len(types), 4.0, FULL_WIDTH))
    height = float(np.clip(0.9 + 0.065 * longest + 0.3 * len(data.clusters), 2.4, 16))
    with styled():
        figure, axes = plt.subplots(figsize=(width, height))
        shown = axes.imshow(effect, cmap="Blues", vmin=0, vmax=STRONG, aspect="auto")
        axes.set_xticks(range(len(types)), types, rotation=45, ha="right")
        plt.setp(axes.get_xticklabels(), rotation_mode="anchor")
        axes.set_yticks(range(len(data.clusters)), data.clusters)
        axes.set_xticks(np.arange(len(types) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(data.clusters) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=LINE, lw=0.6)
        axes.spines[:].set_visible(False)
        axes.tick_params(which="both", length=0)
        for i, cluster in enumerate(data.clusters):
            for j, name in enumerate(types):
                if q[i, j] > LIMIT or strength[i, j] < LEAST:
                    continue
                called = calls.loc[cluster, "label"] == name
                text = f"{effect[i, j]:.1f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=8.5,
                          fontweight="bold" if called else "normal",
                          color=ink_on(min(effect[i, j] / STRONG, 1.0)))  # fmt: skip
        axes.set_ylabel("cluster")
        figure.colorbar(shown, ax=axes, label="effect of the list", extend="both", aspect=14)
    return figure


def call_table(data: ReportData, final: str) -> Table:
    """One row per cluster: its label by the lists, and what it rests on.

    Parameters
    ----------
    data : tables and settings.
    final : title of the column of the cluster's most frequent label; "" where the lists gave it.
    """
    calls, rows = calls_of(data), []
    for cluster in data.clusters:
        own = calls.loc[cluster]
        row = [cluster, number(own["cells"])]
        if final:
            of_cluster = data.obs.loc[data.obs["cluster"] == cluster, "cell_type"]
            shares = of_cluster.value_counts(normalize=True)
            row.append(f"{shares.index[0]} ({percent(shares.iloc[0], 0)})")
        fits = " or ".join(split_set(own["types"])) if own["rule"] == SEVERAL else ""
        unclear = fits or ("no list" if own["label"] == UNASSIGNED else "")
        rows.append([*row, own["label"], unclear, f"{own['q']:.2g}", own["carried_by"] or "\u2013"])
    columns = ["cluster", "cells", *([final] if final else []), "label by marker lists",
               "not told apart", "q value", "genes that carried it"]  # fmt: skip
    numeric = [name in ("cells", "q value") for name in columns]
    return Table(columns, rows, numeric)


def coverage(data: ReportData) -> str:
    """How many clusters and cells got a label by the lists."""
    calls = calls_of(data)
    named = calls["label"] != UNASSIGNED
    cells, total = int(calls.loc[named, "cells"].sum()), int(calls["cells"].sum())
    kinds = calls.loc[named, "label"].nunique()
    return (
        f"Marker lists label {int(named.sum())} of {len(calls)} clusters with "
        f"{plural(kinds, 'type')}: {percent(cells / total, total)} of all cells."
    )


def warnings(data: ReportData) -> Iterator[Finding]:
    """Clusters without a clear label, and lists of which genes are missing."""
    calls = calls_of(data)
    if len(calls) == 1:
        yield Finding(
            "Marker lists: there is one cluster only, which can be compared with no other.",
            action="A higher cluster.choose gives more.",
        )
        return
    for cluster, own in calls[calls["rule"] == SEVERAL].iterrows():
        yield Finding(
            f"Cluster {cluster} fits several marker lists about as well: "
            f"{' or '.join(split_set(own['types']))}. It may hold several types.",
            pick=pick(cluster=str(cluster)),
            action="A higher cluster.choose may tell them apart.",
        )
    none = list(calls.index[(calls["label"] == UNASSIGNED) & (calls["rule"] != SEVERAL)])
    if none:
        yield Finding(
            f"Clusters that no marker list fits: {', '.join(none)}.",
            pick=pick(cluster=list(map(str, none))),
            action="Look at their markers; a list for their type may be missing.",
        )
    few, absent = [], []
    for name, rows in of_lists(data.marker_genes).groupby("type", sort=False):
        own = rows[rows["found"] != ""]
        if not (own["sign"] > 0).any():
            absent.append(name)
        elif len(own) < FEW_GENES:
            few.append(f"{name} ({len(own)})")
    if absent:
        yield Finding(
            f"Marker lists without a gene in the data, which are left out: {', '.join(absent)}.",
            action="Are genes written as in the data (symbols or ids)?",
        )
    if few:
        yield Finding(
            f"Marker lists of fewer than {FEW_GENES} genes, whose labels rest on single ones: "
            f"{', '.join(few)}.",
            action="Add genes to these lists.",
        )
    similar = of_lists(data.marker_genes)[
        of_lists(data.marker_genes)["similar"] != ""
    ].drop_duplicates("gene")
    if len(similar):
        names = [f"{row.gene} ({row.similar})" for row in similar.head(8).itertuples()]
        yield Finding(
            f"Marker genes that the data write in another way: {', '.join(names)}.",
            action="Write them in annotate.markers as the data do.",
        )


def missing_genes(data: ReportData) -> str:
    """Genes of the lists that the data lack, counted and named."""
    genes = of_lists(data.marker_genes).drop_duplicates("gene")
    lost = list(genes.loc[genes["found"] == "", "gene"])
    text = f"The data have {len(genes) - len(lost)} of the {len(genes)} genes of the lists."
    return f"{text} Missing: {', '.join(lost)}." if lost else text


def methods(data: ReportData) -> str:
    """Paragraph of the methods."""
    lists = of_lists(data.marker_scores)["type"].nunique()
    text = (
        f"Clusters were labelled by marker lists of {plural(lists, 'cell type')}. Genes were "
        "ranked within each cell (UCell's statistic, Andreatta and Carmona 2021). In each cluster "
        "the mean rank of a gene, less its mean over the clusters, was divided by its standard "
        "deviation over all cells; a list's effect is the sum over its genes divided by the root "
        "of their number, less the same of genes that the type lacks (as in ScType, Ianevski et "
        f"al. 2022). P values come from {LISTS:,} random lists of genes with similar mean ranks "
        "and were adjusted over the types (Benjamini-Hochberg). A cluster got the type of the "
        f"largest effect with a q value of at most {LIMIT:g} and a strength (effect over the root "
        f"of the number of genes) of at least {LEAST:g}, unless leaving out a single gene made "
        "another type the best."
    )
    if data.transferred:
        text += " These labels were compared with the transferred ones and changed none of them."
    return text
