"""Comparison of conditions: sums, genes, shares and what holds, against other computations."""

import warnings
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
from dice_atlas.conditions import pseudobulk
from dice_atlas.conditions.composition import compare_shares, log_odds
from dice_atlas.conditions.design import compared_units, comparisons, unestimable
from dice_atlas.conditions.expression import compare_genes, enough_counts
from dice_atlas.conditions.results import add_findings, compare_conditions
from dice_atlas.conditions.settings import WEIGHTINGS, CompareSettings, require_units
from dice_atlas.errors import InputError
from dice_atlas.numerics import blocks
from pydeseq2.dds import DeseqDataSet
from pydeseq2.ds import DeseqStats
from scipy import stats
from scipy.special import digamma

SETTINGS = CompareSettings("condition", "donor", (), "query", "ctrl", 10, 0.05)
UNPAIRED = [("d1", "ctrl"), ("d2", "ctrl"), ("d3", "stim"), ("d4", "stim")]


def units_of(pairs, **covariates):
    index = pd.Index([f"{donor}, {condition}" for donor, condition in pairs], name="unit")
    return pd.DataFrame(pairs, columns=["replicate", "condition"], index=index).assign(**covariates)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([("d1", "a"), ("d2", "a")], r"compare.baseline: seen 'ctrl'.*seen there: a"),
        ([("d1", ""), ("d2", "")], "seen there: none"),
        ([("d1", "ctrl"), ("d2", "ctrl")], "compare.column: seen ctrl alone"),
        (UNPAIRED[:3], r"fewer than 2 replicates .* in stim \(1\)"),
        ([*UNPAIRED, ("d1", "stim")], "compare.sample: d1 lies in ctrl and in stim"),
    ],
)
def test_replicates_that_allow_no_comparison_are_refused(units, message):
    with pytest.raises(InputError, match=message):
        require_units(units, SETTINGS)
    require_units([*UNPAIRED, *UNPAIRED, ("d9", "")], SETTINGS)


def test_replicates_in_both_conditions_are_compared_as_pairs(caplog):
    pairs = [(f"d{i}", c) for i in range(3) for c in ("ctrl", "stim")]
    units = units_of([*pairs, ("d9", "ctrl"), ("x", "other"), ("y", "other")])
    other, stim = comparisons(units, SETTINGS)
    assert "stim: the replicates d9 have no partner" in caplog.text
    assert (other.condition, other.paired, len(other.units)) == ("other", False, 6)
    assert stim.paired
    assert stim.numbers(stim.units) == (3, 3)  # d9 has no partner
    # A pair of which one end has too few cells is left out.
    enough = pd.Series([True] * 5 + [False], index=stim.units.index)
    assert set(stim.usable(enough)["replicate"]) == {"d0", "d1"}
    design = stim.design(stim.units, [])
    assert list(design) == ["intercept", "replicate:d1", "replicate:d2", "condition"]
    assert not unestimable(design)


def test_covariates_enter_where_they_add_something_and_not_in_place_of_the_condition():
    pairs = [(f"d{i}", "ctrl" if i < 3 else "stim") for i in range(6)]
    (pair,) = comparisons(units_of(pairs, batch=list("ababab"), plate=list("xyxyxy")), SETTINGS)
    design = pair.design(pair.units, ["batch", "plate"])
    assert list(design) == ["intercept", "batch:b", "condition"]
    assert design["batch:b"].tolist() == [0, 1, 0, 1, 0, 1]
    (pair,) = comparisons(units_of(pairs, batch=list("aaabbb")), SETTINGS)
    assert "cannot be told from" in unestimable(pair.design(pair.units, ["batch"]))
    few = pair.units.iloc[[0, 3]]
    assert "fewer than 2 replicates" in pair.too_few(few)
    assert "too few for 2 coefficients" in unestimable(pair.design(few, []))


