"""One order of cells in all files: the check that it is so."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError


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
