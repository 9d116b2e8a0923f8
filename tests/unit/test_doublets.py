"""Scrublet: real doublets are found, the seed repeats, small samples are no failure."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
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
    scores, predicted = score_doublets(counts, 0, "mix")
    assert roc_auc_score(doublet, scores) > 0.65
    assert doublet[predicted].mean() > 0.9
    again, _ = score_doublets(counts, 0, "mix")
    np.testing.assert_array_equal(scores, again)
    other, _ = score_doublets(counts, 1, "mix")
    assert not np.array_equal(scores, other)


def poisson(n_cells, n_genes, name="s"):
    X = np.random.default_rng(0).poisson(1.0, (n_cells, n_genes))
    adata = ad.AnnData(sp.csr_matrix(X, dtype=np.int32))
    adata.var_names = [f"G{i}" for i in range(n_genes)]
    adata.obs["sample"] = name
    return adata


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "message"),
    [(49, 500, "49 cells, Scrublet needs 50"), (80, 12, "Scrublet failed")],
)
def test_no_score_is_said_and_no_failure(caplog, n_cells, n_genes, message):
    scores, predicted = score_doublets(poisson(n_cells, n_genes), 0, "small")
    assert np.isnan(scores).all()
    assert len(scores) == n_cells
    assert not predicted.any()
    assert f"small: no doublet scores: {message}" in caplog.text


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
