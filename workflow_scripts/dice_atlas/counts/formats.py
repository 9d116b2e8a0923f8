"""The formats of count files, each written once.

Readers, sample sheet and Snakefile ask this table. Nothing heavy is imported here: the Snakefile
reads this file for every job.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from dice_atlas.names import SEPARATOR


@dataclass(frozen=True)
class Format:
    """A format that counts come in.

    Attributes
    ----------
    name : of the format.
    title : as messages call it.
    recognise : reference of a function (path) -> bool, asked in the order of `FORMATS`.
    reader : reference of a function (path, `stored.Wanted`) -> `stored.Stored`.
    obs_reader : reference of a function (path, columns or None) -> the columns of the cells; ""
        where the format has none.
    suffixes : by which the sheet knows the format before the file is opened.
    members : parts of the names of the files in a folder that belong to it.
    has_slots : whether a file may hold several matrices.
    """

    name: str
    title: str
    recognise: str
    reader: str
    obs_reader: str = ""
    suffixes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    has_slots: bool = False

    @property
    def has_obs(self) -> bool:
        """Whether the cells have columns."""
        return bool(self.obs_reader)


TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
FORMATS = (
    Format(
        "zarr",
        "a .zarr folder",
        "dice_atlas.counts.h5ad:is_zarr",
        "dice_atlas.counts.h5ad:read_zarr",
        "dice_atlas.counts.h5ad:read_obs_zarr",
        suffixes=(".zarr",),
        has_slots=True,
    ),
    Format(
        "mtx",
        "a 10x folder (matrix.mtx)",
        "dice_atlas.counts.tenx:is_mtx_folder",
        "dice_atlas.counts.tenx:read_mtx_folder",
        members=("matrix.mtx", "barcodes.tsv", "features.tsv", "genes.tsv"),
    ),
    Format(
        "table",
        "a .csv/.tsv(.gz) of genes x cells",
        "dice_atlas.counts.tables:is_table",
        "dice_atlas.counts.tables:read_table",
        suffixes=TABLE_SUFFIXES,
    ),
    Format(
        "tenx_h5",
        "10x .h5",
        "dice_atlas.counts.tenx:is_tenx_h5",
        "dice_atlas.counts.tenx:read_tenx_h5",
    ),
    Format(
        "loom",
        ".loom",
        "dice_atlas.counts.loom:is_loom",
        "dice_atlas.counts.loom:read_loom",
        "dice_atlas.counts.loom:read_obs_loom",
        suffixes=(".loom",),
        has_slots=True,
    ),
    Format(
        "h5mu",
        ".h5mu",
        "dice_atlas.counts.h5ad:is_h5mu",
        "dice_atlas.counts.h5ad:read_h5mu",
        "dice_atlas.counts.h5ad:read_obs_h5mu",
        suffixes=(".h5mu",),
        has_slots=True,
    ),
    Format(
        "h5ad",
        ".h5ad",
        "dice_atlas.counts.h5ad:is_h5ad",
        "dice_atlas.counts.h5ad:read_h5ad",
        "dice_atlas.counts.h5ad:read_obs_h5ad",
        suffixes=(".h5ad",),
        has_slots=True,
    ),
)
# Cells of the demo's files, which are made in the first run.
DEMO_CELLS = {"pbmc_ref.h5ad": 351, "pbmc_q1": 174, "pbmc_q2": 175}
# For messages.
KNOWN = ", ".join(kind.title for kind in FORMATS)
OBS_SUFFIXES = tuple(suffix for kind in FORMATS if kind.has_obs for suffix in kind.suffixes)
SLOT_SUFFIXES = tuple(suffix for kind in FORMATS if kind.has_slots for suffix in kind.suffixes)
# Tables of labels, with the columns barcode and label.
LABEL_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def has_obs_columns(path: str) -> bool:
    """Whether a file, by its suffix, has columns of the cells."""
    return path.lower().endswith(OBS_SUFFIXES)


def has_slots(path: str) -> bool:
    """Whether a file, by its suffix, may hold several matrices."""
    return path.lower().endswith(SLOT_SUFFIXES)


def is_label_table(spec: str) -> bool:
    """Whether a field `labels` or `truth` of the sheet names a table, and not a column."""
    return spec.lower().endswith(LABEL_SUFFIXES)


def label_columns(spec: str) -> list[str]:
    """Columns of obs that a field `labels` names, coarse to fine; none of a table or no labels."""
    return [] if not spec or is_label_table(spec) else spec.split(SEPARATOR)


def member_files(path: str, failed: Callable[[OSError], object] | None = None) -> list[str]:
    """The files that belong to a sample, so that a changed one is seen; else the path itself.

    Parameters
    ----------
    path : of the sample.
    failed : is told of each folder that cannot be read.
    """
    if not os.path.isdir(path):
        return [path]
    if path.lower().rstrip("/").endswith(".zarr"):
        # Every file, hidden ones too: zarr keeps its metadata there. The folder's own time does
        # not move when a chunk changes.
        tree = os.walk(path, onerror=failed)
        found = [os.path.join(at, name) for at, _, names in tree for name in names]
        return sorted(found) or [path]
    parts = [part for kind in FORMATS for part in kind.members]
    try:
        there = sorted(os.listdir(path))
    except OSError as error:
        if failed:
            failed(error)
        return [path]
    found = [name for name in there if any(part in name for part in parts)]
    return [os.path.join(path, name) for name in found] or [path]
