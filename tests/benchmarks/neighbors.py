"""Seconds and recall of the two neighbour searches, exact and approximate, by number of points.

    python tests/benchmarks/neighbors.py [--sizes 20000 100000 300000]

Points are those of a mixture in 25 dimensions, as latents have. Each search is a process of its
own, on one core. Recall: share of the 15 nearest others that are found, of 2,000 points. Writes
docs/scale/neighbors.tsv.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from dice_atlas.numerics.exact_neighbors import nearest
from dice_atlas.numerics.neighbors import Neighbors

OUT = Path(__file__).resolve().parents[2] / "docs" / "scale" / "neighbors.tsv"
DIMENSIONS, COMPONENTS, K, JUDGED = 25, 30, 15, 2_000


def points(n: int) -> np.ndarray:
    """Points of clusters that overlap (n x d, float32)."""
    rng = np.random.default_rng(0)
    centers = 2 * rng.standard_normal((COMPONENTS, DIMENSIONS))
    noise = rng.standard_normal((n, DIMENSIONS))
    return (centers[rng.integers(COMPONENTS, size=n)] + noise).astype(np.float32)


def one(method: str, n: int) -> None:
    """Print the figures of one search as JSON."""
    cells = points(n)
    judged = np.random.default_rng(1).choice(n, JUDGED, replace=False)
    truth, _ = nearest(cells[judged].astype(float), cells.astype(float), K + 1)
    start = time.process_time()
    found, _ = Neighbors(cells, n if method == "exact" else 0).nearest_others(K)
    seconds = time.process_time() - start
    # The first of the nearest is the point itself.
    hits = [len(set(a) & set(b[1:])) for a, b in zip(found[judged], truth, strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"method": method, "points": n, "cpu_seconds": seconds,
                      "recall": float(np.mean(hits)) / K, "peak_mb": peak}))  # fmt: skip


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[20_000, 100_000, 300_000])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], int(given.one[1]))
        return
    rows = []
    for n in given.sizes:
        for method in ("exact", "approximate"):
            done = subprocess.run(
                [sys.executable, __file__, "--one", method, str(n)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
            OUT.parent.mkdir(exist_ok=True)
            pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
