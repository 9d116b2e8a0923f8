"""Which cells: those that spaces are fitted on, those held out, one order of all in every file."""

import hashlib
import logging
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

CALIBRATION_SHARE = 0.25
# Fewer cells of a class are not split.
MIN_CLASS = 4


def reference_rows(cells: pd.DataFrame) -> np.ndarray:
    """Mask of the cells that the space is fitted on: the reference, or all where there is none."""
    reference = (cells["role"] == "reference").to_numpy()
    return reference if reference.any() else np.ones(len(cells), dtype=bool)


def calibration_cells(
    keys: Sequence[str],
    labels: Sequence[str],
    listed: Collection[str] | None = None,
    share: float = CALIBRATION_SHARE,
) -> np.ndarray:
    """Positions of the labelled cells that are held out to calibrate prediction sets, in order.

    Of a class of n cells round(share n), but at least one; none if n < 4. Which ones depends on
    a hash of their keys alone, so that every stage holds out the same, whatever the sample is
    called. A cell that is there twice is held out twice. A saved prior lists those that it was not
    trained on: only these can calibrate what it denoises.

    Parameters
    ----------
    keys : of the reference cells, see `counts.keys.cell_keys`.
    labels : of the reference cells; "" = none.
    listed : keys that the card of a saved prior lists; None without one. Of a reference that has
        none of these cells, and so did not train the prior, the hash decides.
    """
    names, classes = pd.Index(keys).astype(str), np.asarray(labels, dtype=object)
    free = classes != ""
    if listed is not None:
        known = free & names.isin(list(listed))
        if known.any():
            free = known
        else:
            logger.warning(
                "the saved prior's card lists none of the %d reference cells as held out: if they "
                "trained the prior, the confidence is too high", len(classes),
            )  # fmt: skip
    digests = [hashlib.blake2b(key.encode(), digest_size=8).digest() for key in names]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
    chosen = np.zeros(len(names), dtype=bool)
    for label in set(classes) - {""}:
        members = order[classes[order] == label]
        if members.size >= MIN_CLASS:
            # Of a part of the reference the card may list all cells: some must give labels.
            n_held = max(round(share * members.size), 1)
            chosen[members[free[members]][:n_held]] = True
    return np.flatnonzero(names.isin(names[chosen]) & (classes != ""))


def cell_numbers(cells: pd.DataFrame) -> np.ndarray:
    """A number (int64) of each cell: a hash of its key, or of its name where it has none.

    Parameters
    ----------
    cells : index their names; `cell_key` (`counts.keys.cell_keys`) if known.
    """
    keys = cells.get("cell_key", cells.index)
    digests = (hashlib.blake2b(str(key).encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), dtype=np.int64).copy()


def training_rows(cells: pd.DataFrame, calibrated: bool) -> np.ndarray:
    """Mask of the cells that loadings and prior are fitted on.

    Those that calibrate what is said of the query in the denoised space are left out. Loadings
    follow the noise of the cells that they are fitted on, and a prior denoises a cell better that
    it has seen beside others of its label: the query would look worse than it is beside them.

    Parameters
    ----------
    cells : `role`, `label` and, if calibrated, `cell_key` of all cells.
    calibrated : whether anything is calibrated.
    """
    rows = reference_rows(cells)
    if calibrated:
        reference = np.flatnonzero(rows)
        of_reference = cells.iloc[reference]
        held = calibration_cells(of_reference["cell_key"], of_reference["label"])
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


def repeated_cells(obs: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Reference sample, query sample and the number of cells that are in both.

    Only pairs are listed of which the smaller sample has half of its cells in the other: single
    cells may agree by chance.

    Parameters
    ----------
    obs : of all cells, index `<sample>_<barcode>`; `sample`, `role`, `n_genes`, `total_counts`.
    """
    cells = obs[["sample", "role", "n_genes", "total_counts"]].reset_index(drop=True)
    cells = cells.astype({"sample": str, "role": str})
    cells["barcode"] = [
        str(name).removeprefix(f"{sample}_")
        for name, sample in zip(obs.index, cells["sample"], strict=True)
    ]
    reference, query = (cells[cells["role"] == role] for role in ("reference", "query"))
    both = reference.merge(
        query, on=["barcode", "n_genes", "total_counts"], suffixes=("", "_query")
    )
    sizes = cells["sample"].value_counts()
    return [
        (str(one), str(other), int(n))
        for (one, other), n in both.groupby(["sample", "sample_query"]).size().items()
        if n >= min(sizes[one], sizes[other]) / 2
    ]
