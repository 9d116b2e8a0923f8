"""The benchmark's splits, protocols and tables."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dice_atlas.benchmark.figures import by_number, shown_width
from dice_atlas.benchmark.protocols import blind_scores, paper_scores, type_scores
from dice_atlas.benchmark.split import Variant, changed, draw, gather, latents_of, split
from dice_atlas.benchmark.tables import ALL, paired_differences, summarize, variant_differences
from dice_atlas.errors import InputError
from dice_atlas.features.latents import LatentSettings
from dice_atlas.features.normalize import Normalization
from dice_atlas.sheet_settings import (
    require_sets,
)
from factories import CLUSTER, batch_settings, blobs
from scipy import stats
from sklearn.metrics import silhouette_samples

NORMALIZATION = Normalization(target_sum=1e4, max_value=10)


def cells(sizes, role="reference"):
    """obs with so many cells of each label."""
    labels = np.repeat(list("ABCDEF")[: len(sizes)], sizes)
    return pd.DataFrame({"role": role, "label": labels, "sample": "s", "batch": "b"})


def sample(name, role, labels, genes, seed=0, batch="b"):
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(rng.poisson(1.0, (len(labels), len(genes))).astype(np.int32))
    obs = pd.DataFrame(
        {"sample": name, "role": role, "batch": batch, "label": labels},
        index=[f"{name}_{i}" for i in range(len(labels))],
    )
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))


def test_a_quarter_of_each_label_is_held_out_and_seeds_differ():
    obs = cells((40, 20, 3))
    rows, query = draw(obs, seed=1)
    assert (rows == np.arange(63)).all()
    held = obs["label"][query].value_counts()
    assert held.to_dict() == {"A": 10, "B": 5}  # three cells cannot be split
    assert (draw(obs, seed=1)[1] == query).all()
    assert (draw(obs, seed=2)[1] != query).any()


def test_of_a_pair_four_fifths_are_drawn_and_roles_stay():
    obs = pd.concat([cells((50, 10)), cells((20, 5), "query")], ignore_index=True)
    rows, query = draw(obs, seed=3)
    assert (query == (obs["role"].iloc[rows] == "query")).all()
    assert obs.iloc[rows].groupby(["role", "label"]).size().to_dict() == {
        ("query", "A"): 16, ("query", "B"): 4, ("reference", "A"): 40, ("reference", "B"): 8,
    }  # fmt: skip


def test_variants_leave_out_a_type_on_one_side():
    obs = cells((40, 20, 12))
    _, query = draw(obs, seed=0)
    for kind, side in (("missing", ~query), ("extra", query)):
        keep, label = changed(obs, query, Variant(kind, "2"))
        assert label == "B"
        left_out = obs[~keep]
        assert (left_out["label"] == "B").all()
        assert len(left_out) == (side & (obs["label"] == "B")).sum()
    keep, label = changed(obs, query, Variant("base"))
    assert keep.all()
    assert label == ""
    with pytest.raises(InputError, match="3 labels"):
        changed(obs, query, Variant("missing", "3"))


@pytest.mark.parametrize("text", ["base", "k-10", "missing-1", "extra-3", "scope-within_role"])
def test_names_of_variants(text):
    variant = Variant.parse(text)
    assert "-".join(filter(None, variant)) == text


@pytest.mark.parametrize("text", ["", "k", "k-0", "missing-x", "other-1", "base-1"])
def test_other_names_are_refused(text):
    with pytest.raises(InputError, match="expected base"):
        Variant.parse(text)


def test_variants_stand_in_the_order_of_their_numbers():
    names = ["base", "missing-10", "extra-1", "missing-2", "k-5"]
    assert by_number(names, "missing-") == ["missing-2", "missing-10"]


def test_gather_keeps_labelled_cells_and_shared_genes():
    one = sample("a", "reference", ["A", "", "B"], ["g1", "g2", "g3"], seed=1)
    two = sample("b", "query", ["A", "B"], ["g3", "g2", "g4"], seed=2)
    found = gather([one, two], [0, 0])
    assert list(found.obs["label"]) == ["A", "B", "A", "B"]
    assert set(found.var_names) == {"g2", "g3"}
    # Totals are over all genes of the sample.
    assert found.obs["total_counts"].iloc[0] == one.X[0].sum()
    genes = np.diff(two.X.indptr)
    assert len(gather([two], [int(genes.max())]).obs) == (genes == genes.max()).sum()
    with pytest.raises(InputError, match="a, c: 0 shared genes"):
        gather([one, sample("c", "query", ["A"], ["g9"])], [0, 0])
    # Without its query a pair would have cells of its reference held out.
    with pytest.raises(InputError, match=r"sample b: of 2 cells none .* at least 4 genes"):
        gather([one, two], [0, 4])


def test_split_takes_the_genes_that_vary_in_the_reference():
    rng = np.random.default_rng(0)
    labels = np.repeat(["A", "B"], 60)
    data = sample("s", "reference", labels, [f"g{i}" for i in range(80)])
    counts = rng.poisson(rng.uniform(0.5, 3, 80), data.shape)
    counts[:, 7] = np.where(labels == "A", 0, 3)  # mean 1.5 as of others, more variance
    data.X = sp.csr_matrix(counts.astype(np.int32))
    found = split(gather([data], [0]), Variant("base"), 0, 10, NORMALIZATION)
    assert found.n_vars == 10
    assert "g7" in found.var_names
    query = found.obs["role"] == "query"
    assert query.sum() == 30
    expected = np.log1p(found.layers["counts"].toarray() * 1e4
                        / found.obs["total_counts"].to_numpy()[:, None])  # fmt: skip
    np.testing.assert_allclose(found.X.toarray(), expected, rtol=1e-6)


def test_the_query_has_no_say_in_the_genes():
    labels = np.tile(["A", "B"], 60)
    genes = [f"g{i}" for i in range(80)]
    rng = np.random.default_rng(0)
    pair = [sample(role, role, labels, genes) for role in ("reference", "query")]
    chosen = []
    for varying in (7, 8):
        # Of mean 1.5 as the others are, with more variance, in the query alone.
        counts = rng.poisson(1.5, pair[1].shape)
        counts[:, varying] = np.where(labels == "A", 0, 3)
        pair[1].X = sp.csr_matrix(counts.astype(np.int32))
        found = split(gather(pair, [0, 0]), Variant("base"), 0, 10, NORMALIZATION)
        assert (found.obs["role"] == "query").any()
        chosen.append(list(found.var_names))
    assert chosen[0] == chosen[1]


@pytest.fixture(scope="module")
def normalized():
    """A split of two types in two batches, on 30 genes."""
    labels = np.repeat(["A", "B"], 60)
    data = sample("s", "reference", labels, [f"g{i}" for i in range(40)])
    data.obs["batch"] = np.tile(["x", "y"], 60)
    counts = np.random.default_rng(0).poisson(
        np.where(labels == "A", 1.0, 4.0)[:, None], data.shape
    )
    data.X = sp.csr_matrix(counts.astype(np.int32))
    return split(gather([data], [0]), Variant("base"), 0, 30, NORMALIZATION)


@pytest.mark.parametrize(
    ("text", "k", "moved"),
    [("base", 4, False), ("k-7", 7, False), ("missing-1", 4, False), ("scope-joint", 4, True)],
)
def test_latents_of_a_variant(normalized, text, k, moved):
    # The config's own scope and keys are those of the atlas.
    batch = batch_settings(keys=["donor"], n_pcs=8, max_iter=2)
    settings = (batch, LatentSettings(4, 5), NORMALIZATION)
    latents, space = latents_of(normalized, Variant.parse(text), *settings, seed=0)
    assert space.k == k
    assert latents.obs_names.equals(normalized.obs_names)
    shift = latents.obsm["X_harmony"] - latents.obsm["X_pca"]
    assert latents.obsm["X_pca"].shape == (120, k)
    assert (np.abs(shift).max() > 1e-3) == moved


def test_a_query_of_one_label_is_refused():
    data = sample("s", "reference", ["A"] * 40, [f"g{i}" for i in range(30)])
    with pytest.raises(InputError, match="the label A alone"):
        split(gather([data], [0]), Variant("base"), 0, 10, NORMALIZATION)


def test_roles_without_a_common_label_are_refused():
    genes = [f"g{i}" for i in range(30)]
    pair = [
        sample("r", "reference", ["A", "B"] * 20, genes),
        sample("q", "query", ["a", "b"] * 20, genes),
    ]
    with pytest.raises(InputError, match="seen A, B in the reference and a, b in the query"):
        split(gather(pair, [0, 0]), Variant("base"), 0, 10, NORMALIZATION)


def test_sets_are_names_of_folders():
    row = {"role": "reference", "labels": "cell_type", "extra": {"set": "4k+3k-zheng"}}
    require_sets({"s": row}, "sheet.tsv", [])
    with pytest.raises(InputError, match="seen the set 'a/b', expected a name of letters"):
        require_sets({"s": {**row, "extra": {"set": "a/b"}}}, "sheet.tsv", [])


def test_the_axis_leaves_out_one_method_of_many_alone():
    sets, others = ["x", "y"], list("abcdef")
    index = pd.MultiIndex.from_product([others, sets])
    apart = pd.Series([0.1, -0.2] * 5 + [3.0, 1.0], index=index)
    assert shown_width(apart, others, sets) == pytest.approx(1.08 * 0.2)
    assert shown_width(apart, ["a", "f"], sets) == pytest.approx(1.08 * 3)


def test_both_protocols_find_clear_groups_and_paper_takes_the_best_resolution():
    points, truth = blobs(4, 60, 6, seed=0)
    scores, curve, clusters = blind_scores(points, truth, CLUSTER, seed=0)
    assert scores["ari"].value == 1
    assert len(np.unique(clusters)) == 4
    assert curve["chosen"].sum() == 1
    scores, curve, layout = paper_scores(points, truth, CLUSTER, seed=0)
    assert scores["ari"].value == curve["ari"].max() == curve.loc[curve["chosen"], "ari"].item()
    assert len(curve) == 38
    assert layout.shape == (240, 2)
    assert scores["clisi"].value < 1.05


def test_type_scores_by_hand():
    truth = np.array(["A"] * 4 + ["B"] * 6)
    clusters = np.array(["0"] * 3 + ["1"] * 7)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(10, 3))
    found = type_scores(points, truth, clusters, "A")
    assert found["type_f1"].value == pytest.approx(2 * 3 / (4 + 3))
    by_cell = silhouette_samples(points, truth, metric="cosine")
    assert found["type_silhouette"].value == pytest.approx(by_cell[:4].mean())


def score_table():
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        [
            (name, "base", seed, "blind", method, "ari", rng.normal())
            for name in ("one", "two", "three")
            for seed in range(4)
            for method in ("dice_exact", "pca")
        ],
        columns=["set", "variant", "seed", "protocol", "method", "metric", "value"],
    )


def test_paired_differences_have_students_interval():
    scores = score_table()
    found = paired_differences(scores, "dice_exact", ["pca"], ["ari"]).set_index("set")
    wide = scores.pivot_table(index=["set", "seed"], columns="method", values="value")
    apart = wide["dice_exact"] - wide["pca"]
    for name, values in [*apart.groupby("set"), (ALL, apart.groupby("set").mean())]:
        row = found.loc[name]
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert row["difference"] == pytest.approx(values.mean())
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
        assert row["n"] == len(values)


def test_one_seed_has_no_interval():
    scores = score_table()
    found = paired_differences(scores[scores["seed"] == 0], "dice_exact", ["pca"], ["ari"])
    by_set = found.set_index("set")
    assert np.isnan(by_set.loc["one", "low"])
    assert np.isfinite(by_set.loc[ALL, "low"])


def test_variants_are_compared_with_the_base_on_the_seeds_that_both_have():
    base = score_table()
    moved = base[base["seed"] < 2].assign(variant="k-5", value=lambda own: own["value"] + 0.5)
    far = base[base["seed"] == 3].assign(variant="k-40", value=lambda own: own["value"] - 2)
    found = variant_differences(pd.concat([base, moved, far]), ["ari"])
    assert (found.loc[found["variant"] == "k-5", "difference"] - 0.5).abs().max() < 1e-9
    assert (found.loc[found["variant"] == "k-40", "difference"] + 2).abs().max() < 1e-9
    key = ["variant", "method", "set"]
    row = found.set_index(key).loc[("k-5", "pca", "two")]
    own = moved[(moved["method"] == "pca") & (moved["set"] == "two")]["value"]
    assert row["value"] == pytest.approx(own.mean())
    assert row["n"] == 2
    assert len(found) == found.drop_duplicates(key).shape[0] == 2 * 2 * 4
    assert variant_differences(base, ["ari"]).empty


def test_summary_is_the_mean_and_spread_over_seeds():
    scores = score_table()
    found = summarize(scores).set_index(["set", "method"]).loc[("two", "pca")]
    own = scores[(scores["set"] == "two") & (scores["method"] == "pca")]["value"]
    assert found["mean"] == pytest.approx(own.mean())
    assert found["sd"] == pytest.approx(np.std(own, ddof=1))
    assert found["seeds"] == 4
