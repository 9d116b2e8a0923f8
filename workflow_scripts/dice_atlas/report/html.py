"""The report's page: figures and tables put into the template."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from dice_atlas.report.data import ReportData
from dice_atlas.report.stages import top_markers

EMBEDDINGS = ("pca", "harmony", "dice")
# Metric, what it is called, whether up is better.
SEPARATION = {
    "silhouette": ("Silhouette (cosine)", True),
    "clisi": ("cLISI", False),
    "clisi_nn9": ("cLISI of 9 neighbours", False),
    "ari": ("ARI of clusters found without labels", True),
    "nmi": ("NMI", True),
    "nmi_max": ("NMI (divided by the larger entropy)", True),
    "knn_accuracy": ("Accuracy of 15 nearest reference cells", True),
    "knn_balanced_accuracy": ("the same, balanced", True),
    "ilisi_role": ("iLISI of reference and query", True),
    "ilisi_batch": ("iLISI of batches", True),
}
TRANSFER = {
    "accuracy": ("Accuracy (unassigned counts as wrong)", True),
    "accuracy_top": ("Accuracy of the best label, below the threshold too", True),
    "balanced_accuracy": ("Balanced accuracy", True),
    "macro_f1": ("Macro F1", True),
    "accuracy_assigned": ("Accuracy of the assigned cells", True),
    "unassigned": ("Share unassigned", None),
    "set_coverage": ("Prediction sets that hold the truth", None),
    "set_size": ("Mean size of a prediction set", False),
    "set_ambiguous": ("Sets with more than one label", None),
    "expected_calibration_error": ("Expected calibration error", False),
}


def image(path: str | Path) -> dict[str, Any]:
    """A PNG as a data URI, with the width it is shown at: half its pixels, sharp on any screen."""
    content = Path(path).read_bytes()
    # The width is a big-endian word at byte 16 of a PNG.
    width = int.from_bytes(content[16:20], "big") // 2
    return {"src": "data:image/png;base64," + base64.b64encode(content).decode(), "width": width}


def number(value: Any, digits: int = 3) -> str:
    """A number for a reader: thousands separated, `digits` significant decimals, dash for none."""
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, str | bool | np.bool_):
        return html.escape(str(value))
    if isinstance(value, int | np.integer) or (float(value).is_integer() and abs(value) >= 1):
        return f"{int(value):,}"
    return f"{value:.{digits}f}"


def table(frame: pd.DataFrame, digits: int = 3, marked: Mapping | None = None) -> str:
    """An HTML table; cells whose (row, column) position is in `marked` are in bold."""
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    head = "".join(
        f"<th scope='col'{' class=n' if right else ''}>{html.escape(str(name))}</th>"
        for name, right in zip(frame.columns, numeric, strict=True)
    )
    body = []
    for i, row in enumerate(frame.itertuples(index=False)):
        cells = []
        for j, value in enumerate(row):
            text = number(value, digits)
            kind = "" if isinstance(value, str) else " class='n'"
            strong = f"<strong>{text}</strong>" if marked and (i, j) in marked else text
            cells.append(f"<td{kind}>{strong}</td>")
        body.append("<tr>" + "".join(cells) + "</tr>")
    return (
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def metric_table(
    metrics: pd.DataFrame, names: Mapping[str, tuple], columns: Sequence[str], cells: Sequence[str]
) -> str:
    """Metrics in rows, embeddings or spaces in columns, the best of a row in bold."""
    rows, marked = [], {}
    for metric, (title, up) in names.items():
        found = metrics[(metrics["metric"] == metric) & metrics["cells"].isin(cells)]
        values = found.drop_duplicates("embedding").set_index("embedding")["value"]
        values = values.reindex(list(columns)).astype(float)
        if values.notna().any():
            arrow = {True: " ↑", False: " ↓", None: ""}[up]
            if up is not None and values.nunique() > 1:
                best = values.max() if up else values.min()
                for j, value in enumerate(values):
                    if value == best:
                        marked[len(rows), j + 1] = True
            rows.append([title + arrow, *values])
    return table(pd.DataFrame(rows, columns=["metric", *columns]), marked=marked) if rows else ""


def type_table(data: ReportData) -> str:
    """One row per cell type of the query."""
    query = data.query
    if query.empty:
        return ""
    groups = query.groupby("cell_type", sort=False)
    frame = pd.DataFrame(
        {
            "query cells": groups.size(),
            "share": groups.size() / len(query),
            "median score": groups["cell_type_score"].median(),
            "median entropy": groups["cell_type_entropy"].median(),
            "median anchors": groups["cell_type_n_anchors"].median(),
            "mean set size": groups["cell_type_set"].agg(
                lambda sets: float(np.mean([len(s.split("|")) if s else 0 for s in sets]))
            ),
            "median dice_uncertainty": groups["dice_uncertainty"].median(),
        }
    ).sort_values("query cells", ascending=False)
    reference = data.obs[data.obs["role"] == "reference"]["cell_type"].value_counts()
    frame.insert(0, "reference cells", reference.reindex(frame.index).fillna(0).astype(int))
    return table(frame.reset_index(names="cell type"), 2)


def marker_table(data: ReportData, n: int) -> str:
    """Top markers, one row per cluster, with the cluster's most frequent label."""
    rows = []
    top = top_markers(data.markers, n)
    for cluster in data.clusters:
        cells = data.obs[data.obs["cluster"] == cluster]["cell_type"]
        shares = cells.value_counts(normalize=True)
        genes = [
            f"{row.gene} ({fold_change(row.log2_fold_change)}; "
            f"{row.share_in:.0%} / {row.share_out:.0%})"
            for row in top[top["cluster"] == cluster].itertuples()
        ]
        most = f"{shares.index[0]} ({shares.iloc[0]:.0%})"
        rows.append([cluster, len(cells), most, ", ".join(genes) or "–"])
    columns = ["cluster", "cells", "most frequent type", "marker (log2 fold change; in / out)"]
    return table(pd.DataFrame(rows, columns=columns))


