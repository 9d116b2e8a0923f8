"""The target `benchmark`, on the demo's cells."""

import re

import numpy as np
import pandas as pd
import pytest
from dice_atlas.benchmark.tables import ALL

pytestmark = pytest.mark.workflow

# Of each kind one; tests/unit/test_baselines.py has them all.
METHODS = ["pca", "knn_10", "dice_exact", "dice_no_labels", "dice_gibbs"]
SWEEPS = {"rho": [0.5, 4], "k": [5], "types": 1}


@pytest.fixture(scope="module")
def finished(make_copy, small):
    copy = make_copy("benchmark")
    gibbs = {"denoise": {"iterations": 3, "rho": {"start": 1.0}}}
    copy.config(
        "tiny", **(small | gibbs),
        benchmark={
            "name": "tiny", "seeds": 1, "methods": METHODS, "sweeps": SWEEPS,
            "scopes": ["mapped"],
        },
    )  # fmt: skip
    copy.run("--configfile", "tiny.yaml", "--", "benchmark")
    return copy.folder / "results/benchmark/tiny"


def test_every_method_is_scored_by_both_protocols_on_the_same_cells(finished):
    scores = pd.read_csv(finished / "scores.tsv.gz", sep="\t")
    base = scores[scores["variant"] == "base"]
    for protocol in ("blind", "paper"):
        own = base[base["protocol"] == protocol]
        kept = [m for m in dict.fromkeys(own["method"]) if not m.startswith("dice_rho")]
        assert sorted(kept) == sorted(METHODS)
        assert own["n_cells"].nunique() == 1
        for metric in ("ari", "clisi", "silhouette", "nmi_max", "v_measure", "clisi_nn9"):
            values = own.loc[own["metric"] == metric, "value"]
            assert np.isfinite(values).all()
            assert values.nunique() > 3
    variants = {"base", "k-5", "missing-1", "extra-1", "scope-mapped"}
    assert set(scores["variant"]) == variants
    # rho of the default is 0.5.
    value = base.set_index(["protocol", "method", "metric"])["value"]["blind"]
    assert value["dice_rho_0.5", "clisi"] == value["dice_exact", "clisi"]
    assert value["dice_rho_4", "clisi"] != value["dice_exact", "clisi"]
    blind = base[base["protocol"] == "blind"].pivot(
        index="method", columns="metric", values="value"
    )
    assert blind[["ari", "silhouette_centred"]].notna().all(axis=None)
    # Gibbs denoises the query alone.
    assert set(blind.index[blind["ari_reference"].isna()]) == {"dice_gibbs"}


def test_the_type_left_out_is_scored(finished):
    scores = pd.read_csv(finished / "scores.tsv.gz", sep="\t")
    missing = scores[(scores["variant"] == "missing-1") & (scores["metric"] == "type_f1")]
    assert set(missing["method"]) == set(METHODS)
    assert missing["value"].between(0, 1).all()
    told = scores[scores["metric"] == "type_auc_background"]
    assert set(told["variant"]) == {"missing-1"}
    assert set(told["method"]) == {"dice_exact", "dice_no_labels"}
    assert told["value"].between(0, 1).all()
    # It is no longer in the query, so there is nothing to score.
    extra = scores[scores["variant"] == "extra-1"]
    assert not extra["metric"].str.startswith("type_").any()


def test_tables_and_figures(finished):
    differences = pd.read_csv(finished / "differences.tsv", sep="\t")
    assert set(differences["other"]) == set(METHODS) - {"dice_exact"}
    assert {"pbmc", ALL} == set(differences["set"])
    variants = pd.read_csv(finished / "variants.tsv", sep="\t")
    assert set(variants["variant"]) == {
        "k-5",
        "missing-1",
        "extra-1",
        "scope-mapped",
    }
    swept = variants[variants["variant"] != "missing-1"]
    assert set(swept["method"]) == {"pca", "dice_exact"}
    costs = pd.read_csv(finished / "costs.tsv", sep="\t")
    rest = {"prior-labels", "prior-clusters", "prior-network", "split", "score_blind",
            "score_paper"}  # fmt: skip
    rho = {"dice_rho_0.5", "dice_rho_4"}
    assert set(costs.loc[costs["variant"] == "base", "what"]) == {*METHODS, *rest, *rho}
    assert set(costs["variant"]) == {"base", *variants["variant"]}
    assert (costs["seconds"] > 0).all()
    figures = {path.stem for path in (finished / "figures").glob("*.png")}
    assert figures == {
        "umap_pbmc", "differences_blind", "differences_paper", "curves_blind", "curves_paper",
        "rho", "k", "types", "types_missing", "scopes",
    }  # fmt: skip


def test_the_log_of_a_split_says_what_it_holds(finished):
    for variant, label in (("base", "''"), ("missing-1", "'[^']+'")):
        text = (finished / f"logs/pbmc/{variant}/0/split.log").read_text()
        assert re.search(rf"\d+ cells \(\d+ query\), \d+ genes, k = \d+, label {label}", text)


def test_a_sheet_without_sets_and_a_missing_environment_are_refused(make_copy):
    copy = make_copy("benchmark_refused")
    scvi = "benchmark={methods: [pca, dice_exact, scvi], scvi_python: nowhere/python}"
    for wrong, message in {
        "benchmark={samples: config/samples.tsv}":
            "sample pbmc_ref: the column set is empty or missing",
        scvi: "benchmark.scvi_python is not there: nowhere/python",
        "benchmark={sweeps: {sets: [pbcm]}}":
            "sweeps.sets names pbcm, expected sets of config/benchmark/quick.tsv: pbmc",
        "benchmark={methods: [dice_exact]}":
            "seen ['dice_exact'], expected a list with pca and dice_exact",
    }.items():  # fmt: skip
        assert message in copy.run("-n", "benchmark", "--config", wrong, ok=False)
    # A run of the atlas asks for neither.
    copy.run("-n", "--config", scvi)
