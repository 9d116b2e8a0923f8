"""QC metrics and limits against scanpy and closed forms; what is removed, and why."""

import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from dice_atlas.counts.criteria import CRITERIA, METRIC_NAMES
from dice_atlas.counts.qc import (
    assess_cells,
    cell_metrics,
    filtered_sample,
    join_summaries,
    mad_limits,
    removal_reasons,
    set_apart,
)
from dice_atlas.errors import InputError
from factories import qc_settings
from scipy import stats


def limits(**changes):
    return qc_settings(**{"min_genes": 200, "max_mito_percent": 15} | changes)


def metrics_of(**metrics):
    """A table of these metrics; the others are 0."""
    return pd.DataFrame({**dict.fromkeys(METRIC_NAMES, 0.0), **metrics})


def sample_of(X, genes, name="s"):
    obs = pd.DataFrame(
        {"sample": name, "role": "query", "batch": "b", "label": ""},
        index=[f"{name}_{i}" for i in range(X.shape[0])],
    )
    return ad.AnnData(sp.csr_matrix(X, dtype=np.int32), obs, pd.DataFrame(index=genes))


@pytest.fixture
def random_sample():
    rng = np.random.default_rng(5)
    X = rng.poisson(rng.gamma(0.4, 1.0, 400) * rng.gamma(4.0, 0.3, (300, 1)))
    X[0] = 0
    return sample_of(X, ["MT-CO1", "mt-Nd1", "MTOR", *[f"G{i}" for i in range(397)]])


def test_metrics_agree_with_scanpy(random_sample):
    ours = cell_metrics(random_sample.X, random_sample.var_names, limits(), "s")
    random_sample.var["mt"] = random_sample.var_names.isin(["MT-CO1", "mt-Nd1"])
    sc.pp.calculate_qc_metrics(random_sample, qc_vars=["mt"], inplace=True, percent_top=None)
    np.testing.assert_array_equal(ours["n_genes"], random_sample.obs["n_genes_by_counts"])
    np.testing.assert_array_equal(ours["total_counts"], random_sample.obs["total_counts"])
    expected = random_sample.obs["pct_counts_mt"].fillna(0)
    np.testing.assert_allclose(ours["percent_mito"], expected, rtol=1e-5)


def test_totals_do_not_overflow():
    X = sp.csr_matrix(np.full((1, 3), 2_000_000_000, dtype=np.int32))
    assert cell_metrics(X, pd.Index(list("abc")), limits(), "s")["total_counts"][0] == 6_000_000_000


def test_pattern_without_a_gene_is_said(caplog, random_sample):
    cell_metrics(random_sample.X, random_sample.var_names, limits(mito_pattern="^mito_"), "s9")
    assert "s9: no gene matches mito_pattern '^mito_'" in caplog.text
    with pytest.raises(InputError, match="no regular expression"):
        cell_metrics(random_sample.X, random_sample.var_names, limits(mito_pattern="("), "s9")


@pytest.mark.parametrize(
    ("changes", "warned"),
    [({}, False), ({"n_mads": 3}, True), ({"max_mito_percent": 15}, True)],
    ids=["no limit", "MADs", "per cent"],
)
def test_pattern_without_a_gene_is_said_where_its_share_is_limited(caplog, changes, warned):
    X, genes = sp.csr_matrix(np.ones((2, 2))), pd.Index(["RPS3", "ACTB"])
    cell_metrics(X, genes, qc_settings(**changes), "s")
    assert ("no gene matches mito_pattern" in caplog.text) == warned
    # Outliers are not looked for among the shares of ribosomal counts.
    cell_metrics(X, genes[[1, 1]], qc_settings(**changes), "s")
    assert "ribo_pattern" not in caplog.text


def test_mad_limits_are_scaters():
    # scater::isOutlier: median +- nmads * mad(x), and R's mad() is that of scipy with "normal".
    rng = np.random.default_rng(1)
    metrics = metrics_of(
        n_genes=rng.integers(100, 3000, 501),
        total_counts=rng.integers(500, 90000, 501),
        percent_mito=rng.gamma(2.0, 2.0, 501),
    )
    bands = mad_limits(metrics, 3.0)
    for metric in ("n_genes", "total_counts"):
        logged = np.log1p(metrics[metric])
        mad = stats.median_abs_deviation(logged, scale="normal")
        expected = np.expm1(np.median(logged) + np.array([-3, 3]) * mad)
        np.testing.assert_allclose(bands[metric], expected, rtol=1e-4)
    mad = stats.median_abs_deviation(metrics["percent_mito"], scale="normal")
    expected = metrics["percent_mito"].median() + 3 * mad
    np.testing.assert_allclose(bands["percent_mito"], (-np.inf, expected), rtol=1e-4)


