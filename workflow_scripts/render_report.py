"""render_report: the HTML report and its figures."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from dice_atlas.report import annotation, maps, stages
from dice_atlas.report.data import ReportData, read_report_data
from dice_atlas.report.html import render
from matplotlib.figure import Figure


def drawings(data: ReportData, n_markers: int) -> dict[str, Callable[[], Figure]]:
    """The figures that the atlas at hand allows, by file name."""
    seed = int(data.config["seed"])
    final = data.config["annotate"]["final"]
    wanted: dict[str, Callable[[], Figure]] = {
        "umap_types": lambda: maps.umap_types(data, seed),
        "umap_origin": lambda: maps.umap_origin(data, seed),
        "umap_confidence": lambda: maps.umap_confidence(data, seed),
        "composition": lambda: annotation.composition(data),
        "clusters_by_type": lambda: annotation.clusters_by_type(data),
        "fit_and_training": lambda: stages.fit_and_training(data),
    }
    if len(data.markers):
        wanted["markers"] = lambda: stages.marker_dots(data, n_markers)
    if data.transferred and len(data.query):
        wanted["reliability"] = lambda: annotation.reliability(data)
    if len(data.confusion[data.confusion["space"] == final]):
        wanted["confusion"] = lambda: annotation.confusion(data, final)
    return wanted


def draw(data: ReportData, n_markers: int, folder: Path) -> dict[str, Path]:
    """Write every figure as PNG; returns the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, drawing in drawings(data, n_markers).items():
        paths[name] = folder / f"{name}.png"
        figure = drawing()
        figure.savefig(paths[name], dpi=200, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
    return paths


if __name__ == "__main__":
    from dice_atlas.files import atomic_path
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        data = read_report_data(dict(snakemake.input.items()))
        settings = snakemake.params.report
        figures = draw(data, settings["n_markers"], Path(snakemake.output.figures))
        qc_figures = {Path(path).parent.name: path for path in snakemake.input.qc_figures}
        page = render(
            data,
            figures,
            qc_figures,
            settings,
            snakemake.params.atlas_name,
            snakemake.input.template,
        )
        with atomic_path(snakemake.output.report) as path:
            path.write_text(page, encoding="utf-8")
