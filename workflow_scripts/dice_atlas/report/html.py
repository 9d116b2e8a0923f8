"""The report's page: figures, tables and texts put into the template."""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from dice_atlas.files import atomic_path
from dice_atlas.marker_lists import calls
from dice_atlas.names import EMBEDDINGS, MARKERS
from dice_atlas.plots.categories import labels_of, unknown_labels
from dice_atlas.plots.points import MOST_POINTS
from dice_atlas.report import (
    annotation,
    changed_settings,
    composition,
    conditions,
    confidence_tables,
    disputes,
    input_tables,
    lying_apart,
    maps,
    marker_lists,
    tables,
)
from dice_atlas.report.answer import answer, facts, summary, unassigned_rules
from dice_atlas.report.data import ReportData
from dice_atlas.report.figures import DPI, draw
from dice_atlas.report.finding import pick_json
from dice_atlas.report.findings import look_first
from dice_atlas.report.methods import methods, references
from dice_atlas.report.qc import MOST_SAMPLES, MOST_VIOLINS
from dice_atlas.report.stages import MOST_GROUPS, dot_genes, type_dot_genes
from dice_atlas.texts import shown
from dice_atlas.viewer.columns import Orders
from dice_atlas.viewer.payload import Cells, Payload, ViewerSettings, make_payload

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportSettings:
    """Of the page.

    Attributes
    ----------
    title : None: the atlas's name.
    n_markers : top markers.
    viewer : what the map holds.
    defaults : a config that sets nothing; what differs from it is told first.
    names : cell types that are named on figures, see `maps.named`.
    """

    title: str | None
    n_markers: int
    viewer: ViewerSettings
    defaults: Mapping[str, Any]
    names: maps.Names

    @classmethod
    def from_config(
        cls, report: Mapping[str, Any], seed: int, defaults: Mapping[str, Any], names: Any = "all"
    ) -> "ReportSettings":
        """From the config's section `report`, seed, defaults of all keys, and `figures.names`."""
        viewer, asked = ViewerSettings.from_config(report, seed), maps.names_asked(names)
        return cls(report["title"], report["n_markers"], viewer, defaults, asked)


