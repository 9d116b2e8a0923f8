"""Normalisation, scaling, loadings and batch correction against dense algebra and scanpy."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.errors import InputError
from dice_atlas.features.correction import correct_batches
from dice_atlas.features.latents import (
    LatentSettings,
    compute_latents,
    corrected_components,
    fit_space,
    integrate,
    principal_components,
)
from dice_atlas.features.loadings import choose_k, residual_variance
from dice_atlas.features.mapping import map_query
from dice_atlas.features.normalize import normalize_samples
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.holdout import reference_rows
from dice_atlas.numerics.blocks import row_slices, stack_rows
from dice_atlas.numerics.scaling import (
    fit_scaling,
    log1p_normalize,
    project,
    project_expression,
    scale,
)
from dice_atlas.numerics.svd import truncated_svd
from factories import batch_settings

BATCH = batch_settings(n_pcs=10)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 2.0, (3, 60))[rng.integers(3, size=200)]
    return sp.csr_matrix(rng.poisson(rates).astype(np.int32))


@pytest.fixture(scope="module")
def normalized(counts):
    cells = pd.DataFrame(
        {
            "sample": ["r"] * 150 + ["q"] * 50,
            "role": ["reference"] * 150 + ["query"] * 50,
            "batch": ["a", "b"] * 75 + ["c"] * 50,
            "label": [""] * 200,
        },
        index=[f"cell{i}" for i in range(200)],
    )
    expression = log1p_normalize(counts, np.asarray(counts.sum(axis=1)).ravel(), 1e4)
    return ad.AnnData(expression, obs=cells, var=pd.DataFrame(index=[f"g{i}" for i in range(60)]))


def test_normalisation_is_scanpys(counts):
    data = ad.AnnData(counts.astype(np.float32))
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    ours = log1p_normalize(counts, np.asarray(counts.sum(axis=1)).ravel(), 1e4)
    assert np.abs((ours - data.X).toarray()).max() < 1e-5


def test_normalisation_divides_by_the_total_over_all_genes(tmp_path):
    counts = sp.csr_matrix(np.array([[1, 3, 6], [0, 0, 0]], dtype=np.int32))
    cells = pd.DataFrame({"total_counts": [10, 0], "role": "query"}, index=["x", "y"])
    path = tmp_path / "s.h5ad"
    ad.AnnData(counts, obs=cells, var=pd.DataFrame(index=["A", "B", "C"])).write_h5ad(path)
    genes = pd.DataFrame({"gene": ["C", "A"], "gene_id": ["", ""]})
    result = normalize_samples([path, path], genes, 100.0)
    assert result.shape == (4, 2)
    assert np.allclose(result.X.toarray()[0], np.log1p([60, 10]))
    assert result.X[1].nnz == 0
    with pytest.raises(InputError, match=r"lacks 1 of the selected genes \(such as Z\)"):
        normalize_samples([path], pd.DataFrame({"gene": ["Z"], "gene_id": [""]}), 100.0)


def test_scaling_is_scanpys_with_a_cap(normalized):
    dense = normalized.X.toarray().astype(np.float64)
    scaled = (dense - dense.mean(0)) / dense.std(0, ddof=1)
    capped = np.minimum(scaled, 2.0)
    scaling = fit_scaling(normalized.X, 2.0)
    ours = scale(normalized.X, scaling).toarray() - scaling.center
    assert np.allclose(ours, capped - capped.mean(0), atol=1e-5)
    assert (scaled > 2).any()
    theirs = ad.AnnData(dense.copy())
    sc.pp.scale(theirs)
    uncapped = fit_scaling(normalized.X, 1e6)
    ours = scale(normalized.X, uncapped).toarray() - uncapped.center
    assert np.allclose(ours, theirs.X, atol=1e-5)


def test_svd_with_a_low_rank_correction_is_that_of_the_dense_sum(normalized):
    scaling = fit_scaling(normalized.X, 10.0)
    scaled = scale(normalized.X, scaling)
    rng = np.random.default_rng(1)
    shift, weights = rng.standard_normal((200, 3)), np.linalg.qr(rng.standard_normal((60, 3)))[0]
    dense = scaled.toarray() - scaling.center + shift @ weights.T
    _, expected, right = np.linalg.svd(dense, full_matrices=False)
    values, loadings = truncated_svd(scaled, scaling.center, 8, 0, shift, weights)
    assert np.allclose(values, expected[:8])
    assert np.allclose(np.abs(np.diag(right[:8] @ loadings)), 1.0, atol=1e-6)
    assert np.allclose(loadings.T @ loadings, np.eye(8), atol=1e-8)
    assert (loadings[np.abs(loadings).argmax(0), np.arange(8)] > 0).all()


def test_svd_takes_a_correction_with_its_loadings_only(normalized):
    scaling = fit_scaling(normalized.X, 10.0)
    with pytest.raises(ValueError, match="both or neither"):
        truncated_svd(scale(normalized.X, scaling), scaling.center, 2, 0, np.zeros((200, 3)))


def test_residual_variance_is_that_of_the_dense_residual(normalized, monkeypatch):
    monkeypatch.setattr("dice_atlas.features.loadings.row_slices", lambda n: row_slices(n, 50))
    scaling = fit_scaling(normalized.X, 10.0)
    scaled = scale(normalized.X, scaling)
    _, loadings = truncated_svd(scaled, scaling.center, 5, 0)
    dense = scaled.toarray() - scaling.center
    residual = dense - dense @ loadings @ loadings.T
    none = np.array([], dtype=str)
    space = LatentSpace(normalized.var_names.to_numpy(), loadings, scaling, none, none)
    rows = np.flatnonzero(np.arange(200) % 3)
    expected = (residual[rows] ** 2).sum() / (len(rows) * 55)
    assert residual_variance(normalized.X, rows, space) == pytest.approx(expected)
    assert np.allclose(project(scaled, scaling.center, loadings), dense @ loadings)


def test_blocks_of_cells_do_not_change_their_projection(normalized, monkeypatch):
    scaling = fit_scaling(normalized.X, 10.0)
    _, loadings = truncated_svd(scale(normalized.X, scaling), scaling.center, 5, 0)
    whole = project_expression(normalized.X, scaling, loadings)
    expected = (scale(normalized.X, scaling).toarray() - scaling.center) @ loadings
    np.testing.assert_allclose(whole, expected, atol=1e-10)
    monkeypatch.setattr("dice_atlas.numerics.scaling.row_slices", lambda n: row_slices(n, 7))
    np.testing.assert_array_equal(project_expression(normalized.X, scaling, loadings), whole)


def test_k_is_where_the_signal_ends():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1000, 400))
    signal = rng.standard_normal((1000, 12)) @ (rng.standard_normal((12, 400)) * 0.4)
    values = np.linalg.svd(noise + signal, compute_uv=False)[:50]
    assert choose_k(values) in range(12, 15)
    assert choose_k(np.array([3.0, 2.0, 1.0])) == 3


def test_latents_with_missing_genes_are_least_squares(normalized):
    scaling = fit_scaling(normalized.X, 10.0)
    scaled = scale(normalized.X, scaling)
    values, loadings = truncated_svd(scaled, scaling.center, 5, 0)
    genes = normalized.var_names.to_numpy(dtype=str)
    space = LatentSpace(genes, loadings, scaling, values, np.array([], dtype=str))
    assert space.orthonormal
    part = space.restricted_to(normalized.var_names[5:])
    assert not part.orthonormal
    assert part.missing_genes.tolist() == sorted(genes[:5])
    dense = (scaled.toarray() - scaling.center)[:, 5:]
    expected = np.linalg.lstsq(loadings[5:], dense.T, rcond=None)[0].T
    assert np.allclose(least_squares_latents(normalized.X[:, 5:], part), expected)


def test_corrected_latents_are_those_of_the_corrected_matrix(normalized):
    """X' V = X V + D (W^T V), against the dense corrected matrix."""
    pcs, weights = principal_components(normalized, 6, 10.0, 0)
    corrected, notes = correct_batches(pcs, normalized.obs, BATCH, 0)
    assert notes[0].startswith("reference: corrected (batch: 2 batches")
    assert notes[1] == "query: one batch only, not corrected"
    assert np.array_equal(corrected[150:], pcs[150:])
    assert not np.array_equal(corrected[:150], pcs[:150])
    normalized.obs["total_counts"] = 1e4
    moved = integrate(normalized, pcs, weights, BATCH, 0, 0)
    assert np.array_equal(moved.obsm["X_corrected"], corrected)
    assert moved.uns["correction"]["method"] == "harmony"
    assert moved.uns["correction"]["applied"]
    assert moved.uns["correction"]["notes"].tolist() == notes
    rows = reference_rows(normalized.obs)
    space = fit_space(normalized, moved, rows, LatentSettings(k=4, max_k=20), 10.0, 0)
    result = compute_latents(normalized, moved, space, 1e4)
    shift = corrected - pcs
    shift[:150] -= shift[:150].mean(0)
    dense = scale(normalized.X, space.scaling).toarray() - space.scaling.center
    whole = dense + shift @ weights.T
    expected_values = np.linalg.svd(whole[:150], compute_uv=False)
    assert np.allclose(space.singular_values[:4], expected_values[:4])
    assert np.allclose(result.obsm["X_harmony"], whole @ space.loadings, atol=1e-4)
    assert np.allclose(result.obsm["X_pca"], dense @ space.loadings, atol=1e-4)
    # The query has one batch: nothing moves it.
    assert np.allclose(result.obsm["X_harmony"][150:], result.obsm["X_pca"][150:], atol=1e-5)


