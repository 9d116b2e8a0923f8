"""Synthetic reference cells for rare labels: how many, of what, and where they must not be."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from dice_atlas.atlas.columns import cell_types
from dice_atlas.counts.logged import cell_totals
from dice_atlas.errors import InputError
from dice_atlas.features.projection import LatentSpace
from dice_atlas.names import SYNTHETIC
from dice_atlas.numerics.scaling import Scaling
from dice_atlas.scoring import augment as scoring
from dice_atlas.scoring.augment import FOLDS, fold_of, oversampled, score_augment
from dice_atlas.sheet_settings import (
    require_augmentable,
)
from dice_atlas.synthesis import rare_classes
from dice_atlas.synthesis.latents import ClassGaussians, draw_gaussian
from dice_atlas.synthesis.rare_classes import as_sample, augment, latents_of
from dice_atlas.synthesis.settings import AugmentSettings
from dice_atlas.synthesis.training_cells import CountTable
from dice_atlas.transfer.anchors import Anchors
from dice_atlas.transfer.labels import predictions_table, transfer_labels
from dice_atlas.transfer.settings import WeightSettings
from dice_atlas.transfer.weights import anchor_weights
from sklearn.metrics import f1_score

SIZES = {"A": 120, "B": 80, "rare": 9}
SETTINGS = AugmentSettings(below=30, target=60, spread=0.5)


@pytest.fixture
def table(monkeypatch):
    """Counts of three types, one of them rare, with 5 counts of other genes in each cell."""
    monkeypatch.setattr(rare_classes, "MODEL", replace(rare_classes.MODEL, k=4, training_steps=80))
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(list(SIZES), dtype=object), list(SIZES.values()))
    rates = np.full((3, 60), 2.0)
    for i in range(3):
        rates[i, 20 * i : 20 * i + 20] = 12.0
    counts = rng.poisson(np.repeat(rates, list(SIZES.values()), axis=0))
    whole = np.hstack([counts, np.full((len(labels), 1), 5)]).astype(np.float32)
    genes = np.array([f"G{i}" for i in range(60)], dtype=object)
    keys = np.array([f"k{i}" for i in range(len(labels))], dtype=object)
    return CountTable(sp.csr_matrix(whole), genes, np.ones(60, dtype=bool), labels, keys)


# How many


@pytest.mark.parametrize(
    ("settings", "sizes", "expected"),
    [
        (AugmentSettings(), {"A": 5}, {}),
        (AugmentSettings(30, 60), {"A": 100, "b": 29, "c": 30}, {"b": 1}),
        (AugmentSettings(30, 60), {"A": 100, "b": 10, "c": 2}, {"b": 50, "c": 58}),
        # No more than the smallest of the others, of which they would draw cells.
        (AugmentSettings(30, 60), {"A": 100, "D": 34, "b": 10}, {"b": 24}),
        (AugmentSettings(30, 60), {"b": 10, "c": 2}, {"b": 50, "c": 58}),
    ],
)
def test_rare_labels_get_cells_up_to_the_target(settings, sizes, expected):
    assert settings.missing(sizes) == expected


# Of what


def test_spread_scales_the_distance_from_the_mean():
    gaussians = ClassGaussians(
        torch.ones(2) / 2, torch.tensor([[0.0, 1.0], [5.0, -3.0]]), torch.eye(2).repeat(2, 1, 1)
    )
    codes, indices = torch.tensor([0, 1, 1]), torch.arange(3)
    whole, half = (draw_gaussian(gaussians, codes, indices, 3, spread) for spread in (1.0, 0.5))
    mean = gaussians.mean[codes]
    torch.testing.assert_close(half - mean, (whole - mean) / 2)
    torch.testing.assert_close(draw_gaussian(gaussians, codes, indices, 3), whole)


def test_the_rare_label_s_genes_are_those_of_its_real_cells(table):
    made = augment(table, np.empty(0, int), SETTINGS, 0, "cpu")
    assert made.labels.tolist() == ["rare"] * 51
    assert made.counts.dtype == np.int32
    assert made.genes.tolist() == table.genes.tolist()
    own = made.counts.toarray().mean(axis=0)
    assert own[40:].mean() > 3 * own[:40].mean()
    assert (made.totals >= made.counts.sum(axis=1).A1).all()
    classes = made.classes.set_index("label")
    assert classes["real_cells"].to_dict() == SIZES
    assert classes["synthetic_cells"].to_dict() == {"A": 0, "B": 0, "rare": 51}


def test_nothing_is_learnt_from_held_out_cells(table):
    held = np.array([0, 3, 125, 200, 205])
    other = table.counts.toarray()
    other[held] = np.random.default_rng(1).integers(0, 50, (len(held), other.shape[1]))
    changed = replace(table, counts=sp.csr_matrix(other))
    one, two = (augment(t, held, SETTINGS, 0, "cpu") for t in (table, changed))
    assert (one.counts != two.counts).nnz == 0
    assert one.classes["learnt_from"].tolist() == [118, 79, 7]
    # Without them held out the cells are others: the check above can fail.
    assert (augment(changed, held[:1], SETTINGS, 0, "cpu").counts != two.counts).nnz


def test_a_label_whose_cells_are_all_held_out_gets_none(table, caplog):
    made = augment(table, np.arange(200, 209), SETTINGS, 0, "cpu")
    assert made.counts.shape == (0, 60)
    assert "rare: all its cells are held out" in caplog.text


def test_without_a_rare_label_there_are_no_cells(table):
    made = augment(table, np.empty(0, int), AugmentSettings(below=5), 0, "cpu")
    sample = as_sample(made, pd.Index(made.genes))
    assert sample.shape == (0, 60)
    assert made.classes["synthetic_cells"].sum() == 0


# As cells of the reference


def small_sample():
    counts = sp.csr_matrix(np.array([[4, 0, 1], [0, 3, 2]], dtype=np.int32))
    labels = np.array(["b", "a"], dtype=object)
    genes = np.array(["G2", "G0", "G5"], dtype=object)
    made = rare_classes.Augmentation(counts, genes, labels, np.array([9.0, 5.0]), pd.DataFrame())
    return as_sample(made, pd.Index(["G0", "G1", "G2", "G5"]))


def test_a_sample_has_all_genes_and_the_totals_of_its_cells():
    sample = small_sample()
    assert sample.X.toarray().tolist() == [[0, 0, 4, 1], [3, 0, 0, 2]]
    assert cell_totals(sample).tolist() == [9, 5]
    assert sample.obs["role"].unique().tolist() == ["reference"]
    assert all(name.startswith(SYNTHETIC) for name in sample.obs_names)


@pytest.mark.parametrize("lacking", [0, 1], ids=["all genes", "a gene of a saved prior is absent"])
def test_latents_are_projected_and_corrected_as_the_nearest_real_cell(tmp_path, lacking):
    small_sample().write_h5ad(tmp_path / "cells.h5ad")
    genes = pd.DataFrame(
        {"gene": ["G0", "G2"], "gene_id": "", "selected": [True, True], "rank": [1, 2]}
    )
    d = 2 + lacking
    scaling = Scaling(np.ones(d), np.full(d, 100.0), np.zeros(d))
    names = np.array(["G0", "G2", "G9"][:d])
    space = LatentSpace(names, np.eye(d, 2), scaling, np.ones(2), np.array([]))
    # G0 of cell 2 is log1p(3 / 5 x 10); the nearest real cell of its label has the shift 7.
    expected = np.log1p(np.array([[0, 4 / 9 * 10], [3 / 5 * 10, 0]]))
    real = ad.AnnData(
        obs=pd.DataFrame(
            {"label": ["b", "a", "a", "a"], "role": ["reference"] * 3 + ["query"]},
            index=list("wxyz"),
        ),
        obsm={
            "X_pca": np.array([[9.0, 9], [0, 9], [2, 0], [1.9, 0]], dtype=np.float32),
            "X_harmony": np.array([[10.0, 9], [0, 9], [9, 0], [1.9, 0]], dtype=np.float32),
        },
        uns={"latent": {"gram": np.eye(2)}},
    )
    normalized, latents = latents_of(tmp_path / "cells.h5ad", genes, 10.0, space, real)
    np.testing.assert_allclose(normalized.X.toarray(), expected, rtol=1e-6)
    np.testing.assert_allclose(latents.obsm["X_pca"], expected, rtol=1e-6)
    shift = latents.obsm["X_harmony"] - latents.obsm["X_pca"]
    np.testing.assert_allclose(shift, [[1, 0], [7, 0]], rtol=1e-5)


# Labels that rest on them


def test_the_synthetic_share_of_a_score_is_that_of_the_weights():
    anchors = Anchors(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), np.array([0.3, 1, 0.7, 1]))
    line = np.array([[0.0], [1.0], [2.5]])
    settings, synthetic = WeightSettings(3), np.array([False, False, True])
    result = transfer_labels(anchors, line, ["a", "b", "a"], settings, synthetic)
    weights = anchor_weights(anchors, line, settings).toarray()
    predictions = predictions_table(["q0", "q1", "q2"], result)
    for i, row in predictions.iterrows():
        of_a = weights[i, [2, 3]].sum() / weights[i, [0, 2, 3]].sum()
        assert row["synthetic"] == pytest.approx(of_a if row["predicted"] == "a" else 0.0)
    assert set(predictions["predicted"]) == {"a", "b"}
    without = transfer_labels(anchors, line, ["a", "b", "a"], settings, np.zeros(3, dtype=bool))
    assert "synthetic" not in predictions_table(["q0", "q1", "q2"], without)


def test_the_atlas_has_the_share_of_query_cells_alone():
    obs = pd.DataFrame({"role": ["reference", "query"], "label": ["a", ""]}, index=["r", "q"])
    call = {"cell": "q", "cell_type": "a", "predicted": "a", "score": 0.9, "prediction_set": "a",
            "entropy": 0.1, "n_anchors": 3, "second": "", "second_score": 0.0, "p_reference": 0.5,
            "rule": "", "synthetic": 0.25}  # fmt: skip
    calls = pd.DataFrame([call])
    table = cell_types(obs, calls)
    assert table.loc["q", "cell_type_synthetic"] == 0.25
    assert np.isnan(table.loc["r", "cell_type_synthetic"])
    assert "cell_type_synthetic" not in cell_types(obs, calls.drop(columns="synthetic"))


# Beside other remedies


def test_folds_hold_out_each_cell_once_and_no_lone_cell():
    labels = np.array(["a"] * 7 + ["b"] * 2 + ["lone"], dtype=object)
    folds = fold_of(labels, 0)
    assert folds[-1] == -1
    assert sorted(folds[:7]) == [0, 0, 0, 1, 1, 2, 2]
    assert folds[7] != folds[8]


def test_copies_are_of_the_label_s_own_cells():
    points = np.arange(5.0)[:, None]
    labels = np.array(["a", "a", "a", "b", "b"])
    more, names = oversampled((points, labels), {"b": 20}, np.random.default_rng(0))
    assert names.tolist() == [*labels, *["b"] * 20]
    assert set(more[5:, 0]) == {3.0, 4.0}


def test_scores_are_those_of_the_predictions(table, monkeypatch):
    """Remedies whose cells lie where they must be told apart, or cannot be."""
    places = {"A": 0.0, "B": 10.0, "rare": 20.0}
    labels = table.labels.astype(str)
    points = np.array([[places[label]] for label in labels])

    def tried(table, held, *_):
        learnt = np.setdiff1d(np.arange(len(labels)), held)
        yield "apart", (points[learnt], labels[learnt]), points[held], False
        lost = points[held].copy()
        lost[labels[held] == "rare"] = 0.0
        yield "lost", (points[learnt], labels[learnt]), lost, True

    monkeypatch.setattr(scoring, "remedies", tried)
    scores = score_augment(table, SETTINGS, 0, "cpu")
    found = scores.set_index(["remedy", "classifier", "label"])["value"]
    assert found["lost", "logistic regression", "rare"] == 0
    assert found["apart", "logistic regression", "rare"] == 1
    assert ("lost", "15 neighbours", "rare") not in found.index
    told = np.where(labels == "rare", "A", labels)
    expected = f1_score(labels, told, average="macro", zero_division=0)
    assert found["lost", "logistic regression", ""] == pytest.approx(expected)
    assert scores.loc[scores["label"] == "rare", "cells"].eq(9).all()


def test_synthetic_cells_help_neighbours_to_find_a_rare_label(table):
    scores = score_augment(table, SETTINGS, 0, "cpu")
    recall = scores[scores["metric"] == "recall"].set_index(["remedy", "classifier"])["value"]
    # Six real cells are mostly outvoted among 15 neighbours, whatever lies nearest.
    assert recall["none", "15 neighbours"] < 0.5
    assert recall["synthetic cells", "15 neighbours"] == 1
    assert FOLDS == 3


def test_of_many_cells_the_rare_ones_are_all_scored(table, monkeypatch):
    monkeypatch.setattr(scoring, "MOST_CELLS", 50)
    few = scoring.thinned(table, ["rare"], 0)
    assert len(few.labels) == 50
    assert (few.labels == "rare").sum() == SIZES["rare"]
    assert scoring.thinned(table, list(SIZES), 0).labels.tolist() == table.labels.tolist()


def test_without_a_rare_label_nothing_is_scored(table):
    assert score_augment(table, AugmentSettings(below=5), 0, "cpu").empty


# Bad input


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"role": "query"}, "there is no reference sample"),
        ({"labels": ""}, "ref have no labels"),
        ({"expression": "log1p"}, "ref have expression log1p"),
    ],
)
def test_references_that_cannot_be_augmented_are_refused(row, message):
    sheet = {"ref": {"role": "reference", "labels": "type", "expression": "", **row}}
    require_augmentable({"below": 0}, sheet)
    with pytest.raises(InputError, match=message):
        require_augmentable({"below": 30}, sheet)
