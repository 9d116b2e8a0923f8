"""Mixup, training, checkpoints and the saved prior."""

import json
import operator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from dice_atlas.dice.mixup import ClassMixup, augmented, communities, mixup_classes
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.saved import load_prior, save_prior
from dice_atlas.dice.training import PriorSettings, Trainer
from dice_atlas.errors import InputError
from dice_atlas.features.card import FORMAT
from dice_atlas.features.projection import LatentSpace, load_saved_space
from dice_atlas.files import sha256
from dice_atlas.numerics.scaling import Scaling


def latents(n=600, k=4):
    generator = torch.Generator().manual_seed(0)
    sd = torch.tensor([4.0, 2.0, 1.0, 0.5])[:k]
    return torch.randn(n, k, generator=generator) * sd, sd


def trainer(preset="fast", seed=0, mixup=False, **overrides):
    data, _ = latents()
    small = {"width": 64, "blocks": 2, **overrides}
    settings = PriorSettings(preset, overrides=small).training(len(data))
    classes = torch.zeros(len(data), dtype=torch.long)
    return Trainer(OBJECTIVES[preset], settings, data, classes, mixup, seed, "cpu")


def test_mixup_stays_within_the_class_and_has_dirichlet_weights():
    classes = torch.arange(600) % 3
    # The latent of a cell is its own class and its own unit vector.
    points = torch.cat([classes[:, None].float(), torch.eye(600)], dim=1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(600).repeat(5)
    mixed = ClassMixup(classes, probability=1.0)(points, rows, generator)
    assert torch.allclose(mixed[:, 0], classes[rows].float(), atol=1e-5)
    own = mixed[torch.arange(len(rows)), rows + 1]
    # Beta(1, 4): mean 1/5, variance 4 / (25 * 6); a partner is now and then the cell itself.
    assert own.mean() == pytest.approx(0.2 + 0.8 / 200, abs=0.01)
    assert own.var() == pytest.approx(4 / 150, abs=0.004)
    unchanged = ClassMixup(classes, probability=0.0)(points, rows, generator)
    assert torch.equal(unchanged, points[rows])


def test_mixup_probability_is_the_share_of_changed_cells():
    classes = torch.zeros(500, dtype=torch.long)
    points, rows = torch.randn(500, 2), torch.arange(500).repeat(10)
    mixed = ClassMixup(classes, 0.9)(points, rows, torch.Generator().manual_seed(1))
    assert (mixed == points[rows]).all(dim=1).float().mean() == pytest.approx(0.1, abs=0.02)
    assert torch.isfinite(mixed).all()


def test_fast_network_learns_the_closed_form_of_a_gaussian():
    run = trainer(steps=600)
    run.run()
    _, sd = latents()
    # Error of the true posterior mean over the noise variance, as the held-out loss.
    least = np.mean([float((sd**2 / (sd**2 + v)).mean()) for v in (1.25, 5.0, 25.0)])
    assert run.best_loss < 1.3 * least
    network = run.chosen().eval()
    u = torch.tensor([[3.0, -2.0, 1.0, 0.5]])
    s = torch.full((1, 1), 1.118)
    expected = sd**2 / (sd**2 + s**2) * u
    assert torch.allclose(network(u, s), expected, atol=0.35)


def test_paper_network_learns_to_denoise():
    run = trainer("paper", steps=400, batch_size=256, learning_rate=1e-3, validate_every=100)
    before = OBJECTIVES["paper"].held_out_loss(run.network, run.held, 0)
    run.run()
    assert run.best_loss < 0.5 * before
    assert run.best_loss < 0.6  # 1 is the error of doing nothing


def test_training_goes_on_from_a_checkpoint_to_the_same_weights(tmp_path):
    straight = trainer(steps=60, validate_every=20)
    straight.run()
    path = tmp_path / "checkpoint.pt"
    stopped = trainer(steps=60, validate_every=20)
    step = stopped.train_step

    def interrupted():
        if stopped.step == 50:
            raise KeyboardInterrupt
        return step()

    stopped.train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        stopped.run(path, every_seconds=0)
    resumed = trainer(steps=60, validate_every=20)
    resumed.run(path)
    assert resumed.step == 60
    assert [row[0] for row in resumed.rows] == [0, 20, 40, 60]
    assert resumed.rows[1:] == straight.rows[1:]
    for part in ("network", "average.network"):
        weights = operator.attrgetter(part)(straight).state_dict()
        again = operator.attrgetter(part)(resumed).state_dict()
        for name, weight in weights.items():
            assert torch.equal(weight, again[name]), (part, name)


@pytest.mark.parametrize("change", [{"seed": 1}, {"mixup": True}, {"batch_size": 64}])
def test_a_checkpoint_of_another_training_is_left_alone(change, tmp_path):
    path = tmp_path / "checkpoint.pt"
    first = trainer(steps=60)
    first.train_step()
    first.save(path)
    other = trainer(**{"steps": 60, **change})
    other.load(path)
    assert other.step == 0
    same = trainer(steps=60)
    same.load(path)
    assert same.step == 1


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_saved_prior_denoises_as_the_trained_one(preset, tmp_path):
    run = trainer(preset, steps=20, batch_size=64, validate_every=10)
    run.run()
    genes = np.array(["A", "B", "C", "D", "E"])
    rng = np.random.default_rng(0)
    loadings = np.linalg.qr(rng.standard_normal((5, 4)))[0]
    scaling = Scaling(np.ones(5), np.full(5, 9.0), np.arange(5.0))
    space = LatentSpace(genes, loadings, scaling, np.arange(4.0), np.array([], dtype=str))
    card = {"preset": preset, "k": 4, "noise": "isotropic",
            "settings": vars(run.settings), "genes": genes.tolist(),
            "normalization": {}, "calibration": []}  # fmt: skip
    save_prior(run.best, space, card, tmp_path / "prior.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1, "the prior must be as readable as its card"
    prior, read = load_prior(tmp_path / "prior.safetensors", "cpu")
    assert read.pop("sha256") == sha256(tmp_path / "prior.safetensors")
    assert read == {"format": FORMAT, **json.loads(json.dumps(card))}
    run.chosen().load_state_dict(run.best)
    u = torch.randn(10, 4)
    with torch.no_grad():
        expected = OBJECTIVES[preset].prior(run.chosen()).mean(u, 1.1)
        assert torch.equal(prior.mean(u, 1.1), expected)
    back = load_saved_space(tmp_path / "prior.safetensors")
    assert np.array_equal(back.loadings, loadings)
    assert back.genes.tolist() == genes.tolist()
    assert back.orthonormal
    assert not back.restricted_to(np.array(["A", "C", "D", "E"])).orthonormal


@pytest.mark.parametrize("number", [9, 2])
def test_a_saved_prior_of_another_format_is_refused(tmp_path, number):
    # 2: the paper's network had blocks of twice the paper's inner width.
    (tmp_path / "card.json").write_text(json.dumps({"format": number, "dice_atlas": "9.0"}))
    message = (
        rf"card.json: seen format {number} \(dice-atlas 9.0\), expected 5: "
        "train the prior again, or use it with the version that wrote it"
    )
    with pytest.raises(InputError, match=message):
        load_prior(tmp_path / "prior.safetensors", "cpu")


def test_classes_fall_back_to_clusters_without_labels():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (100, 2)), rng.normal(5, 0.1, (100, 2))])
    none = np.full(200, "")
    classes, kind = mixup_classes(points, none, "labels", 0)
    assert kind == "clusters"
    assert not set(classes[:100]) & set(classes[100:])
    labels = np.array(["a"] * 100 + ["b"] * 50 + [""] * 50)
    classes, kind = mixup_classes(points, labels, "labels", 0)
    assert kind == "labels"
    assert classes.tolist() == [0] * 100 + [1] * 100
    assert mixup_classes(points, labels, "none", 0)[1] == "none"


