"""render_report: the HTML report and its figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from dice_atlas.files import atomic_path
from dice_atlas.report import annotation, maps, stages
from dice_atlas.report.data import ReportData, read_report_data
from dice_atlas.report.html import DPI, render
from matplotlib.figure import Figure
from PIL import Image


def drawings(data: ReportData, n_markers: int) -> dict[str, Callable[[], Figure]]:
    """The figures that the atlas at hand allows, by file name."""
    seed, final = int(data.config["seed"]), data.config["annotate"]["final"]
    wanted: dict[str, Callable[[], Figure]] = {
        "umap_types": lambda: maps.umap_types(data, seed),
        "umap_confidence": lambda: maps.umap_confidence(data, seed),
        "composition": lambda: annotation.composition(data),
        "fit_and_training": lambda: stages.fit_and_training(data),
    }
    if len(data.samples) > 1:
        wanted["umap_origin"] = lambda: maps.umap_origin(data, seed)
    if data.labels:
        wanted["clusters_by_type"] = lambda: annotation.clusters_by_type(data)
    if len(data.expression):
        wanted["markers"] = lambda: stages.marker_dots(data, n_markers)
    if data.transferred and len(data.query):
        wanted["reliability"] = lambda: annotation.reliability(data)
    if (data.confusion["space"] == final).any():
        wanted["confusion"] = lambda: annotation.confusion(data, final)
    return wanted


def draw(data: ReportData, n_markers: int, folder: Path) -> dict[str, Path]:
    """Write every figure as PNG; returns the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, drawing in drawings(data, n_markers).items():
        paths[name] = folder / f"{name}.png"
        save_png(drawing(), paths[name])
    return paths


def save_png(figure: Figure, path: Path) -> None:
    """Write and close a figure, in 256 colours: a third of the size, and no eye sees it."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def write_report(
    files: Mapping[str, Any], page: Path, folder: Path, settings: Mapping[str, Any], name: str
) -> None:
    """Draw the figures into `folder` and write the `page`.

    Parameters
    ----------
    files : the rule's named inputs.
    settings : config section `report`.
    name : of the atlas.
    """
    data = read_report_data(files, settings["n_markers"])
    figures = draw(data, settings["n_markers"], folder)
    qc_figures = {Path(path).parent.name: path for path in files["qc_figures"]}
    text = render(data, figures, qc_figures, settings, name, files["template"])
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]):
        write_report(
            dict(snakemake.input.items()),
            Path(snakemake.output.report),
            Path(snakemake.output.figures),
            snakemake.params.report,
            snakemake.params.atlas_name,
        )
