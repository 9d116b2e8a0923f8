"""Numbers of cells from the headers of count files alone, without what would take seconds.

As a program (`python -m dice_atlas.counts.sizes PATH ...`) it prints one number per path as JSON,
null where it is not known: a damaged HDF5 file may end the process that opens it.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import h5py


def cells_in(path: str | Path) -> int | None:
    """Number of cells of a file, or None: a format that must be read for it, or a file that fails.

    Parameters
    ----------
    path : an HDF5 file of any kind, or a 10x folder.
    """
    try:
        found = Path(path)
        if found.is_dir():
            return _of_mtx(next(p for p in sorted(found.iterdir()) if "matrix.mtx" in p.name))
        if h5py.is_hdf5(found):
            with h5py.File(found, "r") as file:
                return _of_hdf5(file)
    except Exception:  # nothing is said of the file here: the job that reads it will
        return None
    return None


def _of_hdf5(file: h5py.File) -> int | None:
    if "obs" in file:  # h5ad, h5mu
        obs = file["obs"]
        names = obs[obs.attrs["_index"]] if isinstance(obs, h5py.Group) else obs
        return int(names.shape[0])
    if "col_attrs" in file and "matrix" in file:  # loom
        return int(file["matrix"].shape[1])
    groups: list[Any] = [group for group in file.values() if "barcodes" in group]
    return int(groups[0]["barcodes"].shape[0]) if len(groups) == 1 else None


def _of_mtx(path: Path) -> int:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt") if zipped else path.open() as text:
        header = next(line for line in text if line.strip() and not line.startswith("%"))
    return int(header.split()[1])


if __name__ == "__main__":
    print(json.dumps([cells_in(path) for path in sys.argv[1:]]))