def fold_change(value: float) -> str:
    """A log2 fold change; a gene that is absent elsewhere has no finite one."""
    return f"{value:+.1f}" if value < 10 else "> 10"


def qc_table(qc: pd.DataFrame) -> str:
    """The QC summary with readable column names; limits that were not used are left out."""
    frame = qc.loc[:, [c for c in qc if c != "mito_pattern" and (qc[c].astype(str) != "").any()]]
    frame = frame.loc[:, frame.notna().any()]
    return table(frame.rename(columns=lambda c: c.replace("_", " ")), 2)


def metric(data: ReportData, name: str, embedding: str, cells: str = "query") -> float | None:
    """One value of metrics.tsv, or None."""
    rows = data.metrics
    rows = rows[
        (rows["metric"] == name) & (rows["embedding"] == embedding) & (rows["cells"] == cells)
    ]
    return float(rows["value"].iloc[0]) if len(rows) else None


def warnings(data: ReportData) -> list[str]:
    """What a reader should look at first."""
    found = []
    for row in data.qc.to_dict("records"):
        rate = row.get("doublet_rate")
        if isinstance(rate, float) and rate > 0.1:
            found.append(f"Sample {row['sample']}: {rate:.0%} of its cells look like doublets.")
        if row["cells_kept"] < 0.5 * row["cells_in"]:
            found.append(
                f"Sample {row['sample']}: only {row['cells_kept']:,} of {row['cells_in']:,} cells "
                "passed quality control."
            )
    if data.transferred and len(data.query):
        lost = (data.query["cell_type"] == "unassigned").mean()
        if lost > 0.2:
            found.append(f"{lost:.0%} of the query cells are unassigned.")
        for cluster, cells in data.query.groupby("cluster"):
            share = (cells["cell_type"] == "unassigned").mean()
            if len(cells) >= 10 and share > 0.5:
                found.append(
                    f"Cluster {cluster}: {share:.0%} of its {len(cells):,} query cells are "
                    "unassigned; a cell type that the reference lacks?"
                )
        empty = (data.query["cell_type_set"] == "").mean()
        if empty > 0.05:
            found.append(
                f"{empty:.0%} of the query cells have an empty prediction set: no label fits them "
                "as well as the reference's own cells fit theirs."
            )
        small = data.obs[data.obs["role"] == "reference"]["cell_type"].value_counts()
        few = [f"{label} ({n})" for label, n in small.items() if n < 40 and label != "unassigned"]
        if few:
            found.append(
                "Cell types with fewer than 40 reference cells, whose scores and sets are less "
                f"certain: {', '.join(few)}."
            )
    note = data.provenance.get("dice", {}).get("note")
    if note:
        found.append(f"Denoising: {note}.")
    return found


