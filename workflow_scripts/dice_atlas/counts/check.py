"""The raw-count check: what is not raw counts is refused, with the likely cause."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dice_atlas.counts.logged import linear
from dice_atlas.errors import InputError
from dice_atlas.names import LOG1P

logger = logging.getLogger(__name__)

RAW = "expected raw counts (whole numbers, 0 or more)"
MEND = "give the counts as they came from the sequencer, before any normalisation"
LARGEST_COUNT = np.iinfo(np.int32).max
# log1p(1e6) is 13.8, log2 of it 19.9.
LARGEST_LOG = 25.0
# So many values are never all 1 in real counts.
FEW_ONES = 1000


class Check(NamedTuple):
    """What the values of a file must be, by the sheet's column `expression`.

    Attributes
    ----------
    what : the values are called in messages.
    expected, mend : end a message.
    problem : (values, matrix or None) -> what is wrong, "" if nothing.
    finish : (matrix, source) -> canonical CSR, or an `InputError`.
    """

    what: str
    expected: str
    mend: str
    problem: Callable[[np.ndarray, sp.csr_matrix | None], str]
    finish: Callable[[sp.spmatrix, str], sp.csr_matrix]


def check_raw_counts(X: sp.spmatrix | np.ndarray, source: str) -> sp.csr_matrix:
    """Return raw counts as canonical CSR int32, or say why they are not raw counts.

    Parameters
    ----------
    X : cells x genes, sparse or dense, of any numeric type; whole-valued floats are fine.
    source : what the message names, such as the file and the slot in it.

    Raises
    ------
    InputError
        For no cells, no genes, no count at all, NaN or infinity, negative values, values
        that are not whole, and values that do not fit 32 bits.
    """
    n_cells, n_genes = X.shape
    if n_cells == 0 or n_genes == 0:
        raise InputError(
            f"{source}: seen {n_cells} cells x {n_genes} genes, expected at least one of each; "
            "check that the file is complete and that a `subset` keeps some cells"
        )
    counts = sp.csr_matrix(X)
    problem = problem_of(counts.data, counts)
    if problem:
        raise InputError(f"{source}: {problem}; {RAW}; {MEND}")
    counts = sp.csr_matrix(counts, dtype=np.int32)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    if counts.nnz == 0:
        raise InputError(
            f"{source}: all {n_cells} cells x {n_genes} genes are zero; {RAW}; check that the "
            "file is complete and that it is the right one"
        )
    if counts.data.max() == 1:
        said = f"all {counts.nnz} non-zero values are 1"
        if counts.nnz > FEW_ONES:
            raise InputError(
                f"{source}: {said}, which says whether a gene was found and not how often; {RAW}; "
                f"{MEND}"
            )
        logger.warning("%s: %s; are these counts?", source, said)
    return counts


def check_log1p(X: sp.spmatrix | np.ndarray, source: str) -> sp.csr_matrix:
    """Return expression as canonical CSR float32, of its logarithms, or say why they are none.

    Parameters
    ----------
    X : cells x genes, sparse or dense, of any numeric type.
    source : see `check_raw_counts`.

    Raises
    ------
    InputError
        For no cells, no genes, nothing but zeros, and what `problem_of_log1p` finds.
    """
    n_cells, n_genes = X.shape
    values = sp.csr_matrix(X)
    problem = problem_of_log1p(values.data, values)
    if n_cells == 0 or n_genes == 0 or values.count_nonzero() == 0:
        problem = f"seen {n_cells} cells x {n_genes} genes, {values.count_nonzero()} values above 0"
    if problem:
        raise InputError(f"{source}: {problem}; {LOGARITHMS.expected}; {LOGARITHMS.mend}")
    values = sp.csr_matrix(values, dtype=np.float32)
    values.sum_duplicates()
    values.eliminate_zeros()
    return linear(values, source)


def problem_of_log1p(values: np.ndarray, expression: sp.csr_matrix | None = None) -> str:
    """What is wrong with `values` as log-normalised expression; "" if nothing.

    `expression`, the cells x genes matrix of the values, tells whole numbers for sure.
    """
    if values.dtype.kind not in "iuf":
        return f"the values are of type {values.dtype}"
    if values.size == 0:
        return ""
    if not np.isfinite(values).all():
        return f"{np.sum(~np.isfinite(values))} values are missing or infinite"
    if values.min() < 0:
        return f"{share(values < 0)} of the values are negative (such as {values.min():.4g})"
    if values.max() > LARGEST_LOG:
        return f"the largest value is {values.max():.4g}: no logarithm of a count is"
    if expression is not None and (values == np.rint(values)).all():
        return "all values are whole numbers: these are counts (leave `expression` empty)"
    return ""


def problem_of(values: np.ndarray, counts: sp.csr_matrix | None = None) -> str:
    """What is wrong with `values` as raw counts, and the likely cause; "" if nothing.

    `counts`, the cells x genes matrix of the values, sharpens the guess of the cause.
    """
    if values.dtype.kind == "b":
        return "the values are true or false: whether a gene was found, not how often"
    if values.size == 0 or (values.dtype.kind == "u" and values.max() <= LARGEST_COUNT):
        return ""
    if values.dtype.kind not in "iuf":
        return f"the values are of type {values.dtype}"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)]
        return f"{bad.size} values are {bad[0]} (missing or infinite)"
    if values.min() < 0:
        return (
            f"{share(values < 0)} of the values are negative (such as {values.min():.4g}): "
            "these are scaled or batch-corrected values"
        )
    # As a float: half precision holds no such number.
    if float(values.max()) > LARGEST_COUNT:
        return f"the largest value is {values.max():.4g}, more than 32 bits hold"
    if values.dtype.kind == "f":
        broken = values != np.rint(values)
        if broken.any():
            example = values[np.argmax(broken)]
            return (
                f"{share(broken)} of the non-zero values are not whole numbers "
                f"(such as {example:.6g}): {cause_of_decimals(values, counts)}"
            )
    return ""


def share(mask: np.ndarray) -> str:
    """The share of True, in per cent."""
    return f"{100 * mask.mean():.3g} %"


def cause_of_decimals(values: np.ndarray, counts: sp.csr_matrix | None) -> str:
    """The likely origin of non-negative values with decimals."""
    if values.max() < 20:
        return f"with a maximum of {values.max():.3g} these are probably log-normalised"
    if counts is not None:
        totals = np.asarray(counts.sum(axis=1)).ravel()
        typical = float(np.median(totals))
        if totals.size > 1 and np.abs(totals - typical).max() < 1e-3 * typical:
            return f"every cell sums to about {typical:.4g}, so these are TPM, CPM or the like"
    return (
        "these are probably TPM, expected counts of an aligner, or counts corrected for "
        "ambient RNA or for UMI collisions"
    )


def of_some(check: Check) -> Check:
    """The check of a few cells, of which nothing follows from zeros or ones alone."""

    def finish(X: sp.spmatrix, source: str) -> sp.csr_matrix:
        values = sp.csr_matrix(X)
        problem = check.problem(values.data, values)
        if not all(values.shape):
            problem = f"seen {values.shape[0]} cells x {values.shape[1]} genes"
        if problem:
            raise InputError(f"{source}: {problem}; {check.expected}; {check.mend}")
        return values

    return check._replace(finish=finish)


COUNTS = Check(
    "raw counts",
    "expected whole numbers, 0 or more",
    "store the raw counts in layers['counts']",
    problem_of,
    check_raw_counts,
)
LOGARITHMS = Check(
    "log-normalised values",
    "expected log1p of normalised counts: 0 or more, with decimals",
    "see `expression: log1p` in config/README.md",
    problem_of_log1p,
    check_log1p,
)
CHECKS = {"": COUNTS, "counts": COUNTS, LOG1P: LOGARITHMS}
