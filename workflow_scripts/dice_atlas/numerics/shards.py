"""How rows are shared out among shards."""

import numpy as np


def shard_rows(n: int, shard: int, of: int) -> np.ndarray:
    """Rows of shard 1..of: contiguous, sizes differing by one at the most."""
    return np.arange(n * (shard - 1) // of, n * shard // of)
