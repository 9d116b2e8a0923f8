"""Scores of synthetic cells against loops over the definition, closed forms and known cases."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from dice_atlas.metrics.memorization import closer_to_training, distance_to_closest_record
from dice_atlas.metrics.two_samples import forest_auc, kernel_scale, mixing, mmd
from dice_atlas.scoring.synthesis import (
    METRICS,
    CellSet,
    SynthesisScorer,
    cell_set,
    correlation,
    fold_change_scores,
    log_fold_changes,
    pairwise_correlations,
)
from dice_atlas.synthesis.baselines import BASELINES
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

OF_LABELS = {
    "rf_auc_class", "trtr_accuracy", "trtr_macro_f1", "tstr_accuracy", "tstr_macro_f1",
    "label_kept", "log_fold_change_slope", "log_fold_change_r",
}  # fmt: skip


def normals(n: int, seed: int, d: int = 6, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def typed_counts(n: int, seed: int, n_genes: int = 150) -> tuple[sp.csr_matrix, np.ndarray]:
    """Negative binomial counts of three types, of libraries that differ, and the types."""
    profiles = np.random.default_rng(9).gamma(0.4, 1.0, (3, n_genes))
    profiles /= profiles.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 3
    rates = profiles[kinds] * rng.lognormal(np.log(400), 0.3, (n, 1))
    counts = rng.poisson(rates * rng.gamma(2.0, 0.5, rates.shape))
    return sp.csr_matrix(counts), np.array(["A", "B", "C"], dtype=object)[kinds]


def typed_cells(n: int, seed: int) -> CellSet:
    counts, labels = typed_counts(n, seed)
    return cell_set(counts, np.arange(120), labels)


def scores_of(scorer: SynthesisScorer, synthetic: CellSet) -> dict[str, float]:
    table = scorer.score(synthetic)
    assert list(table.columns) == ["metric", "value"]
    return dict(zip(table["metric"], table["value"], strict=True))


def unlabelled(cells: CellSet) -> CellSet:
    return CellSet(cells.expression, np.full(len(cells), "", dtype=object), cells.libraries)


@pytest.fixture(scope="module", autouse=True)
def small_forests():
    """Trees are nearly all of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dice_atlas.scoring.synthesis.COMPONENT_TREES", 25)
        patch.setattr("dice_atlas.scoring.synthesis.GENE_TREES", 15)
        yield


@pytest.fixture(scope="module")
def scorer():
    return SynthesisScorer(typed_cells(600, 1), typed_cells(150, 2), seed=0)


@pytest.fixture(scope="module")
def new_cells():
    """More cells of the real cells' distribution."""
    return typed_cells(150, 3)


@pytest.fixture(scope="module")
def scores(scorer, new_cells):
    return scores_of(scorer, new_cells)


@pytest.fixture(scope="module")
def copies(scorer):
    """Training cells, 50 of each type."""
    return scorer.training.rows(np.arange(150))


def test_mmd_by_its_definition():
    first, second = normals(40, 0, 4), 2 * normals(31, 1, 4, shift=0.3)

    def distance(a, b):
        return np.sqrt(((a - b) ** 2).sum())

    near = [sorted(distance(a, b) for b in first)[1:26] for a in first]
    m = np.median([np.mean(row) for row in near])

    def kernel(a, b):
        return sum(np.exp(-(distance(a, b) ** 2) / s**2) for s in (m / 2, m, 2 * m))

    def mean(one, other, same=False):
        values = [kernel(a, b) for i, a in enumerate(one) for j, b in enumerate(other)
                  if not (same and i == j)]  # fmt: skip
        return np.mean(values)

    biased, unbiased = mmd(first, second)
    between = 2 * mean(first, second)
    assert kernel_scale(first) == pytest.approx(m)
    assert biased**2 == pytest.approx(mean(first, first) + mean(second, second) - between)
    assert unbiased == pytest.approx(
        mean(first, first, same=True) + mean(second, second, same=True) - between
    )
    # Real cells set the scale: the sets' order matters.
    assert mmd(second, first)[0] != pytest.approx(biased, rel=1e-3)


