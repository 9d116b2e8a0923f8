"""A prior trained, saved with its card, loaded, and taken over by another atlas."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from dice_atlas import __version__
from dice_atlas.dice.coordinates import within_type_matrix
from dice_atlas.dice.kernel import kernel_prior, restore_kernel
from dice_atlas.dice.objectives import OBJECTIVES
from dice_atlas.dice.saved import copy_saved, load_prior, save_trained
from dice_atlas.dice.training import PriorSettings, train
from dice_atlas.errors import InputError
from dice_atlas.features.card import metadata, read_card, require_match
from dice_atlas.features.projection import LatentSpace, load_saved_space
from dice_atlas.files import sha256
from dice_atlas.holdout import calibration_cells
from dice_atlas.numerics.scaling import Scaling
from dice_atlas.report.data import read_table
from dice_atlas.report.stages import draw_loss
from matplotlib.figure import Figure
from safetensors.torch import load_file, save

K = 3
NAMES = ("prior.safetensors", "card.json", "loss.tsv")
SMALL = {"width": 16, "blocks": 1, "steps": 20, "batch_size": 32, "validate_every": 10}
ABOUT = {"latents_sha256": "0" * 64, "normalization": {"target_sum": 1e4, "max_value": 10}}


def latents_of(n=160, labelled=True):
    rng = np.random.default_rng(0)
    label = np.where(np.arange(n) % 2, "a", "b") if labelled else np.full(n, "")
    role = np.where(np.arange(n) < n - 20, "reference", "query")
    obs = pd.DataFrame(
        {
            "role": role,
            "label": np.where(role == "query", "", label),
            "cell_key": [f"{i:016x}" for i in range(n)],
        },
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


@pytest.mark.parametrize("preset", ["kernel", "fast"])
def test_coordinates_and_background_are_saved_with_the_prior(tmp_path, preset):
    overrides = {"draws": 300} if preset == "kernel" else SMALL
    settings = PriorSettings(preset, "labels", overrides, 0.2, "within_type")
    data = latents_of()
    data.obsm["X_harmony"] *= np.array([5, 1, 0.3], dtype=np.float32)
    trained = train(data, False, settings, 4, "cpu", tmp_path / "checkpoint.pt")
    files = tmp_path / "prior.safetensors", tmp_path / "loss.tsv"
    save_trained(trained, space_of(), ABOUT, *files)
    prior, card = load_prior(files[0], "cpu")
    assert (card["noise"], card["settings"]["background"]) == ("within_type", 0.2)
    real = (data.obs["role"] == "reference").to_numpy()
    label = data.obs["label"].to_numpy()[real]
    expected = within_type_matrix(data.obsm["X_harmony"][real], label)
    np.testing.assert_allclose(prior.coordinates, expected, atol=1e-12)
    far = torch.full((1, K), 40.0)
    assert prior.background(far, 1.1) > 0.99
    assert prior.background(torch.zeros(1, K), 1.1) < 0.9


def test_a_kernel_is_saved_and_loaded_as_it_was(tmp_path):
    settings = PriorSettings("kernel", "labels", {"draws": 300}, 0.1)
    trained = train(latents_of(), False, settings, 4, "cpu", tmp_path / "checkpoint.pt")
    files = tmp_path / "prior.safetensors", tmp_path / "loss.tsv"
    save_trained(trained, space_of(), ABOUT, *files)
    prior, card = load_prior(files[0], "cpu")
    assert (card["preset"], card["steps"], card["n_cells"]) == ("kernel", 0, 140)
    assert 0 < card["held_out_loss"] < 1
    u = torch.randn(10, K)
    expected = kernel_prior(restore_kernel(K, trained.trainer.best)).mean(u, 1.1)
    assert torch.equal(prior.mean(u, 1.1), expected)


def test_synthetic_cells_are_trained_on_and_counted(tmp_path):
    settings, real = PriorSettings("fast", "labels", SMALL), latents_of()
    made = real[:7].copy()
    trained = train(real, False, settings, 4, "cpu", tmp_path / "checkpoint.pt", made)
    alone = train(real, False, settings, 4, "cpu", tmp_path / "other.pt")
    assert (trained.n_cells, trained.n_synthetic) == (alone.n_cells, 7)
    # A tenth of each class is held out.
    assert len(trained.trainer.latents) - len(alone.trainer.latents) in (6, 7)


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
        "format": 5, "dice_atlas": __version__, "torch": torch.__version__,
        "preset": trained.preset, "k": K, "settings": vars(trained.trainer.settings),
        "augmentation": "labels", "noise": "isotropic", "seed": 4, "device": "cpu",
        "n_synthetic": 0,
        "precision": "bfloat16" if trained.trainer.bfloat16 else "float32",
        "n_cells": 140, "n_held_out": 0, "steps": 20, "genes": space_of().genes.tolist(),
        "calibration": [], "sha256": sha256(folder / "prior.safetensors"), **ABOUT,
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


@pytest.mark.parametrize("text", ["", "step\ttrain_loss\tvalidation_loss\n"])
def test_a_report_has_no_curve_of_losses_that_are_not_there(tmp_path, text):
    (tmp_path / "loss.tsv").write_text(text)
    loss = read_table(tmp_path / "loss.tsv", "loss")
    axes = Figure().subplots()
    draw_loss(axes, loss)
    assert loss.columns.tolist() == ["step", "train_loss", "validation_loss"]
    assert all(len(line.get_xdata()) == 0 for line in axes.lines)


def tampered(folder, change):
    """The folder's card after `change`, and what it was."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(change(dict(card))))


