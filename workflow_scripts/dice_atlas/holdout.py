"""Which cells: those that spaces are fitted on, those held out, one order of all in every file."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError

CALIBRATION_SHARE = 0.25
# Fewer cells of a class are not split.
MIN_CLASS = 4


def reference_rows(cells: pd.DataFrame) -> np.ndarray:
    """Mask of the cells that the space is fitted on: the reference, or all where there is none."""
    reference = (cells["role"] == "reference").to_numpy()
    return reference if reference.any() else np.ones(len(cells), dtype=bool)


def calibration_cells(
    names: Sequence[str], labels: Sequence[str], share: float = CALIBRATION_SHARE
) -> np.ndarray:
    """Positions of the labelled cells that are held out to calibrate prediction sets, in order.

    Of a class of n cells round(share n), but at least one; none if n < 4. Which ones depends on
    a hash of their names alone, so that every stage, and a later run with a saved prior, holds out
    the same.

    Parameters
    ----------
    names, labels : of the reference cells; label "" = none.
    """
    classes = np.asarray(labels, dtype=object)
    digests = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in names]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
    held = [np.empty(0, dtype=np.int64)]
    for label in set(classes) - {""}:
        members = order[classes[order] == label]
        if members.size >= MIN_CLASS:
            held.append(members[: max(round(share * members.size), 1)])
    return np.sort(np.concatenate(held))


def training_rows(cells: pd.DataFrame, calibrated: bool) -> np.ndarray:
    """Mask of the cells that loadings and prior are fitted on.

    Those that calibrate what is said of the query in the denoised space are left out. Loadings
    follow the noise of the cells that they are fitted on, and a prior denoises a cell better that
    it has seen beside others of its label: the query would look worse than it is beside them.

    Parameters
    ----------
    cells : `role` and `label` of all cells, index: names.
    calibrated : whether anything is calibrated.
    """
    rows = reference_rows(cells)
    if calibrated:
        reference = np.flatnonzero(rows)
        held = calibration_cells(cells.index[reference], cells["label"].iloc[reference])
        rows[reference[held]] = False
    return rows


def require_same_cells(seen: Sequence[str], expected: Sequence[str], what: str) -> None:
    """Check that both name the same cells in the same order.

    Parameters
    ----------
    seen, expected : cell names.
    what : the two files compared, for the message ("umap.tsv.gz and latents.h5ad").

    Raises
    ------
    InputError
        They do not.
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
