"""Arrays packed into a page: quantised, each compressed by itself, one after another."""

import base64
import zlib

import numpy as np

# The last value of uint8 and uint16 stands for "none".
NO_LEVEL, LEVELS = 255, 254
GENE_LEVELS = 15


class Blob:
    """Compressed arrays one after another; `add` says where each lies."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, array: np.ndarray) -> list[int]:
        """Append an array as little-endian bytes; returns its offset and its length."""
        return self.add_compressed(compress(array))

    def add_compressed(self, part: bytes) -> list[int]:
        """Append what `compress` has made."""
        place = [self.size, len(part)]
        self._parts.append(part)
        self.size += len(part)
        return place

    def text(self) -> str:
        """All of it in base64."""
        return base64.b64encode(b"".join(self._parts)).decode("ascii")


def compress(array: np.ndarray) -> bytes:
    """An array's bytes, little-endian, by zlib."""
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    # Level 9 takes ten times as long for 4 % less.
    return zlib.compress(little.tobytes(), 6)


def pack_places(points: np.ndarray) -> np.ndarray:
    """Places on a map as uint16, all of the first axis, then of the second (2 x n)."""
    low, span = points.min(axis=0), np.ptp(points, axis=0).max()
    return np.rint((points - low) / max(span, 1e-12) * 65535).astype(np.uint16).T


def pack_codes(codes: np.ndarray, n_values: int) -> np.ndarray:
    """Codes of categories (-1: none) as uint8, or uint16 where there are too many values."""
    kind = np.uint8 if n_values < NO_LEVEL else np.uint16
    return np.where(codes < 0, np.iinfo(kind).max, codes).astype(kind)


def pack_numbers(values: np.ndarray, low: float, high: float, log: bool) -> np.ndarray:
    """Numbers as `LEVELS` + 1 levels from low to high, of a logarithm if asked for; 255: none."""
    there = np.isfinite(values)
    ends = np.array([low, high], dtype=float)
    shown = np.where(there, values, low).astype(float)
    if log:
        shown, ends = np.log(shown), np.log(ends)
    levels = np.rint((shown - ends[0]) / max(ends[1] - ends[0], 1e-300) * LEVELS)
    return np.where(there, np.clip(levels, 0, LEVELS), NO_LEVEL).astype(np.uint8)


def pack_gene(rows: np.ndarray, values: np.ndarray, n: int) -> tuple[np.ndarray, float, float]:
    """Expression of one gene as 4-bit levels, two cells a byte.

    Level 0 is no count. Levels 1 to 15 go in equal steps from the least value to the largest, so
    that a decoded value is at most half a step away.

    Parameters
    ----------
    rows, values : cells that have the gene, and their expression, above 0.
    n : number of cells.

    Returns
    -------
    The bytes (the first cell in the upper half), the least value, and the largest.
    """
    levels = np.zeros(n + n % 2, dtype=np.uint8)
    if not len(rows):
        return levels[0::2] << 4 | levels[1::2], 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    step = (high - low) / (GENE_LEVELS - 1)
    levels[rows] = 1 + np.rint((values - low) / step) if step > 0 else GENE_LEVELS
    return levels[0::2] << 4 | levels[1::2], low, high