def test_cells_take_part_by_role_label_and_condition():
    obs = pd.DataFrame(
        {"role": ["query"] * 5 + ["reference"],
         "cell_type": ["T", "T", "unassigned", "T", "T", "T"],
         "condition": ["ctrl", "stim", "ctrl", "", "ctrl", "ctrl"],
         "donor": ["d1", "d1", "d1", "d1", "d2", "d3"], "batch": list("aabbab")}
    )  # fmt: skip
    of_cell, units = compared_units(obs, SETTINGS)
    assert of_cell.tolist() == ["d1, ctrl", "d1, stim", "", "", "d2", ""]
    assert units.index.tolist() == ["d1, ctrl", "d1, stim", "d2"]
    everyone = replace(SETTINGS, cells="all", covariates=("batch",))
    assert compared_units(obs, everyone)[1].loc["d3", "batch"] == "b"
    with pytest.raises(InputError, match="is no column of the atlas"):
        compared_units(obs, replace(SETTINGS, sample="patient"))
    with pytest.raises(InputError, match="no cell"):
        compared_units(obs.assign(cell_type="unassigned"), SETTINGS)
    obs.loc[4, ["donor", "batch"]] = ["d1", "c"]
    with pytest.raises(InputError, match=r"the replicate d1, ctrl has several values of batch"):
        compared_units(obs, everyone)


def test_weights_of_a_cell():
    cells = pd.DataFrame(
        {"cell_type": ["B", "B", "T", "T", "B"], "cell_type_set": ["B", "B|T", "NK|T", "", ""],
         "cell_type_score": [0.9, 0.6, 0.5, 0.4, np.nan]}
    )  # fmt: skip
    scores = np.array([[0.9, 0, 0.1], [0.6, 0.1, 0.3], [0.2, 0, 0.5], [0, 0.6, 0.4], [np.nan] * 3])
    found = pseudobulk.cell_weights(cells, scores, ["B", "NK", "T"], ["B", "NK", "T"])
    assert found["label"].toarray().argmax(axis=1).tolist() == [0, 0, 2, 2, 0]
    # Certain: the set is the label, or the label was given.
    assert found["certain"].sum(axis=1).ravel().tolist()[0] == [1, 0, 0, 0, 1]
    expected = [[1, 0, 0], [2 / 3, 0, 1 / 3], [0, 0, 1], [0, 0, 1], [1, 0, 0]]
    np.testing.assert_allclose(found["expected"].toarray(), expected)


@pytest.fixture
def atlas(tmp_path, monkeypatch):
    """An atlas of three samples, and their filtered counts, read in blocks of 7 cells."""
    monkeypatch.setattr(blocks.read_blocks, "__defaults__", (7, "X"))
    rng, parts, tables = np.random.default_rng(0), [], []
    genes = {"s1": list("ABCDE"), "s2": list("EDCBX"), "ref": list("ABCDE")}
    for sample, names in genes.items():
        n = 40
        kind = rng.choice(["T", "B", "unassigned"], n, p=[0.5, 0.4, 0.1])
        score = rng.dirichlet(np.ones(2), n)
        obs = pd.DataFrame(
            {"sample": sample, "role": "reference" if sample == "ref" else "query",
             "cell_type": kind, "cell_type_set": rng.choice(["T", "B", "B|T", ""], n),
             "cell_type_score": score.max(axis=1), "donor": rng.choice(["d1", "d2"], n),
             "condition": rng.choice(["ctrl", "stim", ""], n)},
            index=[f"{sample}_{i}" for i in range(n)],
        )  # fmt: skip
        counts = sp.csr_matrix(rng.poisson(2, (n, 5)).astype(np.int32))
        (tmp_path / sample).mkdir()
        path = tmp_path / sample / "filtered.h5ad"
        ad.AnnData(counts, obs=obs[[]], var=pd.DataFrame(index=names)).write_h5ad(path)
        parts.append((counts.toarray(), names))
        tables.append(obs.assign(**{"score:B": score[:, 0], "score:T": score[:, 1]}))
    obs = pd.concat(tables)
    scores = obs[["score:B", "score:T"]].to_numpy()
    ad.AnnData(
        obs=obs.drop(columns=["score:B", "score:T"]), obsm={"cell_type_scores": scores},
        uns={"cell_type_scores_names": np.array(["B", "T"], dtype=object)},
    ).write_h5ad(tmp_path / "atlas.h5ad")  # fmt: skip
    return tmp_path, obs, {name: pd.DataFrame(x, columns=g) for name, (x, g) in
                           zip(genes, parts, strict=True)}  # fmt: skip


