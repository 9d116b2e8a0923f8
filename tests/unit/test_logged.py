"""Log-normalised expression without counts: brought to the workflow's own, against scanpy's."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.atlas.matrices import unite_genes, write_matrices
from dice_atlas.benchmark.split import gather
from dice_atlas.counts.logged import cell_totals, is_logged
from dice_atlas.counts.qc import assess_cells, filtered_sample, set_apart, summary_row
from dice_atlas.counts.sample import load_sample
from dice_atlas.errors import InputError
from dice_atlas.features.normalize import normalize_samples
from dice_atlas.features.selection import select_genes
from dice_atlas.features.variable_genes import moments, normalized_dispersion
from dice_atlas.sheet_settings import (
    require_counts,
)
from dice_atlas.tables import read_part
from dice_atlas.transfer.dataset import read_expression, reference_features
from factories import qc_settings

N, G = 120, 200
ROW = {"sample": "r", "role": "reference", "batch": "b", "labels": "", "labels_source": "",
       "subset": "", "suffix": "", "slot": "", "extra": {}}  # fmt: skip


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 1.0, G) * rng.gamma(4.0, 0.5, (N, 1))
    rate[: N // 2, :20] *= 6
    names = ["MT-CO1", "ERCC-00002", *[f"G{i}" for i in range(G - 2)]]
    obs = pd.DataFrame(index=[f"c{i}" for i in range(N)])
    return ad.AnnData(sp.csr_matrix(rng.poisson(rate) + np.eye(N, G, dtype=int)), obs,
                      pd.DataFrame(index=names))  # fmt: skip


def logs(counts, total=1e4, base=np.e, genes=None):
    """scanpy's log-normalised values, perhaps of a part of the genes."""
    made = counts.copy()
    made.X = made.X.astype(np.float32)
    sc.pp.normalize_total(made, target_sum=total)
    sc.pp.log1p(made)
    made.X = made.X / np.log(base)
    del made.uns["log1p"]
    return made if genes is None else made[:, genes].copy()


def loaded(made, folder, expression, name="r", role="reference", **limits):
    """As the rules load_counts and filter_cells leave it, with its path."""
    made.write_h5ad(folder / f"{name}_raw.h5ad")
    row = ROW | {"path": str(folder / f"{name}_raw.h5ad"), "expression": expression,
                 "sample": name, "role": role}  # fmt: skip
    wanted = {"min_genes": 1, "doublets": "annotate", "n_mads": 5, "spike_pattern": "^NONE"}
    settings = qc_settings(**wanted | limits)
    sample = set_apart(load_sample(row), settings)
    cells, bands = assess_cells(sample, settings, 0)
    path = folder / f"{name}.h5ad"
    filtered_sample(sample, cells).write_h5ad(path, convert_strings_to_categoricals=False)
    return path, cells, summary_row(sample, cells, settings, bands)


@pytest.mark.parametrize("base", [np.e, 2, 10])
@pytest.mark.parametrize("total", [1e4, 1e6, 1843.0])
def test_any_base_and_total_gives_the_workflows_own_expression(counts, tmp_path, base, total):
    raw, _, _ = loaded(counts, tmp_path, "", "raw")
    logged, _, _ = loaded(logs(counts, total, base), tmp_path, "log1p", "logged")
    genes = pd.DataFrame({"gene": counts.var_names, "gene_id": ""})
    expected = normalize_samples([raw], genes, 1e4).X.toarray()
    np.testing.assert_allclose(
        normalize_samples([logged], genes, 1e4).X.toarray(), expected, rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        read_expression([logged], counts.var_names).toarray(), expected, rtol=1e-3, atol=1e-4
    )
    source = read_part(logged, "uns")["source"]
    assert source["total"] == pytest.approx(total, rel=1e-3)
    assert f"cells sum to {source['total']:g}" in source["decided"]["values"]


def test_a_part_of_the_genes_is_taken_as_it_is(counts, tmp_path, caplog):
    part = logs(counts, genes=np.arange(0, G, 2))
    path, cells, _ = loaded(part, tmp_path, "log1p")
    assert "do not sum to one total" in caplog.text
    assert "(natural), " in caplog.text
    assert "expected the same for all cells" in caplog.text
    genes = pd.DataFrame({"gene": part.var_names, "gene_id": ""})
    found = normalize_samples([path], genes, 1e4).X.toarray()
    kept = part.X.toarray()[cells["kept"].to_numpy()]
    np.testing.assert_allclose(found, kept, rtol=1e-3, atol=1e-4)