def test_reasons_and_their_order():
    metrics = metrics_of(
        n_genes=[10, 10, 200, 199, 300, 310, 320, 330, 9000],
        total_counts=[20, 20, 400, 400, 600, 620, 640, 660, 18000],
        percent_mito=[0, 50, 15, 1, 15.1, 2, 3, 1, 2.0],
    )
    reasons, bands = removal_reasons(metrics, limits())
    assert bands == {}
    few, mito = "min_genes", "max_mito_percent"
    assert reasons.tolist() == [few, few, "", few, mito, "", "", "", ""]
    reasons, bands = removal_reasons(metrics, limits(n_mads=5))
    assert reasons.tolist() == [few, few, "mad", few, mito, "", "", "", "mad"]
    # The limits come from the cells that the fixed limits keep.
    kept = metrics.iloc[[2, 5, 6, 7, 8]]
    assert bands == mad_limits(kept, 5)


def test_flat_metric_gets_no_mad_limit(caplog):
    metrics = metrics_of(n_genes=range(200, 220), total_counts=range(400, 420))
    metrics.loc[0, "percent_mito"] = 3.0
    reasons, bands = removal_reasons(metrics, limits(min_genes=0, n_mads=5))
    assert set(bands) == {"n_genes", "total_counts"}
    assert "no MAD limit for percent_mito" in caplog.text
    assert not reasons.any()


def test_every_criterion_removes_beyond_its_limit_and_not_at_it():
    for criterion in CRITERIA:
        beyond = 49 if criterion.side == "min" else 51
        metrics = metrics_of(**{criterion.metric: [beyond, 50]})
        # At its value for `off` it removes none.
        assert not removal_reasons(metrics, qc_settings())[0].any()
        reasons, _ = removal_reasons(metrics, qc_settings(**{criterion.setting: 50}))
        assert reasons.tolist() == [criterion.setting, ""]


def test_default_patterns_are_of_mitochondrial_and_ribosomal_genes():
    genes = pd.Index(
        ["MT-CO1", "mt-Nd1", "MTOR", "RPS3", "RPL13A", "Rplp0", "RPSA", "RPS6KA1", "RPS6", "RPN1"]
    )
    found = cell_metrics(sp.identity(len(genes), format="csr"), genes, qc_settings(), "s")
    assert genes[found["percent_mito"] == 100].tolist() == ["MT-CO1", "mt-Nd1"]
    ribosomal = ["RPS3", "RPL13A", "Rplp0", "RPSA", "RPS6"]
    assert genes[found["percent_ribo"] == 100].tolist() == ribosomal


def test_ribosomal_genes_are_those_of_proteins_and_their_paralogues():
    ribosomal = [
        "RPLP0", "RPLP1", "RPLP2", "RPL3", "RPL3L", "RPL7A", "RPL7L1", "RPL10A", "RPL10L",
        "RPL13A", "RPL22L1", "RPL26L1", "RPL36A", "RPL36AL", "RPL39L", "RPL41", "RPS3A", "RPS4X",
        "RPS4Y1", "RPS4Y2", "RPS6", "RPS15A", "RPS27A", "RPS27L", "RPSA", "RPSA2", "Rplp1",
        "Rpl13a", "Rpl22l1", "Rpl36al", "Rps4x", "Rps4l", "Rpsa",
    ]  # fmt: skip
    # Kinases, a binding protein, pseudogenes, readthroughs, the mitochondrion's, others.
    others = [
        "RPS6KA1", "RPS6KB1", "RPS6KC1", "RPS6KL1", "Rps6ka1", "RPS19BP1", "Rps19bp1", "RPL10P9",
        "RPS2P5", "RPL21P28", "RPL13AP5", "RPL7AP6", "RPLP0P6", "RPLP0P2", "RPSAP58", "RPS3AP26",
        "Rpl10-ps3", "Rps19-ps3", "RPS10-NUDT3", "RPL17-C18orf32", "RPL36A-HNRNPH2", "MRPL3",
        "MRPS6", "RPN1", "RPLX",
    ]  # fmt: skip
    genes = pd.Index(ribosomal + others)
    found = cell_metrics(sp.identity(len(genes), format="csr"), genes, qc_settings(), "s")
    assert genes[found["percent_ribo"] == 100].tolist() == ribosomal