def test_clusters_are_as_large_as_the_types_and_the_same_again():
    rng = np.random.default_rng(1)
    sizes = (1500, 300, 60)
    truth = np.repeat(np.arange(3), sizes)
    points = 12.0 * np.eye(3, 10)[truth] + rng.normal(size=(sum(sizes), 10))
    found = communities(points, 0)
    # Each type is clusters of its own; a type is no dozen of them, whatever its size.
    pairs = pd.crosstab(truth, found)
    assert ((pairs > 0).sum(axis=0) == 1).all()
    assert ((pairs > 0).sum(axis=1) <= 8).all()
    np.testing.assert_array_equal(communities(points, 0), found)
    assert communities(points[:1], 0).tolist() == [0]


@pytest.mark.parametrize("keep_last", [False, True])
def test_the_best_weights_are_kept_unless_the_last_are_asked_for(keep_last):
    data, _ = latents()
    settings = PriorSettings("fast", overrides={"width": 8, "blocks": 1, "steps": 3}).training(600)
    settings = replace(settings, validate_every=1, patience=1, average=0.0)
    zeros = torch.zeros(len(data), dtype=torch.long)
    run = Trainer(
        OBJECTIVES["fast"], settings, data, zeros, False, 0, "cpu", keep_last=keep_last
    )  # fmt: skip
    worse = iter([1.0, 2.0, 3.0, 4.0])
    run.objective = SimpleNamespace(
        **{name: getattr(OBJECTIVES["fast"], name) for name in ("loss", "clip")},
        held_out_loss=lambda *_: next(worse),
    )
    first = run.weights()
    run.run()
    kept = run.weights() if keep_last else first
    assert run.step == (3 if keep_last else 1)
    assert all(torch.equal(run.best[name], kept[name]) for name in kept)


def test_a_training_that_diverges_is_an_error():
    run = trainer(steps=40, validate_every=20, learning_rate=1e20)
    with pytest.raises(InputError, match="training diverged at step"):
        run.run()


def test_augmented_draws_are_those_of_the_mixup():
    points, classes = torch.randn(30, 3), torch.arange(30) % 3 + 1
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augmented(points, classes, 0.0, generator), points)
    drawn = augmented(points, classes, 1.0, generator, at_least=3000)
    assert drawn.shape == (3000, 3)
    # A mean of five with Dirichlet weights, drawn with replacement: the class's mean stays, its
    # variance shrinks to that of one cell times E[sum w^2] = 1 / 3, about.
    for label in (1, 2, 3):
        mine = drawn[classes.repeat(100) == label]
        own = points[classes == label]
        assert torch.allclose(mine.mean(0), own.mean(0), atol=0.06)
        assert torch.allclose(mine.var(0) / own.var(0, correction=0), torch.tensor(1 / 3), atol=0.1)