def test_mmd_of_identical_sets_is_zero():
    cells = 1e3 * normals(300, 0) + 1e5
    assert mmd(cells, cells.copy())[0] == 0.0
    # Another order rounds differently, to either side of 0.
    for i in range(10):
        assert mmd(cells, cells[np.random.default_rng(i).permutation(300)])[0] == 0.0
    near = cells.copy()
    near[0] += 2e3
    assert mmd(cells, near)[0] > 1e-4


def test_mmd_of_one_distribution_is_unbiased():
    values = [mmd(normals(60, i), normals(60, 100 + i)) for i in range(20)]
    biased, unbiased = np.array(values).T
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(20)
    assert biased.min() > 0.1
    assert mmd(normals(60, 0), normals(60, 1, shift=1.0))[1] > unbiased.max()


def test_mmd_without_a_scale_is_undefined():
    assert np.isnan(mmd(np.ones((5, 2)), normals(5, 0, 2))).all()
    assert np.isnan(mmd(normals(1, 0), normals(5, 0))).all()
    assert np.isfinite(mmd(normals(2, 0), normals(2, 1))).all()


def test_mmd_does_not_depend_on_blocks(monkeypatch):
    first, second = normals(70, 0), normals(50, 1)
    whole = mmd(first, second)
    monkeypatch.setattr("dice_atlas.numerics.blocks.row_slices.__defaults__", (16,))
    np.testing.assert_allclose(mmd(first, second), whole, rtol=1e-10)


