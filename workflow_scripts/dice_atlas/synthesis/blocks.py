"""Rows through a network, so that a row's result does not depend on how many go with it."""

from collections.abc import Callable

import torch

# Rows that a network sees at once in sampling, always. Products of matrices of another number of
# rows round otherwise, and a cell would then depend on how many cells are drawn with it.
ROWS = 128


def in_blocks(
    function: Callable[..., torch.Tensor], *arrays: torch.Tensor, rows: int = ROWS
) -> torch.Tensor:
    """Results (n, ...) of a function of rows, called with exactly `rows` rows at a time.

    Parameters
    ----------
    function : of as many tensors of `rows` rows as there are arrays; a row of its result depends
        on the same row of the arrays alone.
    arrays : (n, ...) each, n at least 1. The last block is filled up with the last row.
    """
    results = []
    for parts in zip(*(array.split(rows) for array in arrays), strict=True):
        n = len(parts[0])
        filled = [torch.cat([part, part[-1:].expand(rows - n, *part.shape[1:])]) for part in parts]
        results.append(function(*filled)[:n])
    return torch.cat(results)
