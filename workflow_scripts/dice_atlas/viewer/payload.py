"""The data of the page's map: a header (JSON) and one text of compressed arrays."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dice_atlas.names import NO_DOUBT
from dice_atlas.tables import read_part
from dice_atlas.texts import shown
from dice_atlas.viewer.cells import drawn_cells, plane
from dice_atlas.viewer.columns import GROUPS, Orders, categories, numbers, with_added
from dice_atlas.viewer.genes import (
    LEAST_SHARE,
    as_many_as_fit,
    further_genes,
    gene_order,
    read_expression,
)
from dice_atlas.viewer.packing import Blob, compress, pack_gene, pack_places

logger = logging.getLogger(__name__)

# Maps beside the UMAP: obsm key and title.
PLANES = {"X_dice": "DICE: first two components", "X_pca": "PCA: first two components"}
# Base64 has four letters for three bytes.
LETTERS = 4 / 3


@dataclass(frozen=True)
class ViewerSettings:
    """Of the section `report`: genes to hold, MB of data at most, cells at most; the seed."""

    genes: tuple[str, ...]
    max_mb: float
    max_cells: int
    seed: int

    @classmethod
    def from_config(cls, report: Mapping[str, Any], seed: int) -> "ViewerSettings":
        """Settings from the `report` section of the config, and the run's seed."""
        return cls(tuple(report["genes"]), report["max_mb"], report["max_cells"], seed)


@dataclass(frozen=True)
class Payload:
    """What the page's script reads.

    Attributes
    ----------
    head : JSON that may stand inside a script element.
    blob : base64 of the arrays.
    cells, drawn, genes : numbers of cells of the atlas, and of cells and genes in the page.
    selected, further : numbers of genes that were chosen for the page, and of those that fill it.
    all_doubtful : whether all cells whose label is not sure are in the page.
    missing : genes that were asked for and that the atlas lacks.
    maps : obsm keys of the maps.
    """

    head: str
    blob: str
    cells: int
    drawn: int
    genes: int
    selected: int
    further: int
    all_doubtful: bool
    missing: tuple[str, ...]
    maps: tuple[str, ...]

    @property
    def which_genes(self) -> str:
        """Which genes the page holds, in words."""
        if self.genes < self.selected:
            return f"the first of {self.selected:,} selected genes, as many as fit"
        if not self.further:
            return "all selected genes"
        more, rest = self.genes - self.selected, f"found in at least {LEAST_SHARE:.0%} of the cells"
        if more == self.further:
            return f"all {self.selected:,} selected genes, and all others {rest}"
        return f"all {self.selected:,} selected genes, and as many others {rest} as fit ({more:,})"

    def has_map(self, key: str) -> bool:
        """Whether the page has the map of an embedding (its obsm key)."""
        return key in self.maps


@dataclass(frozen=True)
class Cells:
    """What the page says of all cells.

    Attributes
    ----------
    obs : of the atlas.
    umap : cells x 2.
    truth : by cell, or None.
    markers, label_genes : the tables of those names; label_genes may be None.
    orders : of labels and samples.
    """

    obs: pd.DataFrame
    umap: np.ndarray
    truth: pd.Series | None
    markers: pd.DataFrame
    label_genes: pd.DataFrame | None
    orders: Orders


def make_payload(atlas: str | Path, cells: Cells, settings: ViewerSettings) -> Payload:
    """Pack cells and genes of an atlas for its page.

    Parameters
    ----------
    atlas : the h5ad, which is read block by block.
    cells : its cells.
    settings : what to hold.
    """
    obs = with_added(cells.obs, cells.truth)
    clusters = obs["cluster"].astype(str).to_numpy()
    doubt = obs["cell_type_doubt"].astype(str) if "cell_type_doubt" in obs else ""
    doubtful = np.asarray(~np.isin(doubt, ["", NO_DOUBT])) & np.ones(len(obs), dtype=bool)
    rows, all_doubtful = drawn_cells(clusters, doubtful, settings.max_cells, settings.seed)
    blob = Blob()
    maps = [{"key": "X_umap", "title": "UMAP", "part": blob.add(pack_places(cells.umap[rows]))}]
    for key, title in PLANES.items():
        points = plane(atlas, key, rows)
        if points is not None:
            maps.append({"key": key, "title": title, "part": blob.add(pack_places(points))})
    columns = [*categories(obs, rows, cells.orders, blob), *numbers(obs, rows, blob)]
    order = [*GROUPS, "Sample sheet"]
    columns.sort(key=lambda column: order.index(str(column["group"])))
    names = "\n".join(shown(str(name)) for name in obs.index[rows])
    ids = blob.add(np.frombuffer(names.encode(), dtype=np.uint8))
    var = read_part(atlas, "var")
    var.index = var.index.astype(str)
    selected = gene_order(cells.markers, cells.label_genes, settings.genes, var)
    further = further_genes(selected, var, len(obs))
    fitting = as_many_as_fit([*selected, *further], var, len(rows) / len(obs))
    genes = list(packed_genes(atlas, fitting, rows, settings, blob))
    upper = set(var.index.str.upper())
    missing = tuple(gene for gene in settings.genes if gene.upper() not in upper)
    if missing:
        logger.warning("report.genes: the atlas lacks %s", ", ".join(missing))
    head = {"cells": len(obs), "n": len(rows), "maps": maps, "columns": columns, "ids": ids,
            "genes": genes, "selected": min(len(selected), len(genes))}  # fmt: skip
    logger.info(
        "the page holds %d of %d cells, %d genes; %.1f MB of data", len(rows), len(obs), len(genes),
        blob.size * LETTERS / 1e6,
    )  # fmt: skip
    return Payload(
        as_script(head), blob.text(), len(obs), len(rows), len(genes), len(selected), len(further),
        all_doubtful, missing, tuple(str(one["key"]) for one in maps),
    )  # fmt: skip


def packed_genes(
    atlas: str | Path, order: Sequence[str], rows: np.ndarray, settings: ViewerSettings, blob: Blob
) -> Iterator[list[object]]:
    """Name, least and largest value and place of each gene, until the page is full."""
    room = settings.max_mb * 1e6 / LETTERS
    expression: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
    if order and blob.size < room:
        expression = read_expression(atlas, rows, order)
    for gene, (positions, values) in zip(order, expression, strict=False):
        packed, low, high = pack_gene(positions, values, len(rows))
        part = compress(packed)
        if blob.size + len(part) > room:
            return
        yield [shown(gene), rounded(low), rounded(high), *blob.add_compressed(part)]


def rounded(value: float) -> float:
    """A number as short as a reader needs it."""
    return float(f"{value:.5g}")


def as_script(value: Any) -> str:
    """JSON that no HTML parser takes for a tag."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
