"""Seconds and recall of the neighbour searches, exact and approximate, by number of points.

    python tests/benchmarks/neighbors.py [--sizes 20000 100000 300000] [--others]

Points are those of a mixture in 25 dimensions, as latents have. Each search is a process of its
own, on one core. Recall: share of the 15 nearest others that are found, of 2,000 points. With
--others also by those libraries of `OTHERS` that are installed. Writes docs/scale/neighbors.tsv.
"""

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
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


def exact(cells: np.ndarray) -> np.ndarray:
    """All others."""
    return Neighbors(cells, len(cells)).nearest_others(K)[0]


def approximate(cells: np.ndarray) -> np.ndarray:
    """The workflow's, above its limit."""
    return Neighbors(cells, 0).nearest_others(K)[0]


def pynndescent(cells: np.ndarray) -> np.ndarray:
    """A graph of neighbours of neighbours."""
    library = importlib.import_module("pynndescent")
    index = library.NNDescent(cells, n_neighbors=60, random_state=0)
    return index.query(cells, k=K + 1, epsilon=0.2)[0][:, 1:]


def hnswlib(cells: np.ndarray) -> np.ndarray:
    """A hierarchy of graphs."""
    index = importlib.import_module("hnswlib").Index("l2", DIMENSIONS)
    index.init_index(len(cells), M=16, ef_construction=100, random_seed=0)
    index.set_num_threads(1)
    index.add_items(cells)
    index.set_ef(100)
    return index.knn_query(cells, K + 1)[0][:, 1:].astype(np.int64)


def faiss(cells: np.ndarray) -> np.ndarray:
    """Inverted lists, of which each query looks at 64."""
    library = importlib.import_module("faiss")
    library.omp_set_num_threads(1)
    centers = library.IndexFlatL2(DIMENSIONS)
    index = library.IndexIVFFlat(centers, DIMENSIONS, round(4 * np.sqrt(len(cells))))
    index.cp.min_points_per_centroid = 1
    index.train(cells)
    index.add(cells)
    index.nprobe = 64
    return index.search(cells, K + 1)[1][:, 1:]


OWN: tuple[Callable, ...] = (exact, approximate)
OTHERS: tuple[Callable, ...] = (pynndescent, hnswlib, faiss)


def one(method: str, n: int) -> None:
    """Print the figures of one search as JSON."""
    cells = points(n)
    judged = np.random.default_rng(1).choice(n, JUDGED, replace=False)
    truth, _ = nearest(cells[judged].astype(float), cells.astype(float), K + 1)
    start = time.process_time()
    found = globals()[method](cells)
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
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], int(given.one[1]))
        return
    others = [f for f in OTHERS if given.others and importlib.util.find_spec(f.__name__)]
    rows = []
    for n in given.sizes:
        for method in (*OWN, *others):
            command = [sys.executable, __file__, "--one", method.__name__, str(n)]
            threads = ("OMP", "OPENBLAS", "MKL", "NUMBA")
            env = os.environ | {f"{name}_NUM_THREADS": "1" for name in threads}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(OUT, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