def test_sums_are_those_of_a_plain_groupby(atlas):
    folder, obs, counts = atlas
    samples = [folder / name / "filtered.h5ad" for name in ("s1", "s2")]
    sums = pseudobulk.sum_pseudobulk(folder / "atlas.h5ad", samples, SETTINGS)
    assert sums.var_names.tolist() == list("BCDE")  # those that both have
    own = obs[obs["sample"] != "ref"]
    table = pd.concat([counts["s1"], counts["s2"]])[list("BCDE")].set_axis(own.index)
    used = (own["condition"] != "") & (own["cell_type"] != "unassigned")
    certain = used & (own["cell_type_set"] == own["cell_type"])
    for name, mask in (("label", used), ("certain", certain)):
        keys = [own.loc[mask, key] for key in ("donor", "condition", "cell_type")]
        plain = table[mask].groupby(keys).sum()
        numbers = table[mask].groupby(keys).size()
        rows = pd.MultiIndex.from_frame(sums.obs[["replicate", "condition", "cell_type"]])
        found = pd.DataFrame(sums.layers[name].toarray(), index=rows, columns=list("BCDE"))
        expected = plain.reindex(rows, fill_value=0)
        np.testing.assert_array_equal(found, expected)
        assert (sums.obs[f"cells_{name}"] == numbers.reindex(rows, fill_value=0).to_numpy()).all()
    # Expected counts: nothing is lost, and of each cell the scores of its set share it.
    share = 0
    for cell in own[used].itertuples():
        labels = cell.cell_type_set.split("|") if cell.cell_type_set else [cell.cell_type]
        of = {label: obs.loc[cell.Index, f"score:{label}"] for label in labels}
        if (cell.donor, cell.condition) == ("d1", "stim") and "T" in of:
            share += of["T"] / sum(of.values()) * table.loc[cell.Index, "C"]
    row = (sums.obs["unit"] == "d1, stim") & (sums.obs["cell_type"] == "T")
    assert sums[row, "C"].layers["expected"].toarray().item() == pytest.approx(share)
    totals = [sums.layers[name].sum() for name in ("label", "expected")]
    assert totals[0] == pytest.approx(totals[1])


def test_files_of_other_runs_are_refused(atlas):
    folder, _, _ = atlas
    path = folder / "s1/filtered.h5ad"
    ad.read_h5ad(path)[:-1].copy().write_h5ad(path)
    with pytest.raises(InputError, match="do not hold the same cells"):
        pseudobulk.sum_pseudobulk(folder / "atlas.h5ad", [path], SETTINGS)