def summary(data: ReportData) -> str:
    """The first paragraph, in words."""
    obs = data.obs
    parts = []
    for role in ("reference", "query"):
        cells = obs[obs["role"] == role]
        if len(cells):
            n = cells["sample"].nunique()
            parts.append(f"{len(cells):,} {role} cells of {n} sample{'s' if n > 1 else ''}")
    text = f"This atlas holds {len(obs):,} cells: {' and '.join(parts)}, "
    text += f"in {len(data.clusters)} clusters. "
    if not data.transferred:
        return text + "No labels were transferred."
    query, settings = data.query, data.config["annotate"]
    assigned = query["cell_type"] != "unassigned"
    one = query["cell_type_set"].map(lambda s: bool(s) and "|" not in s)
    text += (
        f"Labels come from {len(data.labels)} reference types, transferred in the "
        f"{'denoised (DICE)' if settings['final'] == 'dice' else 'PCA'} space. "
        f"{assigned.mean():.1%} of the query cells have a label with a score of at least "
        f"{settings['unassigned_below']:g}; for {one.mean():.1%} the prediction set at "
        f"{settings['coverage']:.0%} coverage holds one label only."
    )
    accuracy = metric(data, "accuracy_assigned", settings["final"])
    if accuracy is not None:
        text += f" Against the given truth, {accuracy:.1%} of the assigned cells are right."
    return text


def footnotes(metrics: pd.DataFrame) -> list[str]:
    """Distinct notes of the metrics that are shown."""
    shown = metrics["metric"].isin([*SEPARATION, *TRANSFER])
    notes = metrics[shown & (metrics["note"] != "")]
    return [
        f"{', '.join(sorted(set(group['metric'])))}: {note}"
        for note, group in notes.groupby("note", sort=False)
    ]


def render(
    data: ReportData,
    figures: Mapping[str, str | Path],
    qc_figures: Mapping[str, str | Path],
    settings: Mapping[str, Any],
    name: str,
    template_path: str | Path,
) -> str:
    """The whole page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(template_path).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    spaces = [s for s in data.config["annotate"]["spaces"] if data.transferred]
    tables = {
        "types": type_table(data) if data.transferred else "",
        "markers": marker_table(data, settings["n_markers"]),
        "separation": metric_table(data.metrics, SEPARATION, EMBEDDINGS, ("query", "all")),
        "reference": metric_table(data.metrics, SEPARATION, EMBEDDINGS, ("reference",)),
        "transfer": metric_table(data.metrics, TRANSFER, spaces, ("query",)) if spaces else "",
        "qc": qc_table(data.qc),
    }
    provenance = data.provenance
    return environment.get_template(Path(template_path).name).render(
        title=settings["title"] or name,
        name=name,
        data=data,
        config=data.config,
        dice=provenance.get("dice", {}),
        prior=provenance.get("prior", {}),
        versions=dict(provenance["versions"]),
        inputs=provenance["inputs"],
        config_json=json.dumps(data.config, indent=2),
        summary=summary(data),
        warnings=warnings(data),
        tables={key: Markup(value) for key, value in tables.items()},
        notes=footnotes(data.metrics),
        has_truth=bool(len(data.confusion)),
        n_selected=int((data.genes["selected"].astype(str) == "True").sum()),
        figures={key: image(path) for key, path in figures.items()},
        qc_figures={sample: image(path) for sample, path in qc_figures.items()},
        number=number,
    )