def test_forest_tells_apart_what_differs_and_nothing_else():
    control = [
        forest_auc(normals(250, i), normals(250, 50 + i), seed=i, trees=25) for i in range(3)
    ]
    assert 0.46 < np.mean(control) < 0.54
    assert forest_auc(normals(60, 0), normals(60, 1, shift=3.0), 0, trees=25) > 0.99
    assert 0.6 < forest_auc(normals(60, 0), normals(60, 1, shift=0.5), 0, trees=25) < 0.95
    same = [forest_auc(normals(40, 0), normals(30, 1), 0, trees=10) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != forest_auc(normals(40, 0), normals(30, 1), 1, trees=10)


def test_forest_of_few_cells():
    assert 0 <= forest_auc(normals(2, 0), normals(3, 1), 0, trees=10) <= 1
    with pytest.raises(ValueError, match="1 and 3 cells"):
        forest_auc(normals(1, 0), normals(3, 1), 0)


def test_mixing_of_one_distribution_and_of_sets_apart():
    # 1 / E[p^2 + q^2] for p of 30 draws of two equal sets, and a little more for the mean of 1 / x.
    assert mixing(normals(500, 0), normals(500, 1)) == pytest.approx(1.94, abs=0.02)
    assert mixing(normals(60, 0), normals(60, 1, shift=50.0)) == pytest.approx(1)


def test_mixing_by_its_definition():
    first, second = normals(30, 0), normals(25, 1, shift=0.5)
    cells, of_second = np.vstack([first, second]), np.arange(55) >= 30
    values = []
    for i, distances in enumerate(cdist(cells, cells)):
        near = [j for j in np.argsort(distances) if j != i][:7]
        share = of_second[near].mean()
        values.append(1 / (share**2 + (1 - share) ** 2))
    assert mixing(first, second, k=7) == pytest.approx(np.mean(values))
    assert mixing(first, second, k=100) == mixing(first, second, k=54)


def test_distance_to_closest_record_by_its_definition():
    synthetic, training, held_out = normals(50, 0), normals(80, 1), normals(40, 2)
    made = [min(np.linalg.norm(cell - other) for other in training) for cell in synthetic]
    real = [min(np.linalg.norm(cell - other) for other in training) for cell in held_out]
    for q in (0.05, 0.5):
        found = distance_to_closest_record(synthetic, training, held_out, q)
        assert found == pytest.approx(np.quantile(made, q) / np.quantile(real, q))
    assert distance_to_closest_record(synthetic, training, held_out) == distance_to_closest_record(
        synthetic, training, held_out, 0.05
    )


def test_copies_and_new_cells_by_their_distance():
    training, held_out = normals(400, 0), normals(200, 1)
    assert distance_to_closest_record(training[:100], training, held_out) == 0.0
    # One copy in ten is enough for the 5th percentile, one in a hundred is not.
    new = normals(200, 2)
    some = np.vstack([new[:180], training[:20]])
    assert distance_to_closest_record(some, training, held_out) == 0.0
    assert 0.8 < distance_to_closest_record(new, training, held_out) < 1.25
    assert distance_to_closest_record(3 * new, training, held_out) > 1.5
    assert np.isnan(distance_to_closest_record(new, training, training[:50]))
    with pytest.raises(ValueError, match="0 held-out"):
        distance_to_closest_record(new, training, held_out[:0])


def test_share_of_cells_closer_to_training():
    training, held_out = np.array([[0.0], [10.0]]), np.array([[4.0], [20.0]])
    # Nearer to training, in the middle, nearer to held-out.
    synthetic = np.array([[1.0], [2.0], [5.0], [9.0]])
    assert closer_to_training(synthetic, training, held_out) == (2 + 0.5) / 4
    assert closer_to_training(training, training, held_out) == 1.0
    assert closer_to_training(held_out, training, held_out) == 0.0
    with pytest.raises(ValueError, match="2 training and 1 held-out"):
        closer_to_training(synthetic, training, held_out[:1])


def test_expression_of_a_cell_set():
    counts, labels = typed_counts(9, 0)
    dense = counts.toarray()
    columns = np.array([5, 2, 90])
    found = cell_set(counts, columns, labels)
    np.testing.assert_array_equal(found.libraries, dense.sum(axis=1))
    expected = np.log1p(1e4 * dense[:, columns] / dense.sum(axis=1)[:, None])
    np.testing.assert_allclose(found.expression, expected, rtol=1e-6)
    assert found.expression.dtype == np.float32
    given = cell_set(counts, columns, labels, np.full(9, 500), target_sum=100)
    np.testing.assert_allclose(given.expression, np.log1p(dense[:, columns] / 5), rtol=1e-6)
    chosen = given.rows(np.array([4, 0]))
    assert chosen.labels.tolist() == ["B", "A"]
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.expression, given.expression[[4, 0]])
    assert CellSet(given.expression, labels).rows(np.array([0])).libraries is None


def test_new_cells_of_the_distribution_score_well(scores):
    assert list(scores) == list(METRICS)
    for name in ("rf_auc_pc", "rf_auc_genes", "rf_auc_class", "closer_to_training"):
        assert scores[name] == pytest.approx(0.5, abs=0.12), name
    for name in ("trtr_accuracy", "tstr_accuracy", "trtr_macro_f1", "tstr_macro_f1",
                 "label_kept", "gene_mean_r", "log_fold_change_r"):  # fmt: skip
        assert scores[name] > 0.95, name
    for name in ("variance_ratio", "log_fold_change_slope", "dcr_p5"):
        assert scores[name] == pytest.approx(1, abs=0.1), name
    assert abs(scores["mmd_squared"]) < 0.01
    assert scores["ilisi"] > 1.9
    assert scores["zero_fraction_difference"] < 0.05


def test_scores_are_those_of_the_metrics_in_their_spaces(scorer, new_cells, scores):
    real, made = scorer.joint_components(new_cells)
    assert len(real) == len(made) == 150
    assert real.shape[1] == 50
    np.testing.assert_allclose((real.sum(0) + made.sum(0)) / 300, 0, atol=1e-4)
    assert scores["rf_auc_pc"] == forest_auc(real, made, 0, 25)
    genes = scorer.held_out.expression, new_cells.expression
    assert scores["rf_auc_genes"] == forest_auc(*genes, 0, 15)
    assert (scores["mmd_root"], scores["mmd_squared"]) == mmd(real, made)
    assert scores["ilisi"] == mixing(real, made)
    points = [scorer.components.transform(cells.expression)
              for cells in (new_cells, scorer.training, scorer.held_out)]  # fmt: skip
    assert scores["dcr_p5"] == pytest.approx(distance_to_closest_record(*points))
    table = scorer.score_by_class(new_cells)
    for label, value in table[table["metric"] == "dcr_p5"][["label", "value"]].itertuples(False):
        own = [points[0][new_cells.labels == label], points[1],
               points[2][scorer.held_out.labels == label]]  # fmt: skip
        assert value == pytest.approx(distance_to_closest_record(*own)), label


