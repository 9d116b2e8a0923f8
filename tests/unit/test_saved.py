"""A prior trained, saved with its card, loaded, and taken over by another atlas."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from dice_atlas import __version__
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.saved import copy_saved, load_prior, save_trained
from dice_atlas.dice.training import PriorSettings, train
from dice_atlas.errors import InputError
from dice_atlas.features.projection import LatentSpace, load_saved_space
from dice_atlas.holdout import calibration_cells
from dice_atlas.numerics.scaling import Scaling

K = 3
NAMES = ("prior.safetensors", "card.json", "loss.tsv")
SMALL = {"width": 16, "blocks": 1, "steps": 20, "batch_size": 32, "validate_every": 10}
ABOUT = {"latents_sha256": "0" * 64, "normalization": {"target_sum": 1e4, "max_value": 10}}


def latents_of(n=160, labelled=True):
    rng = np.random.default_rng(0)
    label = np.where(np.arange(n) % 2, "a", "b") if labelled else np.full(n, "")
    role = np.where(np.arange(n) < n - 20, "reference", "query")
    obs = pd.DataFrame(
        {"role": role, "label": np.where(role == "query", "", label)},
        index=[f"c{i}" for i in range(n)],
    )
    found = ad.AnnData(obs=obs)
    found.obsm["X_harmony"] = rng.standard_normal((n, K)).astype(np.float32)
    return found


def space_of(k=K):
    loadings = np.linalg.qr(np.random.default_rng(1).standard_normal((6, k)))[0]
    scaling = Scaling(np.ones(6), np.full(6, 9.0), np.arange(6.0))
    genes = np.array([f"G{i}" for i in range(6)])
    return LatentSpace(genes, loadings, scaling, np.arange(float(k)), np.array([], dtype=str))


@pytest.fixture(params=["fast", "paper"])
def saved(request, tmp_path):
    """What was trained, and the folder that it was saved in."""
    settings = PriorSettings(request.param, "labels", SMALL)
    trained = train(latents_of(), False, settings, 4, "cpu", tmp_path / "checkpoint.pt")
    folder = tmp_path / "prior"
    files = folder / "prior.safetensors", folder / "loss.tsv"
    save_trained(trained, space_of(), ABOUT, *files)
    return trained, folder


def test_the_card_says_what_was_trained(saved):
    trained, folder = saved
    assert {path.name for path in folder.iterdir()} == {
        "card.json",
        "loss.tsv",
        "prior.safetensors",
    }
    card = json.loads((folder / "card.json").read_text())
    assert card.pop("seconds") >= 0
    assert card["held_out_loss"] == pytest.approx(min(row[2] for row in trained.trainer.rows))
    del card["held_out_loss"]
    assert card == {
        "format": 3, "dice_atlas": __version__, "torch": torch.__version__,
        "preset": trained.preset, "k": K, "settings": vars(trained.trainer.settings),
        "augmentation": "labels", "seed": 4, "device": "cpu",
        "precision": "bfloat16" if trained.trainer.bfloat16 else "float32",
        "n_cells": 140, "n_held_out": 0, "steps": 20, "genes": space_of().genes.tolist(),
        **ABOUT,
    }  # fmt: skip
    assert card["settings"].items() >= SMALL.items()
    loss = pd.read_csv(folder / "loss.tsv", sep="\t")
    assert loss["step"].tolist() == [0, 10, 20]
    np.testing.assert_allclose(loss["validation_loss"], [r[2] for r in trained.trainer.rows])


def test_it_is_loaded_as_it_was_trained(saved):
    trained, folder = saved
    prior, card = load_prior(folder / "prior.safetensors", "cpu")
    assert card["k"] == K
    network = trained.trainer.chosen()
    network.load_state_dict(trained.trainer.best)
    u = torch.randn(10, K)
    with torch.no_grad():
        expected = OBJECTIVES[trained.preset].prior(network).mean(u, 1.1)
        assert torch.equal(prior.mean(u, 1.1), expected)


def test_a_copy_is_the_saved_one_byte_by_byte(saved, tmp_path):
    _, folder = saved
    copies = [tmp_path / "other" / name for name in NAMES]
    copy_saved([str(folder / name) for name in NAMES], copies, K)
    for name, copy in zip(NAMES, copies, strict=True):
        assert copy.read_bytes() == (folder / name).read_bytes()
    np.testing.assert_array_equal(load_saved_space(copies[0]).loadings, space_of().loadings)


def test_a_prior_of_another_k_is_not_copied(saved, tmp_path):
    _, folder = saved
    copies = [tmp_path / "other" / name for name in NAMES]
    with pytest.raises(InputError, match=r"prior.safetensors has k = 3, the latents have 5"):
        copy_saved([str(folder / name) for name in NAMES], copies, 5)
    assert not (tmp_path / "other").exists()


def test_cells_that_calibrate_are_not_trained_on(tmp_path):
    latents = latents_of()
    settings = PriorSettings("fast", "labels", SMALL | {"steps": 0})
    trained = train(latents, True, settings, 0, "cpu", tmp_path / "checkpoint.pt")
    reference = latents.obs[latents.obs["role"] == "reference"]
    held = calibration_cells(reference.index, reference["label"])
    assert len(held) == trained.n_held_out == 36  # 18 of 70, twice
    assert trained.n_cells == 140 - 36
    points = {tuple(row) for row in latents.obsm["X_harmony"][held]}
    trainer = trained.trainer
    seen = torch.cat([trainer.latents, trainer.held]).numpy()
    assert len(seen) == trained.n_cells
    assert not points & {tuple(row) for row in seen}


def test_mixup_without_labels_is_within_clusters(tmp_path):
    settings = PriorSettings("fast", "labels", SMALL | {"steps": 0})
    trained = train(latents_of(labelled=False), True, settings, 0, "cpu", tmp_path / "c.pt")
    assert (trained.classes, trained.n_held_out, trained.n_cells) == ("clusters", 0, 140)


def test_few_cells_make_no_prior(tmp_path):
    with pytest.raises(InputError, match=r"49 reference cells are left .* expected at least 50"):
        train(latents_of(69), False, PriorSettings("fast"), 0, "cpu", tmp_path / "c.pt")