def image(path: str | Path) -> dict[str, Any]:
    """A PNG as a data URI, with the width and height it is shown at (CSS pixels)."""
    content = Path(path).read_bytes()
    # Width and height are big-endian words at the bytes 16 and 20 of a PNG.
    width, height = (int.from_bytes(content[i : i + 4], "big") * 100 // DPI for i in (16, 20))
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return {"src": source, "width": width, "height": height}


def all_tables(data: ReportData, n_markers: int) -> dict[str, tables.Table | None]:
    """The tables of the page by name; None where there is nothing to show."""
    called = list(data.settings.voters.all_calls) if data.transferred else []
    called += [MARKERS] if data.marker_calls is not None else []
    frequent = "most frequent label" if data.labels and not data.by_markers else ""
    metrics, embeddings = data.metrics, list(EMBEDDINGS)
    sure = "one possible label" if cautious(data) else "confident"
    return {
        "types": tables.type_table(data, sure) if data.transferred else None,
        "levels": tables.level_table(data),
        "agreement": tables.agreement_table(data, disputes.disputed(data))
        if data.transferred
        else None,
        "label_genes": tables.label_gene_table(data, n_markers) if data.transferred else None,
        "marker_lists": (
            None if data.marker_calls is None else marker_lists.call_table(data, frequent)
        ),
        "markers": tables.marker_table(data, n_markers) if len(data.markers) else None,
        "separation": tables.metric_table(metrics, tables.SEPARATION, embeddings, ["query"]),
        "reference": tables.metric_table(metrics, tables.SEPARATION, embeddings, ["reference"]),
        "mixing": tables.metric_table(metrics, tables.MIXING, embeddings, ["all"]),
        "transfer": tables.metric_table(metrics, tables.TRANSFER, called, ["query"]),
        "by_type": tables.by_type_table(metrics, called),
        "confusion": confusion_table(data),
        "clusters": clusters_table(data),
        "composition": composition.composition_table(data),
        "augment": tables.augment_table(data),
        "condition_genes": conditions.gene_table(data.conditions) if data.conditions else None,
        "condition_shares": conditions.share_table(data.conditions) if data.conditions else None,
        "qc": input_tables.qc_table(data.qc),
        "files": input_tables.file_table(data.provenance["inputs"]),
        "sets": confidence_tables.set_table(data) if data.transferred else None,
        "samples": (
            confidence_tables.sample_table(data) if data.transferred and len(data.query) else None
        ),
    }


def unknown(data: ReportData, names: maps.Names) -> list[str]:
    """What the section `figures` says of labels that the atlas lacks, a sentence each."""
    asked = names if isinstance(names, tuple) else ()
    said = [
        unknown_labels(data.settings.palette, labels_of(data.obs), "figures.palette"),
        unknown_labels(asked, data.labels, "figures.names"),
    ]
    return [sentence for sentence in said if sentence]


def cautious(data: ReportData) -> bool:
    """Whether no label may be called confident."""
    return data.transferred and disputes.falls_short(data)


def confusion_table(data: ReportData) -> tables.Table | None:
    """Truth against the final label; None without a truth."""
    if not (data.confusion["space"] == data.labelled_by).any():
        return None
    counts = annotation.confusion_counts(data.confusion, data.labelled_by)
    return tables.matrix_table(counts, "truth \\ label", "truth", "cell_type", "query")


def clusters_table(data: ReportData) -> tables.Table | None:
    """Clusters against cell types; None without types."""
    if not data.labels:
        return None
    return tables.matrix_table(
        annotation.cluster_counts(data), "cluster \\ type", "cluster", "cell_type"
    )


def visible(value: Any) -> Any:
    """A value of the page; characters of a text that nobody sees are written out."""
    return type(value)(shown(value)) if isinstance(value, str) else value


def css_text(text: str) -> str:
    """A text for a string of a style sheet: what is no letter, number or blank is escaped."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):x} " for c in text
    )


def page_environment(templates: Sequence[str | Path]) -> jinja2.Environment:
    """Where pages are made: templates that include each other by their file names."""
    texts = {Path(path).name: Path(path).read_text(encoding="utf-8") for path in templates}
    return jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
    )


def render(
    data: ReportData,
    payload: Payload,
    figures: Mapping[str, str | Path],
    settings: ReportSettings,
    name: str,
    templates: Sequence[str | Path],
) -> str:
    """The whole page.

    Parameters
    ----------
    data : tables and settings.
    payload : of the map.
    figures : PNG files by name; what is missing is left out of the page.
    settings : of the page.
    name : of the atlas, the title if settings give none.
    templates : jinja2 templates, that of the page first, then what it includes.

    Returns
    -------
    str
        HTML.
    """
    told = methods(data)
    environment = page_environment(templates)
    # The data's script comes first and the app's last; the others hold functions.
    scripts = [Path(path).name for path in templates if Path(path).suffix == ".js"]
    return environment.get_template(Path(templates[0]).name).render(
        title=settings.title or name,
        css_title=css_text(settings.title or name),
        name=name,
        data=data,
        config=data.config,
        facts=facts(data),
        answer=answer(data),
        summary=summary(data),
        cautious=cautious(data),
        apart=lying_apart.samples(data) if data.transferred else [],
        findings=[(one, pick_json(one.pick) if one.pick else "") for one in look_first(data)],
        payload=payload,
        viewer=settings.viewer,
        scripts=[name for name in scripts if name not in ("data.js", "app.js")],
        unassigned=unassigned_rules(data) if data.transferred and len(data.query) else "",
        methods=told,
        list_coverage=marker_lists.coverage(data) if data.marker_calls is not None else "",
        list_limits={"q": calls.LIMIT, "strength": calls.LEAST},
        list_genes=marker_lists.missing_genes(data) if data.marker_calls is not None else "",
        references=references(told),
        tables=all_tables(data, settings.n_markers),
        n_markers=settings.n_markers,
        n_dots=dot_genes(data, settings.n_markers)[1],
        n_type_dots=type_dot_genes(data, settings.n_markers)[1],
        most_groups=MOST_GROUPS,
        unknown=unknown(data, settings.names),
        n_drawn=min(len(data.obs), MOST_POINTS),
        versions=dict(data.provenance["versions"]),
        inputs=data.provenance["inputs"],
        config_text=changed_settings.config_text(data.config),
        origins=[title.lower() for title in maps.origins(data.obs).values()],
        bars=composition.bars(data),
        keys=composition.keys(data),
        changed=changed_settings.settings_table(
            data.config, settings.defaults, data.provenance["samples"]
        ),
        figures={key: image(path) for key, path in figures.items()},
        qc=(MOST_VIOLINS, MOST_SAMPLES),
    )


def cells_of(data: ReportData) -> Cells:
    """What the map's data are made of."""
    orders = Orders(data.labels, data.samples, data.colors)
    return Cells(data.obs, data.umap, data.truth, data.markers, data.label_genes, orders)


def write_report(
    data: ReportData,
    files: Mapping[str, Any],
    page: Path,
    folder: Path,
    settings: ReportSettings,
    name: str,
) -> None:
    """Draw the figures and write the page.

    Parameters
    ----------
    data : see `read_report_data`.
    files : the rule's named inputs.
    page : HTML file to write.
    folder : where the figures go, as PNG files.
    settings : of the page.
    name : of the atlas.
    """
    for sentence in unknown(data, settings.names):
        logger.warning("%s", sentence)
    payload = make_payload(files["atlas"], cells_of(data), settings.viewer)
    figures = draw(data, settings.n_markers, folder, settings.names)
    text = render(data, payload, figures, settings, name, files["templates"])
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8")