def test_spike_ins_and_dropped_genes_do_not_count_into_the_totals(counts, tmp_path):
    counts.X = sp.csr_matrix(counts.X.toarray() * np.where(np.arange(G) == 1, 5, 1))
    genes = pd.DataFrame({"gene": counts.var_names[2:], "gene_id": ""})
    limits = {"spike_pattern": "^ERCC-", "n_mads": None, "max_mito_percent": 100}
    for kept in (counts.var_names, counts.var_names[1:]):
        raw, own, _ = loaded(counts[:, kept].copy(), tmp_path, "", "raw", **limits)
        path, cells, _ = loaded(logs(counts, 1e6, 2, kept), tmp_path, "log1p", **limits)
        np.testing.assert_allclose(cells["percent_spike"], own["percent_spike"], rtol=1e-4)
        expected = normalize_samples([raw], genes, 1e4).X.toarray()
        found = normalize_samples([path], genes, 1e4).X.toarray()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_files_of_several_totals_are_ranked_as_one(counts, tmp_path):
    whole, _, _ = loaded(logs(counts), tmp_path, "log1p", "whole", n_mads=None)
    first, _, _ = loaded(logs(counts[:70].copy()), tmp_path, "log1p", "a", n_mads=None)
    second, _, _ = loaded(logs(counts[70:].copy(), 1e6), tmp_path, "log1p", "b", n_mads=None)
    assert reference_features([first, second], 50) == reference_features([whole], 50)


def test_genes_in_too_few_cells_come_after_all_others(counts, tmp_path):
    path, _, _ = loaded(logs(counts), tmp_path, "log1p")
    table = select_genes([path], 175, "joint", 3, ["batch"])
    assert 175 < (table["n_cells"] >= 3).sum() < G
    assert table["variance_standardized"].min() < -1
    assert table["selected"].sum() == 175


def test_quality_control_without_counts(counts, tmp_path, caplog):
    _, raw, _ = loaded(counts, tmp_path, "", "raw")
    path, cells, row = loaded(logs(counts), tmp_path, "log1p")
    assert (cells["n_genes"] == raw["n_genes"]).all()
    np.testing.assert_allclose(cells["percent_mito"], raw["percent_mito"], rtol=1e-3)
    assert cells["total_counts"].isna().all()
    assert cells["doublet_score"].isna().all()
    assert "no doublet scores: its file holds no counts" in caplog.text
    assert row["doublets"] == "off"
    assert np.isnan(row["median_counts"])
    assert np.isnan(row["mad_max_total_counts"])
    assert is_logged(ad.read_h5ad(path))
    np.testing.assert_allclose(cell_totals(ad.read_h5ad(path)), 1e4, rtol=1e-3)


def test_dispersions_are_scanpys(counts):
    made = logs(counts)
    linear = made.copy()
    linear.X = np.expm1(made.X)
    sc.pp.highly_variable_genes(made, flavor="seurat", n_top_genes=50)
    expected = made.var["dispersions_norm"].to_numpy()
    found = normalized_dispersion(moments(linear.X))
    known = np.isfinite(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-3, atol=1e-3)
    assert set(np.argsort(-found)[:50]) >= set(np.flatnonzero(made.var["highly_variable"])[:45])
    assert (found[~known] < found[known].min()).all()


def test_genes_are_ranked_beside_samples_with_counts(counts, tmp_path):
    raw, _, _ = loaded(counts, tmp_path, "", "q", "query")
    logged, _, _ = loaded(logs(counts), tmp_path, "log1p")
    table = select_genes([logged, raw], 60, "joint", 3, ["batch"])
    # The genes that half of the cells have six times over.
    best = set(table["gene"][table["selected"]])
    assert len(best & set(counts.var_names[2:20])) >= 12
    features = reference_features([logged, raw], 60)
    assert len(set(features) & set(counts.var_names[2:20])) >= 12
    other, _, _ = loaded(counts, tmp_path, "", "r2")
    assert len(reference_features([logged, other, raw], 60)) == 60


def test_the_atlas_has_no_counts_layer(counts, tmp_path):
    raw, _, _ = loaded(counts, tmp_path, "", "q", "query")
    logged, _, _ = loaded(logs(counts, 1e6), tmp_path, "log1p")
    for paths, has_counts in (([raw], True), ([logged, raw], False)):
        genes = unite_genes([read_part(path, "var") for path in paths])
        frame = ad.AnnData(
            obs=pd.DataFrame(index=[str(i) for i in range(N * len(paths))]),
            var=pd.DataFrame(index=genes.names),
        )
        frame.write_h5ad(tmp_path / "atlas.h5ad")
        n_cells = write_matrices(tmp_path / "atlas.h5ad", paths, genes, 1e4)
        atlas = ad.read_h5ad(tmp_path / "atlas.h5ad")
        assert ("counts" in atlas.layers) == has_counts
        own = atlas.X[-N:].toarray()
        np.testing.assert_allclose(atlas.X[:N].toarray(), own, rtol=1e-3, atol=1e-4)
        assert (n_cells == (atlas.X.toarray() > 0).sum(axis=0)).all()


def test_what_needs_counts_is_refused(counts, tmp_path):
    path, _, _ = loaded(logs(counts), tmp_path, "log1p")
    with pytest.raises(InputError, match="the benchmark's methods need them"):
        gather([ad.read_h5ad(path)], [1])
    sheet = {"r": {"expression": "log1p"}, "q": {"expression": ""}}
    for likelihood in ("poisson", "negative_binomial"):
        config = {"denoise": {"likelihood": likelihood}}
        with pytest.raises(InputError, match=rf"seen {likelihood}.*sample\(s\) r have"):
            require_counts(config, sheet)
    require_counts({"denoise": {"likelihood": "gaussian"}}, sheet)
    require_counts({"denoise": {"likelihood": "poisson"}}, {"q": {"expression": ""}})
