"""The demo data: whole counts, a stratified split, the same bytes every time."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.counts import demo
from dice_atlas.counts.formats import DEMO_CELLS
from dice_atlas.counts.readers import read_counts
from dice_atlas.files import sha256


@pytest.fixture(scope="module")
def cells():
    return demo.demo_counts()


def test_counts_are_inverted(cells):
    # Normalising them again gives the file that scanpy ships.
    source = sc.datasets.pbmc68k_reduced()
    totals = source.obs["n_counts"].to_numpy()[:, None]
    logged = np.log1p(cells.X.toarray() / totals * 1e4)
    np.testing.assert_allclose(logged, source.raw.X.toarray(), atol=0.05)
    assert cells.shape == (700, 765)


def test_distance_to_whole_numbers_is_measured():
    counts = np.array([[3.0, 0.0, 5.0], [1.0, 2.0, 0.0]])
    totals = np.array([800.0, 300.0])
    logged = sp.csr_matrix(np.log1p(counts / totals[:, None] * 1e4))
    back, distance = demo.invert_log1p(logged, totals)
    np.testing.assert_array_equal(back.toarray(), counts)
    assert distance < 1e-9
    _, distance = demo.invert_log1p(logged, totals * 1.1)
    assert distance == pytest.approx(0.5, abs=0.01)


def test_the_plan_of_a_run_knows_the_numbers_of_cells(cells):
    parts = demo.split_cells(cells.obs["sort_gate"].to_numpy(), 0)
    found = dict(
        zip(("pbmc_ref.h5ad", "pbmc_q1", "pbmc_q2"), map(len, parts.values()), strict=True)
    )
    assert found == DEMO_CELLS


def test_split(cells):
    labels = cells.obs["sort_gate"].to_numpy()
    parts = demo.split_cells(labels, 0)
    joined = np.concatenate(list(parts.values()))
    assert sorted(joined) == list(range(700))
    for label in np.unique(labels):
        n = (labels == label).sum()
        inside = [(labels[part] == label).sum() for part in parts.values()]
        assert inside[0] == round(n / 2)
        assert abs(inside[1] - inside[2]) <= 1
    assert len(parts["reference"]) == pytest.approx(350, abs=5)
    assert not np.array_equal(parts["query1"], demo.split_cells(labels, 1)["query1"])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_rare_labels_go_to_the_reference(n):
    parts = demo.split_cells(np.array(["rare"] * n), 0)
    assert len(parts["reference"]) == min(n, 3)


def test_files_are_read_back_and_repeat(cells, tmp_path):
    part = cells[demo.split_cells(cells.obs["sort_gate"].to_numpy(), 0)["query1"]].copy()
    for run in ("a", "b"):
        demo.write_mtx_folder(part, tmp_path / run)
        demo.write_reference(part, tmp_path / f"{run}.h5ad")
        demo.write_truth(part, tmp_path / f"{run}.csv")
    for suffix in ("", ".h5ad", ".csv"):
        assert sha256(tmp_path / f"a{suffix}") == sha256(tmp_path / f"b{suffix}")
    for read in (read_counts(tmp_path / "a"), read_counts(tmp_path / "a.h5ad")):
        np.testing.assert_array_equal(read.X.toarray(), part.X.toarray())
        assert read.obs_names.tolist() == part.obs_names.tolist()
        assert read.var_names.tolist() == part.var_names.tolist()
    independent = sc.read_10x_mtx(tmp_path / "a")
    np.testing.assert_array_equal(independent.X.toarray(), part.X.toarray())
    truth = pd.read_csv(tmp_path / "a.csv")
    assert truth["barcode"].tolist() == part.obs_names.tolist()
    assert truth["label"].tolist() == part.obs["cell_type"].tolist()
