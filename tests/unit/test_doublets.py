"""Scrublet: real doublets are found, the seed repeats, small samples are no failure."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.counts import doublets
from dice_atlas.counts.doublets import score_doublets
from dice_atlas.counts.qc import assess_cells, set_apart
from dice_atlas.counts.readers import read_counts
from factories import qc_settings
from sklearn.metrics import roc_auc_score

SETTINGS = qc_settings(min_genes=1, doublets="annotate")


def test_genetic_doublets_score_higher(shared):
    # demuxlet called these doublets from SNPs, without expression.
    path = shared / "data" / "sc_mixology" / "sc_mixology.h5ad"
    counts = read_counts(path, "batch=celseq2_5cl_p1|celseq2_5cl_p2|celseq2_5cl_p3")
    doublet = (counts.obs["demuxlet_cls"] == "DBL").to_numpy()
    scores, predicted, threshold = score_doublets(counts, 0, "mix")
    np.testing.assert_array_equal(predicted, scores > threshold)
    assert roc_auc_score(doublet, scores) > 0.65
    assert doublet[predicted].mean() > 0.9
    again = score_doublets(counts, 0, "mix").scores
    np.testing.assert_array_equal(scores, again)
    other = score_doublets(counts, 1, "mix").scores
    assert not np.array_equal(scores, other)


def poisson(n_cells, n_genes, name="s"):
    X = np.random.default_rng(0).poisson(1.0, (n_cells, n_genes))
    adata = ad.AnnData(sp.csr_matrix(X, dtype=np.int32))
    adata.var_names = [f"G{i}" for i in range(n_genes)]
    adata.obs["sample"] = name
    return adata


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "message"),
    [(149, 500, "149 cells, Scrublet needs 150"), (160, 12, "Scrublet failed")],
)
def test_no_score_is_said_and_no_failure(caplog, n_cells, n_genes, message):
    scores, predicted, threshold = score_doublets(poisson(n_cells, n_genes), 0, "small")
    assert np.isnan(threshold)
    assert np.isnan(scores).all()
    assert len(scores) == n_cells
    assert not predicted.any()
    assert f"small: no doublet scores: {message}" in caplog.text


def shallow(shared, n_cells, seed, depth=300):
    """Cells of pbmc3k, their counts drawn down to a depth."""
    counts = read_counts(shared / "data" / "pbmc3k" / "pbmc3k.h5ad")
    rng = np.random.default_rng(seed)
    X = counts.X[rng.choice(counts.n_obs, n_cells, replace=False)]
    share = np.minimum(depth / X.sum(axis=1).A1, 1)
    X.data = rng.binomial(X.data, np.repeat(share, np.diff(X.indptr))).astype(np.int32)
    return ad.AnnData(X)


def test_small_shallow_samples_lose_no_cells(shared, caplog, monkeypatch):
    """Of 50 such cells Scrublet's threshold calls a third and more."""
    assert score_doublets(shallow(shared, 150, 0), 0, "s").predicted.mean() < 0.15
    assert not score_doublets(shallow(shared, 50, 0), 0, "s").predicted.any()
    monkeypatch.setattr(doublets, "MIN_CELLS", 50)
    for seed in range(3):
        found = score_doublets(shallow(shared, 50, seed), seed, "s")
        assert np.isfinite(found.scores).all()
        assert not found.predicted.any()
        assert np.isnan(found.threshold)
    assert "more than any capture has" in caplog.text


def test_off_annotate_remove(shared):
    counts = read_counts(
        shared / "data" / "sc_mixology" / "sc_mixology.h5ad", "batch=celseq2_5cl_p1"
    )
    counts.obs["sample"] = "s"
    counts = set_apart(counts, SETTINGS)
    annotated, _ = assess_cells(counts, SETTINGS, 0)
    removed, _ = assess_cells(counts, replace(SETTINGS, doublets="remove"), 0)
    off, _ = assess_cells(counts, replace(SETTINGS, doublets="off"), 0)
    assert annotated["kept"].all()
    n_doublets = int(annotated["predicted_doublet"].sum())
    assert n_doublets > 0
    assert (removed["reason"] == "doublet").sum() == n_doublets
    assert removed.loc[~removed["kept"], "predicted_doublet"].all()
    assert off["doublet_score"].isna().all()
    assert off["kept"].all()