def test_a_limit_that_removes_nearly_all_cells_is_named(random_sample, caplog):
    sample = set_apart(random_sample, limits())
    genes = np.sort(np.asarray((sample.X > 0).sum(axis=1)).ravel())
    assess_cells(sample, limits(min_genes=int(genes[-5])), 0)
    lost = [text for text in caplog.messages if "cells are kept" in text]
    assert len(lost) == 1
    assert re.search(r"\d of 300 cells are kept; \d+ fell to min_genes \(\d+\), set in", lost[0])
    caplog.clear()
    assess_cells(sample, limits(min_genes=1), 0)
    assert not [text for text in caplog.messages if "cells are kept" in text]


def test_no_cell_left_says_why(random_sample):
    with pytest.raises(InputError) as error:
        assess_cells(set_apart(random_sample, limits()), limits(min_genes=390), 0)
    assert "no cell is left of 300: 300 to min_genes, 0 to max_mito_percent" in str(error.value)
    assert "n_genes min 0, median" in str(error.value)


def test_a_filtered_sample_holds_the_kept_cells(random_sample):
    settings = limits(min_genes=100)
    random_sample = set_apart(random_sample, settings)
    cells, _ = assess_cells(random_sample, settings, 0)
    filtered = filtered_sample(random_sample, cells)
    kept = random_sample.X.toarray()[cells["kept"].to_numpy()]
    np.testing.assert_array_equal(filtered.X.toarray(), kept)
    np.testing.assert_array_equal(filtered.var["n_cells"], (kept > 0).sum(axis=0))
    np.testing.assert_array_equal(filtered.obs["n_genes"], (kept > 0).sum(axis=1))
    assert 0 < filtered.n_obs < 300
    assert filtered.obs["doublet_score"].isna().all()
    assert filtered.obs["predicted_doublet"].dtype == bool
    assert (cells["reason"] == "").equals(cells["kept"])


def test_spike_ins_are_set_apart_from_the_genes(random_sample):
    rng = np.random.default_rng(0)
    spikes = sp.csr_matrix(rng.poisson(0.5, (300, 20)), dtype=np.int32)
    spikes[0] = 0
    names = [*random_sample.var_names, "ERCC1", *[f"ERCC-{i:05d}" for i in range(19)]]
    both = sample_of(sp.hstack([random_sample.X, spikes]), names)
    settings = limits(min_genes=100, max_mito_percent=100, max_spike_percent=4)
    genes = set_apart(both.copy(), settings)
    assert genes.var_names.tolist() == [*random_sample.var_names, "ERCC1"]  # a gene
    cells, _ = assess_cells(genes, settings, 0)
    alone, _ = assess_cells(set_apart(both[:, :401].copy(), settings), settings, 0)
    for name in ("n_genes", "total_counts", "percent_mito"):
        pd.testing.assert_series_equal(cells[name], alone[name])
    of_spikes = spikes[:, 1:].sum(axis=1).A1 / np.maximum(both.X.sum(axis=1).A1, 1)
    np.testing.assert_allclose(cells["percent_spike"], 100 * of_spikes)
    removed = cells["reason"] == "max_spike_percent"
    assert 0 < removed.sum() < 300
    assert removed.sum() == ((cells["percent_spike"] > 4) & (cells["n_genes"] >= 100)).sum()
    with pytest.raises(InputError, match="expected genes of the cells beside spike-ins"):
        set_apart(random_sample, limits(spike_pattern="."))


def test_summaries_are_joined_as_written(tmp_path):
    for name, value in (("b", "0.5"), ("a", "")):
        (tmp_path / name).write_text(f"sample\tx\n{name}\t{value}\n")
    joined = join_summaries([tmp_path / "b", tmp_path / "a"])
    assert joined.to_dict("list") == {"sample": ["b", "a"], "x": ["0.5", ""]}
