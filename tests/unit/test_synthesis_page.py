"""Scores of a generator beside the control, and the page that shows them."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from dice_atlas.errors import InputError
from dice_atlas.files import write_h5ad, write_table
from dice_atlas.plots.points import drawn_rows
from dice_atlas.report.synthesis import findings, read_synthesis, umaps, write_synthesis_page
from dice_atlas.scoring.fidelity import score_generator
from dice_atlas.synthesis.count_model import train_count_model
from dice_atlas.synthesis.saved import (
    RESULTS,
    class_codes,
    forget_results,
    load_generator,
    save_generator,
    split_of,
)
from dice_atlas.synthesis.settings import ModelSettings
from matplotlib.colors import to_hex
from test_synthesis_model import table_of, two_types

SETTINGS = ModelSettings(k=4, training_steps=60)


@pytest.fixture(scope="module", params=[True, False], ids=["labels", "no labels"])
def scored(request, tmp_path_factory):
    """A generator with its scores, and the folder where its files are."""
    folder, table = tmp_path_factory.mktemp("synthesis"), two_types(200)
    if not request.param:
        table = table_of(table.counts.toarray()[:, :-1])
    training, held_out = table.split(0.2)
    _, codes = class_codes(training.labels)
    model = train_count_model(training, codes, SETTINGS, 0, "cpu")
    save_generator(model, training, held_out, SETTINGS, 0, folder / "model.safetensors")
    write_table(model.losses, folder / "loss.tsv")
    generator = load_generator(folder / "model.safetensors", "cpu")
    parts = split_of(table, generator.card)
    return (
        request.param,
        folder,
        generator,
        parts,
        score_generator(generator, *parts, 0, 0.0, 10),
    )


def test_scores_have_the_control_and_the_simple_generators(scored):
    labelled, _, _, (_, held_out), fidelity = scored
    wide = fidelity.table.pivot(index="metric", columns="generator", values="value")
    assert list(fidelity.table["generator"].unique()) == [
        "synthetic", "resampled", "thinned_pairs", "gaussian_copula",
        "independent_negative_binomial",
    ]  # fmt: skip
    assert wide.loc["dcr_p5", "resampled"] == 0
    assert ("label_kept" in wide.index) == labelled
    copies = fidelity.memorization.set_index("generator")["copies"]
    assert copies["resampled"] == len(held_out.labels)
    assert copies["synthetic"] == 0
    assert fidelity.cells.obs["set"].value_counts().to_dict() == {
        "held out": len(held_out.labels), "synthetic": len(held_out.labels),
    }  # fmt: skip


@pytest.fixture(scope="module")
def files(scored, root):
    """The rule's named inputs."""
    _, folder, _, _, fidelity = scored
    write_h5ad(fidelity.cells, folder / "cells.h5ad")
    for name in ("table", "by_class", "memorization"):
        write_table(getattr(fidelity, name), folder / f"{name}.tsv")
    layout = np.random.default_rng(0).normal(size=(fidelity.cells.n_obs, 2))
    umap = pd.DataFrame(layout, columns=["umap1", "umap2"])
    write_table(umap.assign(cell=fidelity.cells.obs_names), folder / "umap.tsv.gz")
    names = ("synthesis.html.j2", "page.css", "macros.html.j2")
    files = {name: folder / f"{name}.tsv" for name in ("table", "by_class", "memorization", "loss")}
    files |= {"cells": folder / "cells.h5ad", "umap": folder / "umap.tsv.gz"}
    return files | {
        "card": folder / "card.json", "templates": [root / "resources" / n for n in names],
    }  # fmt: skip


def test_the_page_says_what_was_measured(scored, files):
    labelled, folder, _, _, fidelity = scored
    write_synthesis_page(files, folder / "page.html", folder / "figures", "my <atlas>", 0)
    page = (folder / "page.html").read_text()
    assert "my &lt;atlas&gt;: synthetic cells" in page
    own = fidelity.table.query("generator == 'synthetic' and metric == 'rf_auc_pc'")["value"]
    assert f"{own.iloc[0]:.3f}" in page
    assert ("Log-fold changes of each class" in page) == labelled
    assert {p.stem for p in (folder / "figures").iterdir()} == {
        "umap", "genes", "libraries", "training", *(["fold_changes"] if labelled else []),
    }  # fmt: skip


def test_a_class_has_the_colour_that_was_chosen(scored, files):
    if not scored[0]:
        pytest.skip("no classes, no colours")
    data = read_synthesis(files)
    label = data.cells.obs["label"].astype(str).value_counts().index[0]
    figure = umaps(data, 0, {label: "#123456"})
    panel = figure.axes[1]
    plt.close(figure)
    drawn = [to_hex(color) for color in panel.collections[0].get_facecolors()]
    rows = drawn_rows(data.cells.n_obs, 0)
    is_label = (data.cells.obs["label"].iloc[rows].astype(str) == label).to_list()
    assert [color == "#123456" for color in drawn] == is_label


def test_the_page_says_what_the_generator_is_and_fits_cells_without_classes(
    scored, files, tmp_path
):
    labelled = scored[0]
    write_synthesis_page(files, tmp_path / "report.html", tmp_path / "figures", "small", 0)
    page = (tmp_path / "report.html").read_text()
    assert "count model 60 steps" in page
    assert "k 4, genes all" in page
    # What is not there is in neither the text nor the navigation.
    for part in ('<a href="#classes">', '<section id="classes">', "colours of the left map"):
        assert (part in page) == labelled
    assert ("The cells that it learnt from have no labels" in page) == (not labelled)


def test_too_few_held_out_cells_judge_nothing(scored):
    _, _, generator, (training, held_out), _ = scored
    few = held_out.rows(np.arange(len(held_out.labels)) < 19)
    with pytest.raises(InputError, match="19 cells are held out, expected at least 20"):
        score_generator(generator, training, few, 0, 0.0, 10)


def test_results_of_an_earlier_generator_are_removed(tmp_path):
    for name in (*RESULTS, "model.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "figures").unlink()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "umap.png").touch()
    forget_results(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "notes.txt"}


def test_a_generator_that_a_simple_one_beats_is_named(files):
    data = read_synthesis(files)
    table = data.table.copy()
    simple = (table["generator"] == "independent_negative_binomial") & (
        table["metric"] == "rf_auc_pc"
    )
    for value, said in ((0.01, True), (0.999, False)):
        table.loc[simple, "value"] = value
        found = [f for f in findings(replace(data, table=table)) if "independent NB 0." in f]
        assert bool(found) == said
