"""The figures of the page: which there are, drawn and written."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from dice_atlas.plots.style import styled
from dice_atlas.report import annotation, composition, conditions, maps, marker_lists, qc, stages
from dice_atlas.report.data import ReportData

# Figures have so many pixels to the inch; a browser shows 100 of its own.
DPI = 200


def drawings(
    data: ReportData, n_markers: int, names: maps.Names = None
) -> dict[str, Callable[[], Figure]]:
    """The figures that the atlas at hand allows, by file name; `names`: see `maps.named`."""
    seed, final = int(data.config["seed"]), data.labelled_by
    possible: dict[str, Callable[[], Figure]] = {
        "umap_types": lambda: maps.umap_types(data, seed, names=names),
        "umap_confidence": lambda: maps.umap_confidence(data, seed),
        "composition": lambda: composition.composition(data),
        "qc": lambda: qc.qc_figure(data.qc_cells, data.qc),
        "fit_and_training": lambda: stages.fit_and_training(data),
        "resolutions": lambda: stages.resolutions(data),
    }
    if len(data.samples) > 1:
        possible["umap_origin"] = lambda: maps.umap_origin(data, seed)
    # By marker lists every cell of a cluster has its label.
    if data.labels and not data.by_markers:
        possible["clusters_by_type"] = lambda: annotation.clusters_by_type(data)
    if len(data.expression):
        possible["markers"] = lambda: stages.marker_dots(data, n_markers)
    if data.labels and stages.type_dot_genes(data, n_markers)[0]:
        possible["markers_by_type"] = lambda: stages.type_dots(data, n_markers)
    if data.transferred and len(data.query):
        possible["reliability"] = lambda: annotation.reliability(data)
    if data.marker_calls is not None:
        possible["marker_lists"] = lambda: marker_lists.heat_map(data)
    if (data.confusion["space"] == final).any():
        possible["confusion"] = lambda: annotation.confusion(data, final)
    if found := data.conditions:
        if found.genes["p_value"].notna().any():
            possible["condition_genes"] = lambda: conditions.volcano(found)
        if found.shares["p_value"].notna().any():
            possible["condition_shares"] = lambda: conditions.shares_figure(found)
    return possible


def draw(
    data: ReportData, n_markers: int, folder: Path, names: maps.Names = None
) -> dict[str, Path]:
    """Write every figure as PNG.

    Parameters
    ----------
    data : tables and settings.
    n_markers : markers of each cluster in the dot plot.
    folder : is made if need be.
    names : cell types that are named on maps, see `maps.named`.

    Returns
    -------
    dict
        Paths by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, drawing in drawings(data, n_markers, names).items():
        paths[name] = folder / f"{name}.png"
        save_png(drawing(), paths[name])
    return paths


def save_png(figure: Figure, path: Path) -> None:
    """Write and close a figure, in 256 colours: a third of the size, and no eye sees it."""
    with styled():
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