def simulated(seed, pairs, n_genes=60, changed=12, sigma=0.1):
    """Negative binomial sums of paired units; the first genes are doubled or halved in stim."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(50, 500, n_genes)
    donor = {name: rng.normal(0, 0.5, n_genes) for name in sorted({p[0] for p in pairs})}
    effect = np.zeros(n_genes)
    effect[:changed] = np.where(np.arange(changed) % 2, 1, -1)
    level = np.stack([mean * np.exp(donor[d]) * 2 ** (effect * (c == "stim")) for d, c in pairs])
    return rng.poisson(level * rng.gamma(1 / sigma**2, sigma**2, level.shape)), effect


PAIRS = [(f"d{i}", condition) for i in range(3) for condition in ("ctrl", "stim")]


def test_genes_are_those_of_pydeseq2_with_a_formula_and_the_planted_ones():
    counts, effect = simulated(0, PAIRS)
    units, genes = units_of(PAIRS), pd.Index([f"g{i}" for i in range(counts.shape[1])])
    (pair,) = comparisons(units, SETTINGS)
    found = compare_genes(counts, genes, pair.design(units, []), 0.05)
    table = pd.DataFrame(counts, index=units.index, columns=genes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = DeseqDataSet(
            counts=table, metadata=units, design="~replicate + condition", quiet=True
        )
        data.deseq2()
        test = DeseqStats(data, contrast=["condition", "stim", "ctrl"], quiet=True)
        test.summary()
    own = test.results_df
    for name, theirs in (("log2_fold_change", "log2FoldChange"), ("p_value", "pvalue"),
                         ("p_adjusted", "padj"), ("standard_error", "lfcSE")):  # fmt: skip
        np.testing.assert_allclose(found[name], own[theirs], rtol=1e-4, atol=1e-6)
    planted, sure = effect != 0, (found["p_adjusted"] < 0.05).to_numpy()
    assert sure[planted].mean() > 0.9
    assert (sure & ~planted).sum() <= 0.15 * sure.sum()
    assert np.abs(found["log2_fold_change"] - effect)[planted].median() < 0.15


def test_genes_need_counts_in_as_many_units_as_the_smaller_condition_has():
    design = pd.DataFrame({"intercept": 1.0, "condition": [0.0, 0, 0, 1, 1]})
    counts = np.array([[10, 10, 9], [0, 10, 9], [0, 10, 9], [0, 0, 9], [0, 0, 9]])
    assert enough_counts(counts, design).tolist() == [False, True, False]


def shares_of_units(seed, n, change, concentration=80):
    """Dirichlet-multinomial numbers of cells of n + n units; the first type's odds change."""
    rng = np.random.default_rng(seed)
    odds = np.array([1.0, 2, 3, 4])
    rows = []
    for i in range(2 * n):
        of = odds * np.array([2**change if i >= n else 1, 1, 1, 1])
        share = rng.dirichlet(concentration * of / of.sum())
        rows.append(rng.multinomial(rng.integers(300, 3000), share))
    return pd.DataFrame(rows, columns=list("abcd"), index=[f"u{i}" for i in range(2 * n)])


@pytest.mark.parametrize("paired", [False, True])
def test_shares_are_compared_as_by_the_t_test(paired):
    cells = shares_of_units(1, 4, -1)
    design = pd.DataFrame({"intercept": 1.0}, index=cells.index)
    for i in range(1, 4 if paired else 0):
        design[f"d{i}"] = [float(j % 4 == i) for j in range(8)]
    design["condition"] = [0.0] * 4 + [1.0] * 4
    found, values = compare_shares(cells, design), log_odds(cells).to_numpy()
    test = (stats.ttest_rel if paired else stats.ttest_ind)(values[4:], values[:4])
    np.testing.assert_allclose(found["p_value"], test.pvalue)
    interval = test.confidence_interval(0.95)
    np.testing.assert_allclose(found["interval_low"], interval.low)
    np.testing.assert_allclose(found["interval_high"], interval.high)
    np.testing.assert_allclose(found["p_adjusted"], stats.false_discovery_control(test.pvalue))
    np.testing.assert_allclose(found.loc["a", "share_baseline"],
                               (cells["a"] / cells.sum(axis=1))[:4].mean())  # fmt: skip


def test_shares_with_a_covariate_are_those_of_statsmodels():
    cells, rng = shares_of_units(2, 4, 1), np.random.default_rng(0)
    design = pd.DataFrame({"intercept": 1.0, "b": rng.integers(0, 2, 8).astype(float),
                           "condition": [0.0] * 4 + [1.0] * 4}, index=cells.index)  # fmt: skip
    found = compare_shares(cells, design)
    for name, values in log_odds(cells).items():
        fit = sm.OLS(values, design).fit()
        assert found.loc[name, "log2_odds_ratio"] == pytest.approx(fit.params["condition"])
        assert found.loc[name, "p_value"] == pytest.approx(fit.pvalues["condition"])


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say():
    design = pd.DataFrame({"intercept": 1.0, "condition": [0.0] * 3 + [1.0] * 3},
                          index=[f"u{i}" for i in range(6)])  # fmt: skip
    rows = pd.concat(
        [compare_shares(shares_of_units(i, 3, -1), design).loc[["a"]] for i in range(250)]
    )
    # The mean log odds of a Dirichlet share, in closed form.
    first, second = 80 * 1 / 10, 80 * 0.5 / 9.5
    odds = [digamma(own) - digamma(80 - own) for own in (first, second)]
    truth = (odds[1] - odds[0]) / np.log(2)
    held = ((rows["interval_low"] < truth) & (rows["interval_high"] > truth)).mean()
    assert 0.92 < held < 0.98
    assert rows["log2_odds_ratio"].mean() == pytest.approx(truth, abs=0.05)


