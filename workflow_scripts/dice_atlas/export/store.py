"""The atlas as a zarr store, for tools that read parts of it over a network."""

from pathlib import Path
from typing import Literal

import h5py
import zarr
from anndata.io import read_elem, write_elem

from dice_atlas.files import atomic_path
from dice_atlas.numerics.blocks import CHUNK, row_slices

# What older readers know; anndata's default, too.
FORMAT: Literal[2] = 2


def write_zarr(atlas: str | Path, store: str | Path) -> None:
    """Write atlas.h5ad as a zarr store; X and layers a few chunks at a time."""
    with atomic_path(store) as path, h5py.File(atlas) as source:
        target = zarr.open_group(path, mode="w", zarr_format=FORMAT)
        target.attrs.update(dict(source.attrs))
        for name in source:
            if name not in ("X", "layers"):
                write_elem(target, name, read_elem(source[name]))
        copy_sparse(source["X"], target.create_group("X"))
        layers = target.create_group("layers")
        layers.attrs.update(dict(source["layers"].attrs))
        for name, layer in source["layers"].items():
            copy_sparse(layer, layers.create_group(name))
        zarr.consolidate_metadata(target.store, zarr_format=FORMAT)


def copy_sparse(source: h5py.Group, target: zarr.Group) -> None:
    """Copy a sparse matrix of an h5ad into a group of a store."""
    attributes = dict(source.attrs)
    shape = [int(n) for n in attributes.pop("shape")]
    target.attrs.update({**attributes, "shape": shape})
    for name in ("data", "indices", "indptr"):
        values = source[name]
        chunks = (min(CHUNK, max(len(values), 1)),)
        copied = target.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
        for part in row_slices(len(values), 16 * CHUNK):
            copied[part] = values[part]
