"""scVI: what can be done without it, and a real run where .venv-scvi is there."""

import subprocess

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.baselines.scvi import check_counts
from test_pins import imports


@pytest.fixture
def split():
    """Two types in two batches, 80 cells x 30 genes."""
    rng = np.random.default_rng(0)
    kind = np.arange(80) % 2
    counts = rng.poisson(np.where(kind[:, None] == np.arange(30) % 2, 8.0, 0.5))
    data = ad.AnnData(shape=counts.shape, layers={"counts": sp.csr_matrix(counts, dtype=np.int32)})
    data.obs["role"] = np.where(np.arange(80) < 50, "reference", "query")
    data.obs["batch"] = np.where(np.arange(80) < 50, "a", "b")
    data.obs["kind"] = kind
    # Wrong for the query: a label that was looked at would show.
    known = (data.obs["role"] == "reference").to_numpy()
    data.obs["label"] = np.where(known == (kind == 1), "odd", "even")
    return data


def test_it_needs_little_of_the_workflow(root):
    script = root / "workflow_scripts/embed_scvi.py"
    needed = imports(script, root / "workflow_scripts")
    assert needed == {"anndata", "numpy", "pandas", "scvi-tools", "pytorch"}


def test_counts_are_checked(split):
    check_counts(split)
    split.layers["counts"] = split.layers["counts"] * 0.5
    with pytest.raises(ValueError, match="fractional"):
        check_counts(split)
    del split.layers["counts"]
    with pytest.raises(ValueError, match="lacks layers"):
        check_counts(split)


def test_it_separates_two_types(split, root, tmp_path):
    python = root / ".venv-scvi/bin/python"
    if not python.exists():
        pytest.skip("no .venv-scvi; requirements-scvi.txt says how to make it")
    split.write_h5ad(tmp_path / "split.h5ad")
    names = ["--input", tmp_path / "split.h5ad", "--output", tmp_path / "scvi.h5ad"]
    command = [python, root / "workflow_scripts/embed_scvi.py", *names, "--seed", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    found = ad.read_h5ad(tmp_path / "scvi.h5ad")
    assert list(found.obs_names) == list(split.obs_names)
    embedding = found.obsm["X_embedding"]
    assert embedding.shape == (80, 10)
    assert embedding.dtype == np.float32
    kind = split.obs["kind"].to_numpy()
    between = np.linalg.norm(embedding[kind == 0].mean(axis=0) - embedding[kind == 1].mean(axis=0))
    within = np.sqrt(embedding[kind == 0].var(axis=0).sum())
    assert between > within
    query = (split.obs["role"] == "query").to_numpy()
    given = np.where(kind == 1, "odd", "even")
    assert (found.obs["scanvi"].to_numpy(dtype=str) == given)[query].mean() > 0.9
    # Nothing is left beside the output: no logs, no checkpoints.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scvi.h5ad", "split.h5ad"]