def test_shares_without_any_variance_have_no_p_value():
    design = pd.DataFrame({"intercept": 1.0, "condition": [0.0, 0, 1, 1]}, index=list("wxyz"))
    cells = pd.DataFrame({"a": 10, "b": 30}, index=list("wxyz"))
    assert compare_shares(cells, design)[["p_value", "p_adjusted"]].isna().all(axis=None)


def test_what_it_takes_to_hold():
    table = pd.DataFrame(
        {"e": [1.0, 1, 1, 1, 1], "p_adjusted": [0.01, 0.01, 0.01, 0.01, 0.2],
         "e_certain": [2.0, -1, 1, np.nan, 1],
         "p_adjusted_certain": [0.01, 0.01, 0.2, np.nan, 0.01],
         "p_value_certain": [0.01, 0.01, 0.1, np.nan, 0.01]}
    )  # fmt: skip
    for name in ("e", "p_adjusted", "p_value"):
        table[f"{name}_expected"] = table[f"{name}_certain"]
    found = add_findings(table, "e", 0.05)
    assert found["holds_certain"].tolist() == ["yes", "no", "no", "untested", ""]
    assert found["finding"].tolist() == [True] * 4 + [False]


def sums_of(pairs, counts, cells):
    """Pseudobulk sums of types, by type and weighting: counts (units x genes), cells (units)."""
    units, types = units_of(pairs), list(counts)
    layers = {
        name: sp.csr_matrix(
            np.stack([counts[t][name] for t in types], axis=1).reshape(-1, 60).astype(float)
        )
        for name in WEIGHTINGS
    }
    numbers = {
        name: np.stack([cells[t][name] for t in types], axis=1).ravel() for name in WEIGHTINGS
    }
    return pseudobulk.as_table(
        units, types, pd.Index([f"g{i}" for i in range(60)]), layers, numbers
    )


def test_findings_of_doubtful_cells_do_not_hold_and_small_types_are_listed():
    changed, _ = simulated(1, PAIRS)
    same, _ = simulated(1, PAIRS, changed=0)
    enough, few = np.full(6, 50.0), np.full(6, 3.0)
    # The cells of T that make the difference are not certain.
    counts = {
        "T": {"label": changed, "certain": same, "expected": changed},
        "rare": dict.fromkeys(WEIGHTINGS, same),
    }
    cells = {"T": dict.fromkeys(WEIGHTINGS, enough), "rare": dict.fromkeys(WEIGHTINGS, few)}
    results = compare_conditions(sums_of(PAIRS, counts, cells), SETTINGS)
    types = results.types.set_index(["cell_type", "weighting"])
    rare = types.loc[("rare", "label")]
    assert rare["reason"].startswith("fewer than 2 pairs with enough cells")
    assert (rare["genes"], rare["up"], rare["cells_condition"]) == (0, 0, 9)
    own = types.loc["T"]
    n = own.loc["label", ["up", "down"]].sum()
    assert n > 9
    assert (own.loc["expected", "holding"], own.loc["label", "holding"]) == (n, n)
    assert own.loc["certain", "holding"] <= 1
    genes = results.genes[results.genes["finding"]]
    assert (genes["cell_type"] == "T").all()
    assert (genes["holds_certain"] == "no").mean() > 0.9
    assert (genes["holds_expected"] == "yes").all()
    assert set(results.composition["cell_type"]) == {"T", "rare"}
    assert results.composition["condition"].unique().tolist() == ["stim"]
