"""Tables of the page: what stands in which field, as texts; the template draws them."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from dice_atlas.names import UNASSIGNED
from dice_atlas.report.data import ReportData, of_transfer, top_markers
from dice_atlas.report.finding import pick, pick_json
from dice_atlas.synthesis.names import REGRESSION

# Metric, what it is called, whether up is better (None: neither).
SEPARATION = {
    "silhouette": ("Silhouette of the types (cosine)", True),
    "clisi": ("cLISI", False),
    "clisi_nn9": ("cLISI of 9 neighbours", False),
    "n_clusters": ("Clusters of the query alone", None),
    "ari": ("ARI of these clusters", True),
    "ari_reference": ("ARI at the resolution that the reference chooses", True),
    "atlas_ari": ("ARI of the atlas's clusters", True),
    "nmi": ("NMI of these clusters", True),
    "nmi_max": ("NMI, divided by the larger entropy", True),
    "knn_accuracy": ("Accuracy of 15 nearest reference cells", True),
    "knn_balanced_accuracy": ("the same, balanced over types", True),
}
MIXING = {
    "ilisi_role": ("iLISI of reference and query", True),
    "ilisi_batch": ("iLISI of batches", True),
}
TRANSFER = {
    "accuracy": ("Accuracy (unassigned counts as wrong)", True),
    "accuracy_known": ("the same, of types that the reference has", True),
    "accuracy_assigned": ("Accuracy of the assigned cells", True),
    "accuracy_top": ("Accuracy of the best label of all cells", True),
    "balanced_accuracy": ("Balanced accuracy", True),
    "macro_f1": ("Macro F1", True),
    "unassigned": ("Share unassigned", None),
    "set_coverage": ("Prediction sets that hold the truth", None),
    "set_coverage_known": ("the same, of types that the reference has", None),
    "set_size": ("Mean size of a prediction set", None),
    "set_ambiguous": ("Sets with more than one label", None),
    "set_empty": ("Empty sets", None),
    "expected_calibration_error": ("Calibration error of the score on this truth", False),
}
ARROWS = {True: " ↑", False: " ↓", None: ""}
# Metrics of one type each, and what their columns are called.
BY_TYPE = {"recall": "right", "set_coverage": "in set"}
# How the note of such a metric begins: with its cells.
BY_TYPE_NOTE = re.compile(r"^(\d+) cell")


@dataclass
class Table:
    """Texts of a table.

    Attributes
    ----------
    columns, rows
        Texts, row by row.
    numeric
        Columns that are set to the right.
    best
        (row, column) of the fields in bold.
    starts
        Rows that begin a group.
    notes, general
        Footnotes that rows point to, and what holds for the whole table.
    picks
        Cells that a field stands for, by (row, column): a click selects them on the map.
    shares
        Fields with a bar or a shade behind them, by (row, column): 0 to 1.
    genes
        Genes that a field names, by (row, column): a click colours the map.
    gene_lists
        Genes and their numbers of a field that lists some, by (row, column).
    searchable
        Whether a box over the table finds rows by their texts.
    kind
        "" or "matrix": names over narrow columns, shades in place of bars.
    """

    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    best: set[tuple[int, int]] = field(default_factory=set)
    starts: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    general: list[str] = field(default_factory=list)
    picks: dict[tuple[int, int], str] = field(default_factory=dict)
    shares: dict[tuple[int, int], float] = field(default_factory=dict)
    genes: dict[tuple[int, int], str] = field(default_factory=dict)
    gene_lists: dict[tuple[int, int], list[tuple[str, str]]] = field(default_factory=dict)
    searchable: bool = False
    kind: str = ""

    @property
    def sortable(self) -> bool:
        """Whether a reader may sort the rows: those of groups and totals belong where they are."""
        return len(self.rows) > 2 and not self.starts and not self.kind


def number(value: float, digits: int | None = None) -> str:
    """A number for a reader: thousands separated, a dash for none.

    Parameters
    ----------
    digits : decimals; None: none for a whole number, else one.
    """
    if value is None or np.isnan(value):
        return "–"
    if digits is None:
        digits = 0 if float(value).is_integer() else 1
    return f"{value:,.{digits}f}"


def percent(share: float, n: int) -> str:
    """A share of n cells, with a decimal from 1,000 on; never "0%" or "100%" where it is not so."""
    if np.isnan(share):
        return "–"
    digits = 1 if n >= 1000 else 0
    text = f"{share:.{digits}%}"
    least = 10.0**-digits
    if share > 0 and float(text[:-1]) == 0:
        return f"<{least:g}%"
    if share < 1 and float(text[:-1]) == 100:
        return f">{100 - least:g}%"
    return text if 0 < share < 1 else f"{share:.0%}"


def metric_table(
    metrics: pd.DataFrame, names: Mapping[str, tuple], columns: Sequence[str], cells: Sequence[str]
) -> Table | None:
    """Metrics in rows, embeddings or spaces in columns, the best of a row in bold.

    Parameters
    ----------
    metrics : metrics.tsv.
    names : of the metrics to show: title, and whether up is better (None: neither).
    columns : embeddings or spaces.
    cells : kinds of cells whose metrics count: query, reference or all.

    Returns
    -------
    Table or None
        None where no metric has a value.
    """
    table = Table(["metric", *columns], [], [False, *[True] * len(columns)])
    found = metrics[metrics["metric"].isin(list(names)) & metrics["cells"].isin(cells)]
    found = found[found["embedding"].isin(columns)].drop_duplicates(["metric", "embedding"])
    parts = found["note"].map(lambda note: {part for part in note.split("; ") if part})
    everywhere = set.intersection(*parts) if len(parts) else set()
    table.general = sorted(everywhere)
    for metric, (title, up) in names.items():
        some = found["metric"] == metric
        if not some.any():
            continue
        values = found[some].set_index("embedding")["value"].reindex(list(columns)).astype(float)
        digits = 0 if metric == "n_clusters" else 3
        shown = [number(value, digits) for value in values]
        if up is not None and len(set(shown)) > 1:
            # Values that look the same to the reader are equally good.
            best = number(values.max() if up else values.min(), digits)
            row = len(table.rows)
            table.best |= {(row, j + 1) for j, text in enumerate(shown) if text == best}
        shared = set.intersection(*parts[some])
        own = {
            f"{column}: {note}"
            for column, notes in zip(found.loc[some, "embedding"], parts[some], strict=True)
            for note in notes - shared
        }
        marks = footnotes(table, (shared | own) - everywhere)
        table.rows.append([title + ARROWS[up] + marks, *shown])
    return table if found["value"].notna().any() else None


def footnotes(table: Table, notes: set[str]) -> str:
    """Put notes under the table; returns the marks that point to them."""
    table.notes += sorted(notes - set(table.notes))
    marks = sorted(table.notes.index(note) + 1 for note in notes)
    return f" [{', '.join(map(str, marks))}]" if marks else ""


def by_type_table(metrics: pd.DataFrame, spaces: Sequence[str]) -> Table | None:
    """Share of each true type that got its label, and whose prediction set holds it, per space."""
    parts = metrics["metric"].str.extract(r"^(?P<kind>\w+):(?P<type>.*)$", flags=re.DOTALL)
    found = metrics.assign(**parts)
    found = found[found["kind"].isin(list(BY_TYPE)) & found["embedding"].isin(spaces)]
    if found.empty:
        return None
    found["n"] = found["note"].str.extract(BY_TYPE_NOTE, expand=False).astype(float)
    wide = found.pivot_table(index=["type", "n"], columns=["kind", "embedding"], values="value")
    columns = [(kind, space) for kind in BY_TYPE for space in spaces]
    # Labels by marker lists have no sets.
    columns = [column for column in columns if column in wide]
    wide = wide[columns].sort_index(level="n", ascending=False)
    rows = [
        [str(label), number(n), *(number(value, 2) for value in values)]
        for (label, n), values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    titles = [f"{BY_TYPE[kind]}, {space}" for kind, space in columns]
    return Table(["true type", "cells", *titles], rows, [False, *[True] * (len(titles) + 1)])


def confident(query: pd.DataFrame) -> np.ndarray:
    """Cells that are assigned and whose prediction set holds that one label (mask)."""
    return (
        (query["cell_type"] != UNASSIGNED) & (query["cell_type_set"] == query["cell_type"])
    ).to_numpy()


def type_table(data: ReportData, sure_title: str = "confident") -> Table | None:
    """One row per cell type: the reference's cells, the query's, and how sure their labels are.

    Parameters
    ----------
    sure_title : what a label is called that is the only one in its set.
    """
    query, reference = data.query, data.reference
    if query.empty:
        return None
    columns = [
        "cell type", "reference cells", "query cells", "share of query", "median score",
        "median entropy", "median anchors", sure_title, "median uncertainty",
    ]  # fmt: skip
    rows: list[list[str]] = []
    picks: dict[tuple[int, int], str] = {}
    shares: dict[tuple[int, int], float] = {}
    for label in [*data.labels, UNASSIGNED]:
        cells = query[query["cell_type"] == label]
        given = int((reference["cell_type"] == label).sum())
        if not len(cells) and not given:
            continue
        sure = confident(cells).mean() if len(cells) else np.nan
        picks[len(rows), 0] = pick_json(pick(cell_type=label))
        shares |= {(len(rows), 3): len(cells) / len(query), (len(rows), 7): sure}
        rows.append(
            [
                label,
                number(given),
                number(len(cells)),
                percent(len(cells) / len(query), len(query)),
                number(cells["cell_type_score"].median(), 2),
                number(cells["cell_type_entropy"].median(), 2),
                number(cells["cell_type_n_anchors"].median()),
                percent(sure, 0),
                number(cells["dice_uncertainty"].median(), 1),
            ]
        )
    shares = {field: share for field, share in shares.items() if not np.isnan(share)}
    numeric = [False, *[True] * (len(columns) - 1)]
    return Table(columns, rows, numeric, picks=picks, shares=shares)


def level_table(data: ReportData) -> Table | None:
    """Labels and sets at each level of the held-out cells and of the query; None with one level."""
    if data.levels is None:
        return None
    heads = {
        "labelled": "labelled", "right": "of these right", "coverage": "sets that hold the truth",
        "set_size": "labels in a set", "reached": "cells whose back-off is here",
    }  # fmt: skip
    rows: list[list[str]] = []
    starts: set[int] = set()
    for kind, own in data.levels.groupby("cells", sort=False):
        starts.add(len(rows))
        n = int(own["n_cells"].iloc[0])
        for row in own.to_dict("records"):
            shown = [number(row[c], 2) if c == "set_size" else percent(row[c], n) for c in heads]
            rows.append([str(kind), number(n), row["level"], number(row["labels"]), *shown])
    columns = ["cells", "number", "level", "labels", *heads.values()]
    numeric = [False, True, False, *[True] * (len(columns) - 3)]
    return Table(columns, rows, numeric, starts=starts)


def agreement_table(data: ReportData, disputed: Container[str] = ()) -> Table | None:
    """One row per cluster: the query's most frequent label, that of each voter, the reference's.

    Parameters
    ----------
    disputed : clusters whose label is.
    """
    agreement, final = of_transfer(data.cluster_labels), data.settings.voters.final
    others = [name for name in dict.fromkeys(agreement["space"]) if name != final]
    columns = ["cluster", "query cells", "label", "disputed", "with this label", "unassigned"]
    columns += [f"label in {name}" for name in others]
    columns += ["reference cells", "their label", "with their label"]
    rows = []
    for cluster in data.clusters:
        of_cluster = agreement[agreement["cluster"] == cluster]
        own = of_cluster.set_index("space")
        first = own.iloc[0]
        one, n = own.loc[final], int(first["query_cells"])
        row = [cluster, number(n), one["label"] or "–", "yes" if cluster in disputed else "no"]
        # Of a cluster that is mostly unassigned no label has a share.
        share = np.nan if one["label"] == UNASSIGNED else one["agreement"]
        row += [percent(share, n), percent(one["unassigned"], n)]
        row += [own.loc[name, "label"] or "–" for name in others]
        n = int(first["reference_cells"])
        row += [number(n), first["reference_label"] or "–"]
        rows.append([*row, percent(first["reference_agreement"], n)])
    numeric = [False, True, False, False, True, True, *[False] * len(others), True, False, True]
    picks = {(i, 0): pick_json(pick(cluster=row[0])) for i, row in enumerate(rows)}
    return Table(columns, rows, numeric, picks=picks)


def matrix_table(
    counts: pd.DataFrame, title: str, rows: str, columns: str, role: str = ""
) -> Table:
    """A table of counts whose fields select their cells.

    Parameters
    ----------
    counts : cells by two columns of obs.
    title : of the first column.
    rows, columns : columns of obs that the rows and the columns are values of.
    role : of the cells that were counted; "": all.
    """
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    table = Table(
        [title, *map(str, counts.columns)], [], [False, *[True] * counts.shape[1]], kind="matrix"
    )
    own = {"role": role} if role else {}
    for i, name in enumerate(map(str, counts.index)):
        table.rows.append([name, *(f"{n:,}" if n else "" for n in counts.iloc[i])])
        table.picks[i, 0] = pick_json(pick(**own, **{rows: name}))
        for j, column in enumerate(map(str, counts.columns)):
            if counts.iat[i, j]:
                table.picks[i, j + 1] = pick_json(pick(**own, **{rows: name, columns: column}))
                table.shares[i, j + 1] = float(shares[i, j])
    return table


def augment_table(data: ReportData) -> Table | None:
    """Synthetic cells of each rare label, and its recall with them and with other remedies.

    None where no synthetic cells were added. Of a logistic regression, which all remedies are for.
    """
    if data.augmented is None or data.augment_scores is None:
        return None
    scores = data.augment_scores[data.augment_scores["classifier"] == REGRESSION]
    values = scores.set_index(["remedy", "label"])["value"]
    remedies = list(dict.fromkeys(scores["remedy"]))
    rare = data.augmented[data.augmented["synthetic_cells"] > 0]
    rows = []
    for row in rare.itertuples():
        found = (values.get((remedy, row.label), np.nan) for remedy in remedies)
        shown = (percent(value, row.real_cells) for value in found)
        rows.append([row.label, number(row.real_cells), number(row.synthetic_cells), *shown])
    if not rows:
        return None
    total = [values.get((remedy, ""), np.nan) for remedy in remedies]
    best = {(len(rows), 3 + i) for i, value in enumerate(total) if value == np.nanmax(total)}
    rows.append(["macro F1 of all labels", "", "", *(number(value, 3) for value in total)])
    heads = ["label", "real cells", "synthetic cells", *(f"right: {r}" for r in remedies)]
    numeric = [False, *[True] * (len(heads) - 1)]
    return Table(heads, rows, numeric, best, starts={len(rows) - 1})


def label_gene_table(data: ReportData, n: int) -> Table | None:
    """The first n genes behind each label: against all others, and against the nearest."""
    columns = ["cell type", "reference cells", "genes that set it apart", "nearest type",
               "genes that set it apart from that"]  # fmt: skip
    table = Table(columns, [], [False, True, False, False, False])
    label_genes = of_transfer(data.label_genes)
    for label in data.labels:
        genes = label_genes[label_genes["label"] == label]
        if genes.empty:
            continue
        # Two blocks, each by rank: a type may be called as the first is.
        block = (genes["rank"] == 1).cumsum()
        lists = [
            list(zip(top["gene"], map("{:+.1f}".format, top["weight"]), strict=True))
            for _, top in genes.groupby(block).head(n).groupby(block)
        ]
        texts = [", ".join(map(" ".join, pairs)) for pairs in lists]
        nearest, row = genes["against"].iloc[-1], len(table.rows)
        table.gene_lists |= {(row, 2): lists[0], (row, 4): lists[1]}
        table.rows.append([label, number(genes["cells"].iloc[0]), texts[0], nearest, texts[1]])
    return table if table.rows else None


def fold_change(value: float) -> str:
    """A log2 fold change; a gene that is absent elsewhere has no finite one."""
    return f"{value:+.1f}" if value < 10 else ">10"


def marker_table(data: ReportData, n: int) -> Table:
    """Top markers, one row per gene, with its cluster and the cluster's most frequent label.

    Parameters
    ----------
    data : tables and settings.
    n : markers of each cluster.
    """
    top = top_markers(data.markers, n)
    types = ["most frequent type"] if data.labels else []
    columns = ["cluster", "cells", *types, "gene", "log2 fold change", "cells in", "cells out"]
    numeric = [False, True, *[False] * len(types), False, True, True, True]
    table, gene = Table(columns, [], numeric, searchable=True), 2 + len(types)
    for cluster in data.clusters:
        cells = data.obs[data.obs["cluster"] == cluster]["cell_type"]
        shares = cells.value_counts(normalize=True)
        head = [cluster, number(len(cells))]
        if data.labels:
            head.append(f"{shares.index[0]} ({percent(shares.iloc[0], 0)})")
        for row in top[top["cluster"] == cluster].itertuples():
            place = len(table.rows)
            table.picks[place, 0] = pick_json(pick(cluster=cluster))
            table.genes[place, gene] = str(row.gene)
            shares_text = [f"{row.share_in:.0%}", f"{row.share_out:.0%}"]
            table.rows.append([*head, row.gene, fold_change(row.log2_fold_change), *shares_text])
        if not (top["cluster"] == cluster).any():
            table.rows.append([*head, "–", "–", "–", "–"])
    return table