def test_harmony_brings_shifted_batches_together():
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=600)
    batch = rng.integers(2, size=600)
    pcs = np.eye(3)[kind] * 6 + rng.normal(0, 0.5, (600, 3)) + batch[:, None] * [1.5, 1.0, 0.0]
    cells = pd.DataFrame({"role": "query", "batch": batch.astype(str)})
    corrected, _ = correct_batches(pcs, cells, BATCH, 0)
    gap = [np.linalg.norm(z[batch == 1].mean(0) - z[batch == 0].mean(0)) for z in (pcs, corrected)]
    assert gap[1] < 0.4 * gap[0]
    again, _ = correct_batches(pcs, cells, BATCH, 0)
    assert np.array_equal(corrected, again)
    untouched, notes = correct_batches(pcs, cells, replace(BATCH, scope="none"), 0)
    assert np.array_equal(untouched, pcs)
    assert notes == ["batch.scope is none: not corrected"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_reference_cells_are_refused(normalized, n):
    seen = rf"seen {n} cells and {normalized.n_vars} genes .* expected at least 3 of each.*: add"
    few = normalized[: n + 5].copy()
    few.obs["role"] = ["reference"] * n + ["query"] * 5
    rows = reference_rows(few.obs) if n else np.zeros(5, dtype=bool)
    if n:
        with pytest.raises(InputError, match=seen):
            principal_components(few, 50, 10.0, 0)
    corrected = ad.AnnData(obs=few.obs, obsm={"X_pcs": np.zeros((n + 5, 2))})
    corrected.obsm["X_corrected"] = corrected.obsm["X_pcs"]
    corrected.uns["correction"] = {"scope": "none"}
    with pytest.raises(InputError, match=seen):
        fit_space(few, corrected, rows, LatentSettings(None, 50), 10.0, 0)
    with pytest.raises(InputError, match=rf"seen {n} reference cells, expected at least 3.* set"):
        map_query(np.zeros((n, 2)), np.zeros((5, 2)), np.repeat("a", 5), 0.1, 0)


def test_three_reference_cells_are_enough(normalized):
    few = normalized[:8].copy()
    few.obs["role"] = ["reference"] * 3 + ["query"] * 5
    pcs, loadings = principal_components(few, 50, 10.0, 0)
    assert (pcs.shape, loadings.shape) == ((8, 2), (few.n_vars, 2))


def test_batch_keys_are_looked_at_before_the_svd(normalized, monkeypatch):
    monkeypatch.setattr("dice_atlas.features.latents.truncated_svd", None)
    settings = batch_settings(keys=["donor"])
    with pytest.raises(InputError, match=r"batch\.keys: donor is no column of the cells"):
        corrected_components(normalized, None, settings, 10.0, 0, 1)


def test_a_mapped_query_comes_to_the_reference_which_stays():
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=900)
    query = np.arange(900) >= 600
    shift = query[:, None] * np.array([1.0, -1.0, 0.5])
    pcs = np.eye(3)[kind] * 8 + rng.normal(0, 0.7, (900, 3)) + shift
    cells = pd.DataFrame({"role": np.where(query, "query", "reference"),
                          "batch": np.where(query, "q", np.where(kind > 0, "a", "b"))})  # fmt: skip
    within, _ = correct_batches(pcs, cells, BATCH, 0)
    mapped, notes = correct_batches(pcs, cells, replace(BATCH, scope="mapped"), 0)
    assert np.array_equal(mapped[~query], within[~query])
    assert np.array_equal(within[query], pcs[query])
    assert notes[-1] == "query: mapped on the reference (1 batches, 300 cells)"

    # Two batches of the query are mapped each by itself.
    cells["batch"] = np.where(query, np.where(np.arange(900) % 2, "q1", "q2"), "a")
    pcs = pcs - 2 * shift * (np.arange(900) % 2)[:, None]
    mapped, _ = correct_batches(pcs, cells, replace(BATCH, scope="mapped"), 0)
    for odd in (0, 1):
        rows = query & (np.arange(900) % 2 == odd)
        before, after = (
            sum(np.linalg.norm(z[rows & (kind == k)].mean(0) - z[~query & (kind == k)].mean(0))
                for k in range(3))
            for z in (pcs, mapped)
        )  # fmt: skip
        assert after < 0.75 * before

    # Without a reference it is Harmony within the role.
    alone = cells.assign(role="query")
    of_query = [correct_batches(pcs, alone, replace(BATCH, scope=s), 0)[0]
                for s in ("mapped", "within_role")]  # fmt: skip
    assert np.array_equal(*of_query)


def test_stacked_rows_are_those_of_scipy():
    rng = np.random.default_rng(0)
    blocks = [sp.random(n, 7, 0.3, format="csr", rng=rng, dtype=np.float64) for n in (4, 0, 1, 9)]
    expected = sp.vstack(blocks, format="csr")
    found = stack_rows(blocks)
    assert not blocks
    assert found.has_canonical_format
    assert found.indptr.dtype == found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
