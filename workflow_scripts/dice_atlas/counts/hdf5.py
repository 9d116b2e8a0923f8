"""HDF5 files of users: opened only if their contents are their own and their sizes can be true."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from dice_atlas.errors import InputError

# Seconds that the structure of a file may take to be read; it takes milliseconds.
PATIENCE = 120

# Times that an array may be larger than what it takes on disk. Deflate reaches 1,032; other
# compressors more, but on no array of counts.
LARGEST_RATIO = 10_000


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file, for reading; see `require_own`.

    Raises
    ------
    InputError
        The library would crash or hang on the file, or see `require_own`.
    """
    require_survival(path)
    with h5py.File(path, "r") as file:
        require_own(file, path)
        yield file


def require_survival(path: str | Path) -> None:
    """Refuse a file on whose damaged structure the HDF5 library crashes, or never ends.

    No exception comes of that: the structure is first read by a process of its own.

    Raises
    ------
    InputError
        That process crashed or did not end.
    """
    trial = multiprocessing.get_context("fork").Process(target=read_structure, args=(path,))
    trial.start()
    trial.join(PATIENCE)
    hung = trial.is_alive()
    if hung:
        trial.kill()
        trial.join()
    if trial.exitcode:
        what = "never ends" if hung else "crashes"
        raise InputError(
            f"{path}: the HDF5 library {what} on it, expected a whole file; it is damaged: copy or "
            "write it again"
        )


def read_structure(path: str | Path) -> None:
    """Read the attributes and texts of an HDF5 file; an exception will come again and be said."""
    try:
        with h5py.File(path, "r") as file:
            read_members(file)
    except Exception:
        return


def read_members(found: h5py.Group | h5py.Dataset) -> None:
    """Read the attributes and texts of what is found, each on its own: the next may be the one."""
    for name in found.attrs:
        with suppress(Exception):
            found.attrs[name]
    if isinstance(found, h5py.Dataset):
        if h5py.check_string_dtype(found.dtype):
            found[()]
        return
    for name in found:
        with suppress(Exception):
            read_members(found[name])


def require_own(group: h5py.Group, path: str | Path) -> None:
    """Refuse what lies in other files, and arrays larger than the file could hold.

    HDF5 can take values from any file that its reader may read; the recorded sha256 would not
    cover them.

    Raises
    ------
    InputError
        An external link, external storage, a virtual dataset, or an impossible size.
    """
    for name in group:
        where = f"{group.name.rstrip('/')}/{name}"
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise foreign(path, where)
        found = member(group, name)
        if isinstance(found, h5py.Group):
            require_own(found, path)
        elif isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise foreign(path, where)
            require_size(found, path, where)


def member(group: h5py.Group, name: str) -> Any:
    """A member of a group; None where a link leads nowhere or its type is unknown to h5py."""
    try:
        return group.get(name)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        return None


def require_size(dataset: h5py.Dataset, path: str | Path, where: str) -> None:
    """Refuse an array whose claimed size its stored bytes cannot hold."""
    claimed, stored = dataset.nbytes, dataset.id.get_storage_size()
    if claimed > LARGEST_RATIO * max(stored, 1 << 10):
        raise InputError(
            f"{path}: {where} claims {dataset.size:,} values but has {stored:,} bytes on disk, "
            "expected an array as large as it says; the file is damaged: copy or write it again"
        )


def foreign(path: str | Path, where: str) -> InputError:
    """The error of a file that takes values from another file."""
    return InputError(
        f"{path}: {where} lies in another file, expected one file that holds everything itself; "
        "write it again, for example with anndata"
    )
