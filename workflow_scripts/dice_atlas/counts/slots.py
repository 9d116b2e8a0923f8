"""Which of a file's matrices holds the counts: all are judged, the fullest one wins."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from dice_atlas.counts.check import Check
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

# Counts that were normalised and rounded have totals that differ by the rounding alone. Those of
# real cells differ by a tenth at the least.
EQUAL = 0.01
LEAST_CELLS, MOST_CELLS = 20, 500  # that are looked at
EQUAL_TOTALS = "all cells have the same total, as normalised values have"


@dataclass(frozen=True)
class Slot:
    """A matrix of a file, not read yet.

    Attributes
    ----------
    name : as the file's users write it, such as layers['counts'].
    n_genes : columns.
    usual : whether counts are usually kept there. An unusual place (a layer of ranks or bins, the
        unspliced part) may hold whole numbers that are not the counts: it is taken only where no
        usual one has counts.
    named : whether its name says that it holds counts.
    fault : why it cannot be the matrix of these cells and genes; "" if it can.
    probe : reads some of its values.
    total : reads the sum of its values.
    read : reads the wanted cells, cells x genes.
    """

    name: str
    n_genes: int
    usual: bool
    named: bool
    fault: str
    probe: Callable[[], np.ndarray]
    total: Callable[[], float]
    read: Callable[[], sp.csr_matrix]


def choose_slot(
    slots: Sequence[Slot], path: Path, check: Check
) -> tuple[Slot, sp.csr_matrix, dict[str, str]]:
    """The slot that holds the counts, its cells, and what is said about the choice.

    Of the slots that pass the check, a usual one comes before an unusual one, more genes before
    fewer, one that is called counts before one that is not, the larger sum before the smaller, the
    first before the next. One of only 0 and 1, or whose cells all have one total, is taken if there
    is no other.

    Parameters
    ----------
    slots : in the order in which they are preferred where all else is equal.
    path : of the file, for messages.
    check : what the values must be.

    Returns
    -------
    slot : the chosen one.
    counts : its wanted cells, as stored.
    decided : `matrix`, its name; `passed_over`, why not each of the others.

    Raises
    ------
    InputError
        No slot passes.
    """
    problems = {slot.name: slot.fault or attempt(slot, check) for slot in slots}
    ranked = ranking([slot for slot in slots if not problems[slot.name]])
    chosen: tuple[Slot, sp.csr_matrix, str] | None = None
    for slot in ranked:
        counts, problem = read_whole(slot, check)
        if problem:
            problems[slot.name] = problem
            continue
        doubt = doubt_of(counts)
        if not doubt or chosen is None:
            chosen = slot, counts, doubt
        if not doubt:
            break
        problems[slot.name] = doubt
    if chosen is None:
        seen = "; ".join(f"in {name} {problem}" for name, problem in problems.items())
        places = ", ".join(problems) or "X, layers or raw.X"
        raise InputError(
            f"{path}: no {check.what} in {places}; {seen or 'it has none of these matrices'}; "
            f"{check.expected}; {check.mend}"
        )
    slot, counts, doubt = chosen
    if not slot.usual or doubt == EQUAL_TOTALS:
        why = doubt or "counts are seldom kept there"
        logger.warning(
            "%s: the %s are taken from %s, though %s; if they are elsewhere, name the place in the "
            "sheet's column `slot`", path, check.what, slot.name, why,
        )  # fmt: skip
    reasons = [why_not(other, slot, problems[other.name]) for other in slots if other is not slot]
    logger.info("%s: the %s are in %s", path, check.what, slot.name)
    for reason in reasons:
        logger.info("%s: passed over: %s", path, reason)
    return slot, counts, {"matrix": slot.name, "passed_over": "; ".join(reasons)}


def doubt_of(counts: sp.csr_matrix) -> str:
    """Why whole numbers may be no counts all the same; "" if nothing says so."""
    if counts.nnz > 0 and counts.data.max() <= 1:
        return "it holds only 0 and 1"
    if counts.shape[0] >= LEAST_CELLS:
        totals = np.asarray(counts[:MOST_CELLS].sum(axis=1, dtype=np.float64)).ravel()
        if totals.std() < EQUAL * totals.mean():
            return EQUAL_TOTALS
    return ""


def require_slot(slots: Sequence[Slot], wanted: str, path: Path) -> list[Slot]:
    """The slot that the sheet names, or all of them where it names none.

    Parameters
    ----------
    wanted : the sheet's `slot`: X, raw, or the name of a layer; "" = none.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if not wanted:
        return list(slots)
    name = {"raw": "raw.X", "raw/X": "raw.X"}.get(wanted, wanted.removeprefix("layers/"))
    found = [slot for slot in slots if slot.name in (name, f"layers[{name!r}]")]
    if not found:
        raise InputError(
            f"{path}: no matrix {wanted!r}, expected one of "
            f"{', '.join(slot.name for slot in slots) or 'none: the file has no matrix'}; correct "
            "`slot` in the sample sheet (X, raw, or the name of a layer)"
        )
    return found[:1]


def attempt(slot: Slot, check: Check) -> str:
    """What is wrong with a slot's first values, or with reading them; "" if nothing."""
    try:
        return check.problem(slot.probe(), None)
    except Exception as error:
        logger.info("%s cannot be read", slot.name, exc_info=True)
        return f"the values cannot be read ({type(error).__name__}: {error})"


def read_whole(slot: Slot, check: Check) -> tuple[sp.csr_matrix, str]:
    """The wanted cells of a slot, and what is wrong with them; "" if nothing."""
    try:
        counts = slot.read()
        if counts.shape[0] and counts.shape[1] and not counts.data.any():
            return counts, "every value is zero"
        return counts, check.problem(counts.data, counts)
    except Exception as error:
        logger.info("%s cannot be read", slot.name, exc_info=True)
        empty = sp.csr_matrix((0, slot.n_genes))
        return empty, f"the values cannot be read ({type(error).__name__}: {error})"


def ranking(slots: Sequence[Slot]) -> list[Slot]:
    """The slots, best first; sums are only read where places and numbers of genes are equal."""
    places = [(slot.usual, slot.n_genes, slot.named) for slot in slots]
    totals = [
        total_of(slot) if places.count(place) > 1 else 0.0
        for slot, place in zip(slots, places, strict=True)
    ]
    order = sorted(range(len(slots)), key=lambda i: (places[i], totals[i]), reverse=True)
    return [slots[i] for i in order]


def total_of(slot: Slot) -> float:
    """The sum of a slot's values; 0 where it cannot be read, which `read_whole` says then."""
    try:
        return slot.total()
    except Exception:
        logger.info("%s cannot be read", slot.name, exc_info=True)
        return 0.0


def why_not(slot: Slot, chosen: Slot, problem: str) -> str:
    """Why a slot was passed over, beside the chosen one."""
    if problem:
        return f"{slot.name}: {problem}"
    if chosen.usual and not slot.usual:
        return f"{slot.name}: not where counts are usually kept"
    if slot.n_genes < chosen.n_genes:
        return f"{slot.name}: {slot.n_genes} genes, {chosen.name} has {chosen.n_genes}"
    if chosen.named and not slot.named:
        return f"{slot.name}: {chosen.name} is called counts"
    return f"{slot.name}: its sum is no larger"