def test_copies_are_seen_by_their_distance_only(scorer, copies):
    found = scores_of(scorer, copies)
    assert found["dcr_p5"] == 0.0
    # Of the copies those are nearer to training that are among the as many cells as are held out.
    assert found["closer_to_training"] > 0.55
    assert found["rf_auc_pc"] < 0.6


def test_thinned_pairs_are_near_copies(scorer):
    counts, labels = typed_counts(600, 1)
    columns = np.arange(120)
    numbers = dict.fromkeys("ABC", 50)
    found = {}
    for name in ("thinned_pairs", "independent_negative_binomial"):
        drawn, made = BASELINES[name](counts, labels, numbers, 0)
        found[name] = scores_of(scorer, cell_set(drawn, columns, made))
    assert found["thinned_pairs"]["dcr_p5"] < 0.5
    # The data are independent given their type: this generator is right.
    assert found["independent_negative_binomial"]["dcr_p5"] > 0.85
    assert found["independent_negative_binomial"]["rf_auc_pc"] < 0.6


def test_gene_scores_by_their_definition(scorer, new_cells, scores):
    real, made = scorer.held_out.expression, new_cells.expression
    assert scores["gene_mean_r"] == pytest.approx(np.corrcoef(real.mean(0), made.mean(0))[0, 1])
    assert scores["gene_variance_r"] == pytest.approx(np.corrcoef(real.var(0), made.var(0))[0, 1])
    assert scores["variance_ratio"] == pytest.approx(made.var(0).sum() / real.var(0).sum())
    zeros = [abs((real[:, g] == 0).mean() - (made[:, g] == 0).mean()) for g in range(120)]
    assert scores["zero_fraction_difference"] == pytest.approx(np.mean(zeros))
    assert scores["library_ks"] == ks_2samp(scorer.held_out.libraries, new_cells.libraries)[0]
    genes = ks_2samp((real > 0).sum(1), (made > 0).sum(1))[0]
    assert scores["genes_per_cell_ks"] == genes


def test_gene_correlations_are_those_of_the_most_expressed(scorer, new_cells, scores, monkeypatch):
    monkeypatch.setattr("dice_atlas.scoring.synthesis.CORRELATED_GENES", 20)
    found = dict(scorer._gene_correlation_scores(new_cells))
    top = np.argsort(-scorer.training.expression.mean(axis=0))[:20]
    above = np.triu_indices(20, 1)
    one, other = (
        np.corrcoef(cells.expression[:, top].T)[above] for cells in (scorer.held_out, new_cells)
    )
    assert found["gene_correlation_r"] == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert found["gene_correlation_rmse"] == pytest.approx(np.sqrt(((one - other) ** 2).mean()))
    assert found["gene_correlation_r"] != scores["gene_correlation_r"]


def test_a_constant_gene_has_no_correlation():
    expression = normals(20, 0, 3).astype(np.float32)
    expression[:, 1] = 0.1
    found = pairwise_correlations(expression)
    expected = np.corrcoef(expression[:, 0], expression[:, 2])[0, 1]
    np.testing.assert_allclose(found, [0, expected, 0], atol=1e-6)
    assert np.isnan(correlation(np.full(3, 0.1), np.arange(3.0)))


