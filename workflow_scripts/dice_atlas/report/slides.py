"""The figures for slides: vector files with text as text, single maps, and the data of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dice_atlas.files import write_table
from dice_atlas.plots.style import styled
from dice_atlas.report import maps
from dice_atlas.report.data import ReportData
from dice_atlas.report.figure_data import table_of
from dice_atlas.report.figures import drawings

# Without a date and the software's version: equal figures are equal files.
WITHOUT: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
SAVING = {
    # Letters stay letters (42: TrueType).
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # Names inside the file do not change from run to run.
    "svg.hashsalt": "dice-atlas",
    # matplotlib would lay out a figure of fixed places when it is saved again.
    "figure.constrained_layout.use": False,
}


@dataclass(frozen=True)
class SlideSettings:
    """Section `figures` of the config.

    Attributes
    ----------
    formats : of the vector files: svg, pdf; none: no figures but those of the page.
    dpi : pixels to the inch of the points in these files, and of single maps.
    width : inches of single maps.
    names : cell types that are named on maps, see `maps.named`.
    """

    formats: tuple[str, ...]
    dpi: int
    width: float
    names: maps.Names

    @classmethod
    def from_config(cls, figures: Mapping[str, Any]) -> "SlideSettings":
        """Settings from the `figures` section of the config."""
        formats, names = tuple(figures["formats"]), maps.names_asked(figures["names"])
        return cls(formats, figures["dpi"], figures["width"], names)


def single_maps(
    data: ReportData, width: float, names: maps.Names
) -> dict[str, Callable[[], Figure]]:
    """Each panel of the page's maps as a figure of its own, by file name."""
    seed = int(data.provenance["config"]["seed"])
    columns: dict[str, Callable[..., Figure]] = {
        column: partial(maps.umap_types, names=names) for column in maps.kinds_of(data)
    }
    if len(data.samples) > 1:
        columns |= {column: maps.umap_origin for column in maps.origins(data.obs)}
    columns |= {column: maps.umap_confidence for column in maps.values_of(data)}
    return {
        f"umap_{column}": partial(draw, data, seed, column, width=width)
        for column, draw in columns.items()
    }


def write_slides(data: ReportData, n_markers: int, folder: Path, settings: SlideSettings) -> None:
    """Write all figures beside those of the page.

    Parameters
    ----------
    data : see `read_report_data`.
    n_markers : markers of each cluster in the dot plot.
    folder : where the page's figures are.
    settings : of the files.
    """
    if not settings.formats:
        return
    single = single_maps(data, settings.width, settings.names)
    for name, drawing in {**drawings(data, n_markers, settings.names), **single}.items():
        figure = drawing()
        formats = ("png", *settings.formats) if name in single else settings.formats
        for suffix in formats:
            save(figure, folder / f"{name}.{suffix}", settings.dpi)
        write_table(table_of(name, figure, data), folder / f"{name}.tsv")
        plt.close(figure)


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure in the format of the suffix, the same bytes every time."""
    with styled(), mpl.rc_context(SAVING):
        figure.savefig(path, dpi=dpi, metadata=WITHOUT[path.suffix[1:]])
