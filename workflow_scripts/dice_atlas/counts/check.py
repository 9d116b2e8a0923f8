"""The raw-count check: what is not raw counts is refused, with the likely cause."""

import numpy as np
import scipy.sparse as sp

from dice_atlas.errors import InputError

RAW = "expected raw counts (whole numbers, 0 or more)"
MEND = "give the counts as they came from the sequencer, before any normalisation"


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
    return counts


def problem_of(values: np.ndarray, counts: sp.csr_matrix | None = None) -> str:
    """What is wrong with `values` as raw counts, and the likely cause; "" if nothing.

    `counts`, the cells x genes matrix of the values, sharpens the guess of the cause.
    """
    if values.size == 0 or values.dtype.kind in "ub":
        return ""
    if values.dtype.kind not in "if":
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
    if float(values.max()) > np.iinfo(np.int32).max:
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