def test_fold_changes_of_identical_and_of_halved_differences(scorer):
    real = scorer.held_out
    assert dict(fold_change_scores(real, real)) == pytest.approx(
        {"log_fold_change_slope": 1.0, "log_fold_change_r": 1.0}
    )
    # Halfway from the mean of all cells: every difference of means is halved.
    centre = real.expression.mean(axis=0)
    halved = CellSet(centre + (real.expression - centre) / 2, real.labels)
    assert dict(fold_change_scores(real, halved)) == pytest.approx(
        {"log_fold_change_slope": 0.5, "log_fold_change_r": 1.0}, rel=1e-5
    )
    # Genes are chosen by the real cells; without labels that fit nothing is left of it.
    wrong = CellSet(real.expression, np.roll(real.labels, 1))
    assert dict(fold_change_scores(real, wrong))["log_fold_change_slope"] < 0
    inside = real.expression[real.labels == "B"].mean(axis=0)
    outside = real.expression[real.labels != "B"].mean(axis=0)
    np.testing.assert_allclose(log_fold_changes(real, "B"), inside - outside, atol=1e-5)


def test_fold_changes_by_their_definition(scorer, new_cells):
    real, made = scorer.held_out, new_cells
    pairs = []
    for label in "ABC":
        one, other = (
            cells.expression[cells.labels == label].mean(0)
            - cells.expression[cells.labels != label].mean(0)
            for cells in (real, made)
        )
        pairs += [(x, y) for x, y in zip(one, other, strict=True) if abs(x) > 0.25]
    x, y = np.array(pairs, dtype=float).T
    slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
    found = dict(fold_change_scores(real, made))
    assert found["log_fold_change_slope"] == pytest.approx(slope, rel=1e-5)
    assert found["log_fold_change_r"] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-5)


def test_unlabelled_cells_are_of_no_class(scorer):
    real = scorer.held_out
    labels = real.labels.copy()
    labels[::4] = ""
    some = CellSet(real.expression, labels)
    assert dict(fold_change_scores(some, some.labelled))["log_fold_change_slope"] == 1.0
    assert dict(fold_change_scores(real, unlabelled(real))) == {}


def test_fold_changes_need_a_rest_and_enough_cells(scorer):
    real = scorer.held_out
    one = CellSet(real.expression, np.full(len(real), "A", dtype=object))
    assert dict(fold_change_scores(one, real)) == {}
    few = real.rows(np.arange(87))  # 29 of each class
    assert dict(fold_change_scores(real, few)) == {}
    assert dict(fold_change_scores(real, real.rows(np.arange(90)))) != {}


def test_labels_that_do_not_fit_are_seen(scorer, new_cells, scores):
    labels = np.roll(new_cells.labels, 1)
    found = scores_of(scorer, CellSet(new_cells.expression, labels, new_cells.libraries))
    assert found["label_kept"] < 0.05
    assert found["tstr_accuracy"] < 0.05
    assert found["rf_auc_class"] > 0.95
    assert found["log_fold_change_slope"] < 0
    for name in set(METRICS) - OF_LABELS | {"trtr_accuracy", "trtr_macro_f1"}:
        assert found[name] == scores[name], name


def test_what_cannot_be_had_is_left_out(scorer, new_cells, scores):
    without = scores_of(scorer, unlabelled(new_cells))
    # The real cells still have their labels.
    assert set(METRICS) - set(without) == OF_LABELS - {"trtr_accuracy", "trtr_macro_f1"}
    assert all(without[name] == scores[name] for name in without)
    assert scorer.score_by_class(unlabelled(new_cells)).empty
    no_libraries = CellSet(new_cells.expression[:40], new_cells.labels[:40])
    assert "library_ks" not in scores_of(scorer, no_libraries)
    none = SynthesisScorer(unlabelled(scorer.training), unlabelled(scorer.held_out), 0)
    assert set(METRICS) - set(scores_of(none, unlabelled(new_cells))) == OF_LABELS


