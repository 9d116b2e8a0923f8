"""check_raw_counts: raw counts pass, everything else is refused with its likely cause."""

import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.counts.check import check_raw_counts
from dice_atlas.errors import InputError

RAW = np.random.default_rng(0).poisson(2.0, (30, 40))
CP10K = 1e4 * RAW / RAW.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.coo_matrix])
def test_whole_numbers_pass(dtype, kind):
    checked = check_raw_counts(kind(RAW.astype(dtype)), "a")
    assert checked.dtype == np.int32
    assert checked.format == "csr"
    assert checked.has_canonical_format
    np.testing.assert_array_equal(checked.toarray(), RAW)


def test_repeated_and_zero_entries_are_joined():
    data = sp.csr_matrix((np.array([1.0, 2.0, 0.0]), np.array([0, 0, 1]), np.array([0, 3])))
    checked = check_raw_counts(data, "a")
    assert checked.nnz == 1
    assert checked[0, 0] == 3


def broken(value):
    X = RAW.astype(float)
    X[3, 4] = value
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.log1p(CP10K), r"not whole numbers \(such as .*log-normalised"),
        (CP10K, "every cell sums to about 1e\\+04"),
        (broken(2.5) + 100.0, "corrected for ambient RNA"),
        (RAW - 2.0, r"negative \(such as -2\).*scaled"),
        (RAW - 2, r"negative \(such as -2\).*scaled"),
        (broken(np.nan), r"1 values are nan"),
        (broken(np.inf), r"1 values are inf"),
        (broken(3e9), r"largest value is 3e\+09"),
        (np.zeros((3, 4)), "all 3 cells x 4 genes are zero"),
        (np.zeros((0, 4)), "seen 0 cells x 4 genes"),
        (np.zeros((3, 0)), "seen 3 cells x 0 genes"),
        (RAW.astype(complex), "of type complex128"),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_other_values_are_refused(X, message, kind):
    with pytest.raises(InputError, match=message) as error:
        check_raw_counts(kind(X), "the/file.h5ad")
    assert str(error.value).startswith("the/file.h5ad: ")


def test_share_of_decimals_is_of_the_non_zero_values():
    X = np.zeros((10, 10))
    X[0, :4] = [1, 2, 3, 40.25]
    with pytest.raises(InputError, match=r"25 % of the non-zero values .*such as 40.25"):
        check_raw_counts(sp.csr_matrix(X), "a")
