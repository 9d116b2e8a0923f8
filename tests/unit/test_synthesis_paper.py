"""SCLD as a generator of the workflow: its counts, post-guidance, and the saved model."""

import json
from dataclasses import replace

import numpy as np
import pytest
from dice_atlas.synthesis import paper_model
from dice_atlas.synthesis.paper_model import PaperModel, train_paper_model
from dice_atlas.synthesis.saved import class_codes, load_generator, save_generator
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.synthetic import draw_kept, gather_synthetic, requested, synthesize_shard
from test_synthesis_model import two_types

SETTINGS = ModelSettings(preset="paper", training_steps=150, keep=0.5, space="log1p")


@pytest.fixture(scope="module", autouse=True)
def short_chain():
    """Fifty steps of noise in place of 1,000, of which each takes a look by the network."""
    made = paper_model.scld_settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            paper_model, "scld_settings", lambda *given: replace(made(*given), diffusion_steps=50)
        )
        yield


@pytest.fixture(scope="module")
def trained(short_chain):
    table = two_types(60)
    _, codes = class_codes(table.labels)
    return table, codes, train_paper_model(table, codes, SETTINGS, 0, "cpu")


@pytest.fixture(scope="module")
def generator(trained, tmp_path_factory):
    table, _, model = trained
    path = tmp_path_factory.mktemp("paper") / "model.safetensors"
    save_generator(model, *table.split(0.2), SETTINGS, 0, path)
    return load_generator(path, "cpu"), path


def test_training_steps_limit_each_training(trained):
    losses = trained[2].losses
    assert losses.groupby("part")["step"].max().to_dict() == {"autoencoder": 150, "diffusion": 150}


def test_counts_sum_to_libraries_of_the_class(trained):
    table, codes, model = trained
    wanted = np.repeat([0, 1], 40)
    made = model.sample(wanted, np.arange(80), 0, CellRequest(80))
    libraries = made.sum(axis=1).A1
    for code in (0, 1):
        real = table.libraries[codes == code]
        own = libraries[wanted == code]
        assert own.min() >= real.min() - 1
        assert own.max() <= real.max() + 1
        assert np.median(own) == pytest.approx(np.median(real), rel=0.15)
    half = model.sample(wanted, np.arange(80), 0, CellRequest(80, depth=0.5)).sum(axis=1).A1
    assert np.abs(half - libraries / 2).max() <= 1


def test_post_guidance_keeps_the_same_cells_on_any_shards(generator, tmp_path):
    loaded, path = generator
    request = CellRequest({"A": 6, "B": 5})
    # Twice as many are drawn where half are kept.
    assert np.bincount(requested(loaded, request)).tolist() == [12, 10]
    counts, codes = draw_kept(loaded, request, 3)
    assert np.bincount(codes).tolist() == [6, 5]
    files = []
    for shard in (1, 2, 3):
        files.append(tmp_path / f"{shard}.h5ad")
        synthesize_shard(loaded, request, 3, (shard, 3)).write_h5ad(files[-1])
    whole = gather_synthetic(files, path.with_name("card.json"), request)
    assert list(whole.obs) == ["cell_type", "synthetic", "library"]
    assert (counts[:, :-1] != whole.X).nnz == 0


def test_the_kept_cells_are_those_that_look_most_real(generator):
    loaded, _ = generator
    request = CellRequest({"A": 6, "B": 5})
    codes = requested(loaded, request)
    counts, scores = loaded.model.sample_scored(codes, np.arange(len(codes)), 3, request)
    kept, _ = draw_kept(loaded, request, 3)
    best = np.sort(np.flatnonzero(codes == 0)[np.argsort(-scores[codes == 0])[:6]])
    assert (counts[best] != kept[:6]).nnz == 0


def test_a_saved_model_makes_the_cells_of_the_trained_one(trained, generator):
    _, _, model = trained
    loaded, path = generator
    assert isinstance(loaded.model, PaperModel)
    codes, cells = np.array([0, 1, 1]), np.arange(3)
    direct = model.sample(codes, cells, 1, CellRequest(3))
    assert (loaded.model.sample(codes, cells, 1, CellRequest(3)) != direct).nnz == 0
    assert json.loads(path.with_name("card.json").read_text())["preset"] == "paper"
