"""What the report says of the methods, the settings and the rules."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from dice_atlas.features import correctors
from dice_atlas.report import (
    answer,
    changed_settings,
    methods,
)
from dice_atlas.report.data import read_report_data
from report_files import CONFIG, texts_of


def test_methods_say_what_was_done(make_files):
    text = " ".join(methods.methods(read_report_data(make_files(), 2)))
    for part in (
        "fewer than 200 genes or more than 15% mitochondrial counts",
        "8 highly variable genes",
        "700 steps in 15 s on cpu",
        "Gaussian noise of variance 1 per scaled gene, rho 0.5, so noise level 1.118",
        "Labels of 100 reference cells were transferred to 140 query cells",
        "held-out loss 0.500; a background of 0.1",
        "the pooled covariance of the reference within types",
        "resolution 0.5 was chosen by the labels of the reference",
    ):
        assert part in text


@pytest.mark.parametrize("lists", [False, True])
def test_references_are_those_of_the_text(make_files, lists):
    texts = methods.methods(read_report_data(make_files(lists=lists), 2))
    found = [text.split(",")[0].split(" ")[0] for text in methods.references(texts)]
    # Batches of the fixture were not corrected, and its voters are not calibrated.
    expected = ["Meier", "Stuart", "Traag", "McInnes", "Wolock", "Wolf", "Andreatta", "Ianevski",
                "Mölder"]  # fmt: skip
    assert found == [name for name in expected if lists or name not in ("Andreatta", "Ianevski")]


@pytest.mark.parametrize(
    ("choose", "labels", "expected"),
    [
        ("auto", True, "by the labels of the reference"),
        ("auto", False, "without labels"),
        ("stability", True, "without labels"),
        (0.5, True, "by hand"),
    ],
)
def test_methods_say_who_chose_the_resolution(make_files, choose, labels, expected):
    data = read_report_data(make_files(), 2)
    found = data.resolutions if labels else data.resolutions.assign(reference_ari=np.nan)
    data = replace(data, resolutions=found)
    data.config["cluster"]["choose"] = choose
    assert methods.choice_of_resolution(data).startswith(expected)


@pytest.mark.parametrize(("flavor", "other"), [("leidenalg", True), ("igraph", False)])
def test_methods_say_where_stability_is_that_of_other_clusters(make_files, flavor, other):
    data = read_report_data(make_files(), 2)
    data.config["cluster"] |= {"choose": "stability", "flavor": flavor}
    assert methods.choice_of_resolution(data).endswith("(stability of igraph's clusters)") == other


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5, 0.6, 0.7], "of which none was better than the mixture that it starts from"),
        ([0.7, 0.5, 0.6], "weights of step 350 kept"),
        ([0.7, 0.6, 0.5], ""),
        ([np.nan] * 3, ""),
    ],
)
def test_methods_say_which_weights_were_kept(make_files, losses, expected):
    data = read_report_data(make_files(), 2)
    loss = pd.DataFrame({"step": [0, 350, 700], "train_loss": 1.0, "validation_loss": losses})
    data = replace(data, loss=loss)
    assert methods.weights_kept(data).startswith(expected)
    assert bool(methods.weights_kept(data)) == bool(expected)
    assert methods.weights_kept(data) in methods.denoising(data)


def test_methods_name_a_space_by_what_was_done_to_it(make_files):
    data = read_report_data(make_files(), 2)
    data.config["cluster"]["embedding"] = "harmony"
    for applied, expected in ((True, "batch-corrected space"), (False, "uncorrected space")):
        data = replace(data, correction={**data.correction, "applied": applied})
        assert expected in methods.clustering(data)


@pytest.mark.parametrize("final", ["linear", "consensus"])
def test_voters_without_anchors_are_not_spoken_of_as_if_they_had_some(
    make_files, monkeypatch, final
):
    changed = {"voters": ["dice", "linear"], "consensus": ["dice", "linear"], "final": final,
               "outside_below": 0.01, "unassigned_below": None}  # fmt: skip
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **changed})
    data = read_report_data(make_files(), 2)
    data.calibration["support"] = np.nan if final == "linear" else 0.5
    data.obs["cell_type_n_anchors"] = 0
    data.obs["cell_type_p_reference"] = np.nan if final == "linear" else 0.5
    texts = " ".join([*texts_of(data), answer.unassigned_rules(data)])
    assert "anchors" not in texts
    assert ("p_reference" in texts) == (final == "consensus")
    assert "lie apart" not in texts
    said = methods.transfer(data)
    assert "logistic regression" in said
    assert ("best mean probability" in said) == (final == "consensus")


def test_the_rules_of_unassigned_cells_are_said_as_they_are(make_files, monkeypatch):
    by_risk = {"unassigned_below": None, "risk": 0.1, "outside_below": 0}
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **by_risk})
    files = make_files()
    for least, said in ((0.0, "no rule applies"), (0.4321, "score below 0.43"),
                        (np.inf, "no score meets the risk asked for")):  # fmt: skip
        data = read_report_data(files, 2)
        data.__dict__["least_score"] = least
        assert answer.unassigned_rules(data) == said
        assert "inf" not in methods.transfer(data)
    data = read_report_data(files, 2)
    data.__dict__["least_score"] = 0.4321
    data.config["annotate"]["outside_below"] = 0.05
    data.__dict__.pop("settings", None)
    assert answer.unassigned_rules(data) == "score below 0.43, or p_reference below 0.05"
    data.obs["cell_type_p_reference"] = np.nan
    data.__dict__.pop("query")
    assert answer.unassigned_rules(data) == "score below 0.43 (p_reference not available)"
    data.config["annotate"]["per"] = "sample"
    data.__dict__.pop("settings")
    assert "sample by sample" in answer.unassigned_rules(data)


def test_methods_say_what_was_approximated(make_files):
    data = read_report_data(make_files(), 2)
    assert "number of cells" not in methods.methods(data)[-1]
    data.provenance["approximations"] = np.array(["a, and b", "c"], dtype=object)
    assert methods.methods(data)[-1] == "Because of the number of cells: a, and b; c."


@pytest.mark.parametrize("per", ["all", "sample"])
def test_methods_say_that_samples_were_labelled_by_themselves(make_files, monkeypatch, per):
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], "per": per})
    data = read_report_data(make_files(), 2)
    assert data.query["sample"].nunique() > 1
    assert ("to each sample by itself" in methods.transfer(data)) == (per == "sample")


def test_the_methods_name_the_corrector_that_ran(make_files, monkeypatch):
    data = read_report_data(make_files(), 2)
    data.correction.update(applied=True, notes=["reference: corrected"])
    assert (
        "50 principal components were corrected by Harmony (Korsunsky et al. 2019; theta 2, sigma "
        "0.1, lambda estimated, at most 10 iterations): reference: corrected. "
    ) in methods.features(data)
    own = SimpleNamespace(described=lambda: "strength 3")
    other = correctors.Corrector("Mender", "A et al. 2025", lambda batch: own, "none:none")
    monkeypatch.setattr(correctors, "CORRECTORS", {**correctors.CORRECTORS, "mender": other})
    data.provenance["config"]["batch"]["method"] = "mender"
    del data.settings
    text = methods.features(data)
    assert "corrected by Mender (A et al. 2025; strength 3): reference: corrected. " in text
    assert "Harmony" not in text


def test_settings_that_differ_from_the_defaults_are_told():
    config = {"seed": 1, "qc": {"min_genes": 200, "a": None}, "cluster": {"resolutions": [1, 2]},
              "annotate": {"rename": {"A": "B"}, "risk": 0.1}}  # fmt: skip
    defaults = {"seed": 0, "qc": {"min_genes": 200, "a": None}, "cluster": {"resolutions": [1]},
                "annotate": {"rename": {}, "risk": 0.1}}  # fmt: skip
    sheet = {"s": {"qc": {"min_genes": 50}}, "t": {"qc": {}}}
    assert changed_settings.settings_table(config, defaults, sheet).rows == [
        ["seed", "1", "0"],
        ["cluster.resolutions", "[1, 2]", "[1]"],
        ["annotate.rename", "{A: B}", "{}"],
        ["qc.min_genes (s)", "50", "200"],
    ]
    assert changed_settings.settings_table(config, config, {"t": {"qc": {}}}) is None


def test_the_config_of_the_page_can_be_used_again():
    config = {"qc": {"doublets": "off", "min_genes": 200}, "resolutions": [0.5, 1.0],
              "palette": {"NK": "#D55E00"}, "path": None, "name": "no", "γδ T": "1e3"}  # fmt: skip
    text = changed_settings.config_text(config)
    assert yaml.safe_load(text) == config
    assert len(text.splitlines()) == len(config)