def test_scores_by_class(scorer, new_cells, copies, scores):
    # Of class A copies, of class B 20 cells, of class C three.
    parts = [copies.rows(copies.labels == "A"),
             *(new_cells.rows(np.flatnonzero(new_cells.labels == label)[:n])
               for label, n in (("B", 20), ("C", 3)))]  # fmt: skip
    synthetic = CellSet(
        np.vstack([part.expression for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    table = scorer.score_by_class(synthetic)
    assert list(table.columns) == ["label", "metric", "value"]
    found = {label: rows.set_index("metric")["value"] for label, rows in table.groupby("label")}
    assert {label: list(rows.index) for label, rows in found.items()} == {
        "A": ["n_cells", "n_held_out", "rf_auc_pc", "label_kept", "dcr_p5"],
        "B": ["n_cells", "n_held_out", "label_kept", "dcr_p5"],
        "C": ["n_cells", "n_held_out", "label_kept"],
    }
    assert [found[label]["n_cells"] for label in "ABC"] == [50, 20, 3]
    assert all(rows["n_held_out"] == 50 for rows in found.values())
    assert found["A"]["dcr_p5"] == 0.0
    assert 0.7 < found["B"]["dcr_p5"] < 1.4
    whole = scorer.score_by_class(new_cells)
    aucs = whole[whole["metric"] == "rf_auc_pc"]["value"]
    assert len(aucs) == 3
    assert aucs.mean() == pytest.approx(scores["rf_auc_class"])


def test_classifiers_are_those_of_sklearn(scorer, scores):
    """Far from any boundary, so that any sound classifier agrees with the truth."""
    assert scores["trtr_accuracy"] > 0.95
    weights = scorer.classifier.regression.decision_function(
        scorer.classifier.components.transform(scorer.held_out.expression)
    )
    for i, label in enumerate("ABC"):
        assert roc_auc_score(scorer.held_out.labels == label, weights[:, i]) > 0.99


@pytest.mark.parametrize(("n_training", "n_held_out", "n_synthetic"),
                         [(1, 1, 1), (2, 1, 3), (3, 2, 1), (6, 3, 3), (4, 9, 2)])  # fmt: skip
def test_few_cells(n_training, n_held_out, n_synthetic):
    cells = typed_cells(20, 0)
    at = np.cumsum([0, n_training, n_held_out, n_synthetic])
    sets = [cells.rows(np.arange(start, stop)) for start, stop in pairwise(at)]
    scorer = SynthesisScorer(sets[0], sets[1], 0)
    found = scores_of(scorer, sets[2])
    assert {"ilisi", "gene_mean_r", "dcr_p5", "closer_to_training"} <= set(found)
    assert {"rf_auc_class", "log_fold_change_slope"}.isdisjoint(found)
    assert ("rf_auc_pc" in found) == (min(n_held_out, n_synthetic) >= 2)
    assert ("trtr_accuracy" in found) == (n_training >= 2)
    by_class = scorer.score_by_class(sets[2])
    assert by_class[by_class["metric"] == "n_cells"]["value"].sum() == n_synthetic


def test_the_same_seed_gives_the_same_scores(scorer, new_cells, scores):
    again = SynthesisScorer(scorer.training, scorer.held_out, 0)
    assert scores_of(again, new_cells) == scores
    other = scores_of(SynthesisScorer(scorer.training, scorer.held_out, 1), new_cells)
    for name in ("rf_auc_pc", "rf_auc_genes", "closer_to_training"):
        assert other[name] != scores[name], name


def test_cells_that_cannot_be_compared(scorer, new_cells):
    narrow = CellSet(new_cells.expression[:, :100], new_cells.labels)
    for score in (scorer.score, scorer.score_by_class):
        with pytest.raises(ValueError, match=r"synthetic cells x genes: \(150, 100\)"):
            score(narrow)
        with pytest.raises(ValueError, match="at least one cell"):
            score(new_cells.rows(np.arange(0)))
    with pytest.raises(ValueError, match="held-out"):
        SynthesisScorer(new_cells, narrow, 0)
    with pytest.raises(ValueError, match="training"):
        SynthesisScorer(new_cells.rows(np.arange(0)), new_cells, 0)