def rewritten(folder, change):
    """The weights after `change`; the card is made to speak of them."""
    path, card = folder / "prior.safetensors", folder / "card.json"
    about = metadata(path)
    tensors = {name: change(name, t) for name, t in load_file(path).items()}
    path.write_bytes(save(tensors, metadata=about))
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": sha256(path)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"genes": c["genes"][::-1]}, "genes or settings are not those"),
        (lambda c: c | {"genes": c["genes"][:3]}, "genes or settings are not those"),
        (lambda c: c | {"normalization": {"target_sum": 1e6}}, "genes or settings are not those"),
        (lambda c: c | {"sha256": "0" * 64}, "the weights were changed or cut off"),
        (lambda c: {k: v for k, v in c.items() if k != "k"}, "no k as a prior's card has"),
        (lambda c: c | {"genes": "G1"}, "no genes as a prior's card has"),
        (lambda c: [c], "seen a list, no card of a prior"),
        (lambda c: None, "seen a NoneType, no card of a prior"),
    ],
)
def test_a_card_that_was_changed_is_refused(saved, change, message):
    _, folder = saved
    tampered(folder, change)
    for read in (load_saved_space, lambda path: load_prior(path, "cpu"), require_match):
        with pytest.raises(InputError, match=message):
            read(folder / "prior.safetensors")


def test_a_card_that_is_no_json_is_refused(saved):
    _, folder = saved
    for text in ("", "{", "card", "\xff"):
        (folder / "card.json").write_bytes(text.encode("latin1"))
        with pytest.raises(InputError, match="expected the card of a saved prior, in JSON"):
            read_card(folder / "card.json")


@pytest.mark.parametrize("n", [0, 4, 100, -1])
def test_weights_that_are_cut_off_are_refused(saved, n):
    _, folder = saved
    path = folder / "prior.safetensors"
    path.write_bytes(path.read_bytes()[:n])
    with pytest.raises(InputError, match=r"prior\.safetensors"):
        require_match(path)


def test_weights_that_were_changed_are_refused(saved, tmp_path):
    _, folder = saved
    path = folder / "prior.safetensors"
    before = path.read_bytes()
    scaled = {name: 1.5 * t for name, t in load_file(path).items()}
    path.write_bytes(save(scaled, metadata=metadata(path)))
    with pytest.raises(InputError, match="the weights were changed"):
        load_prior(path, "cpu")
    path.write_bytes(before)
    rewritten(folder, lambda name, t: t * float("nan") if name.startswith("network.") else t)
    with pytest.raises(InputError, match="weights hold missing or infinite values"):
        load_prior(path, "cpu")
    path.write_bytes(before)
    rewritten(folder, lambda name, t: t * float("inf") if name == "space.sd" else t)
    with pytest.raises(InputError, match="latent space holds missing or infinite values"):
        load_saved_space(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
def test_a_checkpoint_that_cannot_be_read_is_no_reason_to_stop(tmp_path, content, caplog):
    settings = PriorSettings("fast", "labels", SMALL)
    expected = train(latents_of(), False, settings, 4, "cpu", tmp_path / "none.pt")
    (tmp_path / "checkpoint.pt").write_bytes(content)
    found = train(latents_of(), False, settings, 4, "cpu", tmp_path / "checkpoint.pt")
    assert "training starts anew" in caplog.text
    assert found.trainer.rows == expected.trainer.rows
    torch.save([1, 2], tmp_path / "other.pt")
    assert train(latents_of(), False, settings, 4, "cpu", tmp_path / "other.pt").n_cells == 140


def test_a_prior_of_another_k_is_not_copied(saved, tmp_path):
    _, folder = saved
    copies = [tmp_path / "other" / name for name in NAMES]
    with pytest.raises(InputError, match=r"prior.safetensors has k = 3, the latents have 5"):
        copy_saved([str(folder / name) for name in NAMES], copies, 5)
    assert not (tmp_path / "other").exists()


def test_cells_that_calibrate_are_not_trained_on(tmp_path):
    latents = latents_of()
    # Without mixup the cells are seen as they are.
    settings = PriorSettings("fast", "labels", SMALL | {"steps": 0, "mixup_probability": 0.0})
    trained = train(latents, True, settings, 0, "cpu", tmp_path / "checkpoint.pt")
    reference = latents.obs[latents.obs["role"] == "reference"]
    held = calibration_cells(reference["cell_key"], reference["label"])
    assert len(held) == 36  # 18 of 70, twice
    assert trained.calibration == reference["cell_key"].iloc[held].tolist()
    assert trained.n_cells == 140 - 36
    points = {tuple(row) for row in latents.obsm["X_harmony"][held]}
    trainer = trained.trainer
    seen = torch.cat([trainer.latents, trainer.held]).numpy()
    assert len(seen) == trained.n_cells
    assert not points & {tuple(row) for row in seen}


def test_mixup_without_labels_is_within_clusters(tmp_path):
    settings = PriorSettings("fast", "labels", SMALL | {"steps": 0})
    trained = train(latents_of(labelled=False), True, settings, 0, "cpu", tmp_path / "c.pt")
    assert (trained.classes, trained.calibration, trained.n_cells) == ("clusters", [], 140)


def test_few_cells_make_no_prior(tmp_path):
    with pytest.raises(InputError, match=r"49 reference cells are left .* expected at least 50"):
        train(latents_of(69), False, PriorSettings("fast"), 0, "cpu", tmp_path / "c.pt")
