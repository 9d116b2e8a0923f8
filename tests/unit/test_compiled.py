"""What numba compiles for umap-learn is kept, and gives the same graph."""

import os
import subprocess
import sys

import numpy as np
from dice_atlas.clustering.graph import neighbor_graph

SCRIPT = """
import numpy as np
from dice_atlas.clustering.graph import neighbor_graph
points = np.random.default_rng(0).normal(size=(60, 4))
found = neighbor_graph(points, 10, 0).obsp["connectivities"]
np.save("{out}", found.toarray())
"""


def graph(folder, name):
    """The graph of a new process, whose compiled code goes into a folder."""
    out = folder / f"{name}.npy"
    paths = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(out=out)],
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(folder / "cache")},
        check=True,
    )
    return np.load(out)


def test_code_is_kept_and_used_again(tmp_path):
    points = np.random.default_rng(0).normal(size=(60, 4))
    expected = neighbor_graph(points, 10, 0).obsp["connectivities"].toarray()
    np.testing.assert_array_equal(graph(tmp_path, "first"), expected)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb[ic]")}
    names = {path.name.split("-")[0] for path in kept}
    assert {"umap_.smooth_knn_dist", "umap_.compute_membership_strengths"} <= names
    assert any(name.startswith("distances.") for name in names)
    np.testing.assert_array_equal(graph(tmp_path, "second"), expected)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb[ic]")}
    assert after == kept
