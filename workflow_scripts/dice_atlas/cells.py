"""Which cells: those that the space is fitted on, and one order of all in every file."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError


def reference_rows(cells: pd.DataFrame) -> np.ndarray:
    """Mask of the cells that the space is fitted on: the reference, or all where there is none."""
    reference = (cells["role"] == "reference").to_numpy()
    return reference if reference.any() else np.ones(len(cells), dtype=bool)


def require_same_cells(seen: Sequence[str], expected: Sequence[str], what: str) -> None:
    """Raise `InputError` unless both name the same cells in the same order.

    Parameters
    ----------
    seen, expected : cell names.
    what : the two files compared, for the message ("umap.tsv.gz and latents.h5ad").
    """
    left, right = pd.Index(seen).astype(str), pd.Index(expected).astype(str)
    if len(left) == len(right) and (left == right).all():
        return
    if len(left) != len(right):
        difference = f"{len(left)} against {len(right)} cells"
    else:
        first = int(np.argmax(left != right))
        difference = f"cell {first + 1} is {left[first]!r} against {right[first]!r}"
    raise InputError(
        f"{what} do not hold the same cells in the same order ({difference}); they come from "
        "different runs: remove both files and start again"
    )
