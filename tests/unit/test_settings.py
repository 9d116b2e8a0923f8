"""The config: defaults, and one message for every key that is wrong."""

import copy
import json
import re

import jsonschema
import pytest
import torch
import yaml
from dice_atlas.dice.kernel import PRESETS
from dice_atlas.dice.saved import save_model
from dice_atlas.dice.settings import DenoiseSettings
from dice_atlas.errors import InputError
from dice_atlas.features.card import FORMAT
from dice_atlas.features.correctors import CORRECTORS
from dice_atlas.names import CELLTYPIST, CONSENSUS, EMBEDDINGS, VOTERS
from dice_atlas.numerics.neighbors import EXACT_UP_TO
from dice_atlas.report.methods import LIKELIHOODS
from dice_atlas.settings import (
    config_schema,
    require_single_keys,
    validate_config,
)
from dice_atlas.settings_files import (
    require_gene_names,
    require_losses,
    require_saved_generator,
    require_saved_prior,
)
from dice_atlas.sheet import REQUIRED_COLUMNS
from dice_atlas.sheet_settings import (
    compared_samples,
    require_batch_keys,
    require_comparable,
    require_learnable,
    require_roles,
)
from dice_atlas.synthesis.settings import GENERATOR
from dice_atlas.transfer.settings import SUPPORT, AnchorSettings, ReductionSettings, WeightSettings
from dice_atlas.transfer.spaces import REDUCTIONS, ExpressionSpace

MINIMAL = {"atlas": "a", "samples": "s.tsv"}


@pytest.fixture
def validate(root):
    return lambda config: validate_config(config, root / "config/schemas/config.schema.json")


def test_config_file_holds_the_defaults(root, validate):
    """config.yaml shows every key with its default: it says nothing that the schema does not."""
    shown = yaml.safe_load((root / "config/config.yaml").read_text())
    filled = validate({"atlas": shown["atlas"], "samples": shown["samples"]})
    assert shown["annotate"].pop("k.filter") == "auto"
    assert filled["annotate"].pop("k.filter") == 200
    assert shown == filled


@pytest.mark.parametrize(("version", "k_filter"), [("v3", 200), ("v4", 200), ("v5", None)])
def test_the_filter_follows_the_version_unless_given(validate, version, k_filter):
    def of(**annotate):
        return validate({**MINIMAL, "annotate": {"seurat_version": version, **annotate}})[
            "annotate"
        ]

    assert of()["k.filter"] == k_filter
    assert of(**{"k.filter": 100})["k.filter"] == 100
    assert of(**{"k.filter": None})["k.filter"] is None


def test_input_is_not_changed(validate):
    config = {**MINIMAL, "qc": {"min_genes": 5}}
    before = copy.deepcopy(config)
    filled = validate(config)
    assert config == before
    assert filled["qc"]["min_genes"] == 5
    assert filled["qc"]["min_cells"] == 3
    filled["cluster"]["resolutions"].append(9)
    assert 9 not in validate(config)["cluster"]["resolutions"]


def test_a_table_of_names_that_is_not_there(tmp_path):
    require_gene_names(None)
    (tmp_path / "names.csv").write_text("gene_id,symbol\n")
    require_gene_names(str(tmp_path / "names.csv"))
    with pytest.raises(InputError, match=r"genes.names: no such file: .*nope.csv"):
        require_gene_names(str(tmp_path / "nope.csv"))


def test_numbers_that_come_as_text_from_the_command_line(validate):
    """`--config denoise='{samples: 8}'` arrives as {"samples": "8"}."""
    given = {"denoise": {"samples": "8"}, "annotate": {"k.filter": "null"}, "prior": {"path": "7"}}
    filled = validate({**MINIMAL, **given})
    assert filled["denoise"]["samples"] == 8
    assert filled["annotate"]["k.filter"] is None
    assert filled["prior"]["path"] == "7"
    with pytest.raises(InputError, match="seen 'many'"):
        validate({**MINIMAL, "denoise": {"samples": "many"}})


def test_what_yaml_makes_of_off_and_whole_numbers(validate):
    config = yaml.safe_load("{atlas: a, samples: s, seed: 3.0, qc: {doublets: off}}")
    filled = validate(config)
    assert filled["qc"]["doublets"] == "off"
    assert filled["seed"] == 3
    assert type(filled["seed"]) is int


def test_lists_of_numbers_that_come_as_text(validate):
    given = {"cluster": {"resolutions": ["0.5", "1e0"]}, "normalization": {"target_sum": "1e4"}}
    filled = validate({**MINIMAL, **given})
    assert filled["cluster"]["resolutions"] == [0.5, 1]
    assert filled["normalization"]["target_sum"] == 10_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nqc: {min_genes: 3}\nseed: 2\n", "the key seed stands twice, in lines 1 and 3"),
        ("qc:\n  min_genes: 3\n  n_mads: 1\n  min_genes: 4\n",
         "the key qc.min_genes stands twice, in lines 2 and 4"),
        ("qc: {n_mads: 1}\nbatch: {}\nqc: {}\n", "the key qc stands twice, in lines 1 and 3"),
        ('{"a": [{"b": 1,\n "b": 2}]}', "the key a.0.b stands twice, in lines 1 and 2"),
        ("a: 1\n'a': 2\n", "the key a stands twice, in lines 1 and 2"),
    ],
)  # fmt: skip
def test_a_key_that_stands_twice(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}; expected once")):
        require_single_keys([path, path])


def test_keys_that_stand_once(tmp_path, root):
    require_single_keys([root / "config/config.yaml", *root.glob("config/*/*.yaml")])
    for text in ("a: &x {b: 1}\nc: *x\nd: {b: 1}\n", "a: &x [*x]\n", "a: [", "", "\tx", "1: 2\n"):
        (tmp_path / "my.yaml").write_text(text)
        require_single_keys([tmp_path / "my.yaml", tmp_path / "gone.yaml"])


def test_paths_that_snakemake_would_not_take(tmp_path):
    with pytest.raises(InputError, match=r"genes.names: seen 'a{x}.csv', but Snakemake takes {x}"):
        require_gene_names("a{x}.csv")
    folder = tmp_path / "{x}"
    folder.mkdir()
    for name in ("prior.safetensors", "card.json", "loss.tsv"):
        (folder / name).touch()
    with pytest.raises(InputError, match=r"prior.path: seen .*Snakemake takes {x}"):
        require_saved_prior(str(folder), {})
    with pytest.raises(InputError, match="no such file"):
        require_gene_names("x" * 5000)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("qc: {min_gene: 3}", "qc: unknown key 'min_gene'; did you mean 'min_genes'?"),
        ("annotat: {}", "top level: unknown key 'annotat'; did you mean 'annotate'?"),
        ("min_genes: 3", "top level: unknown key 'min_genes'; did you mean 'qc.min_genes'?"),
        ("risk: 0.1", "top level: unknown key 'risk'; did you mean 'annotate.risk'?"),
        ("qc: {atlas: x}", "qc: unknown key 'atlas'; did you mean 'atlas' at the top level?"),
        ("annotate: {resolution: 1}", "'resolution'; did you mean 'cluster.resolutions'?"),
        ("report: {zzz: 1}", "report: unknown key 'zzz'; known keys: title, n_markers, genes"),
        ("report: {max_mb: 0}", "report.max_mb: seen 0"),
        ("report: {max_cells: 10}", "report.max_cells: seen 10"),
        ("report: {genes: CD8B}", "report.genes: seen 'CD8B'"),
        ("qc: {min_genes: many}", "qc.min_genes: seen 'many', expected a whole number, 0 or more"),
        ("qc: {min_genes: -1}", "qc.min_genes: seen -1, expected a whole number"),
        ("qc: {min_genes: 2.5}", "qc.min_genes: seen 2.5, expected a whole number"),
        ("seed: true", "seed: seen True, expected a whole number"),
        ("qc: {mito_pattern: '(MT'}", "qc.mito_pattern: seen '(MT', expected a regular expression"),
        ("qc: {doublets: yes}", "qc.doublets: seen True, expected annotate, remove or off"),
        ("qc: {n_mads: 0}", "qc.n_mads: seen 0, expected a number above 0, or null"),
        ("device: gpu", "device: seen 'gpu', expected auto, cpu or cuda"),
        ("qc:", "qc: seen None, expected a section of keys"),
        ("atlas: 2024", "atlas: seen 2024, expected a name of letters"),
        ("atlas: a/b", "atlas: seen 'a/b', expected a name of letters"),
        ("latent: {k: some}", "latent.k: seen 'some', expected auto, or a whole number"),
        ("cluster: {resolutions: [1, -1]}", "cluster.resolutions.1: -1 is less than"),
        (
            "cluster: {resolutions: [1, 1]}",
            "cluster.resolutions: seen 1 more than once in [1, 1], expected each once",
        ),
        (
            "annotate: {voters: [pca]}",
            "annotate.consensus: seen dice, linear, expected some of annotate.voters (pca)",
        ),
        ("annotate: {spaces: [pca]}", "annotate: the key 'spaces' is now voters"),
        ("annotate: {voters: [umap]}", "annotate.voters.0: 'umap' is not one of"),
        (
            "annotate: {voters: [dice, linear, celltypist]}",
            "annotate.voters: seen celltypist, but no model; set annotate.celltypist",
        ),
        (
            "annotate: {tables: {linear: a.csv}}",
            "annotate.tables: seen the name 'linear', expected one of letters, digits",
        ),
        ("annotate: {tables: {a/b: a.csv}}", "annotate.tables: seen the name 'a/b', expected"),
        ("annotate: {tables: {a: 1}}", "annotate.tables.a: seen 1, expected the path of a table"),
        (
            "annotate: {rename: {a: b, b: c}}",
            "annotate.rename: 'a' becomes 'b', which becomes 'c'; expected final names; write "
            "'a': 'c'",
        ),
        ("annotate: {parents: [a]}", "annotate.parents: seen ['a'], expected labels and the"),
        (
            "annotate: {voters: [pca], final: dice}",
            "annotate.final: seen 'dice', expected one of annotate.voters",
        ),
        (
            "denoise: {method: gibbs, rho: {start: 1, end: 2}}",
            "denoise.rho: end (2) is larger than start (1)",
        ),
        ("latent: {k: 60}", "latent.k: seen 60, expected at most max_k (50)"),
        (
            "normalization: {target_sum: .nan}",
            "normalization.target_sum: seen nan, expected a number above 0",
        ),
        (
            "normalization: {max_value: .inf}",
            "normalization.max_value: seen inf, expected a number",
        ),
        ("qc: {n_mads: -.inf}", "qc.n_mads: seen -inf, expected a number above 0, or null"),
        ("cluster: {resolutions: [1, .nan]}", "cluster.resolutions.1: seen nan, expected"),
        ("denoise: {noise_variance: .inf}", "denoise.noise_variance: seen inf, expected auto, or"),
        ("benchmark: {sweeps: {rho: [.inf]}}", "benchmark.sweeps.rho.0: seen inf"),
        ("nonsense: [.nan]", "nonsense.0: seen nan"),
        (f"qc: {{min_genes: {10**12}}}", f"qc.min_genes: seen {10**12}, expected a whole number"),
        ("latent: {k: 3000000000}", "latent.k: seen 3000000000, expected auto, or a whole number"),
        ('atlas: "x\\n"', "atlas: seen 'x\\n', with the character U+000A, which nobody sees"),
        ('benchmark: {name: "x\\n"}', "benchmark.name: seen 'x\\n', with the character U+000A"),
        ('samples: "a\\0b"', "samples: seen 'a\\x00b', with the character U+0000"),
        (
            'report: {title: "a\\u202eb"}',
            "report.title: seen 'a\\u202eb', with the character U+202E",
        ),
        ('batch: {keys: ["a\\tb"]}', "batch.keys.0: seen 'a\\tb', with the character U+0009"),
        ('"a\\x01": 1', "a\\u0001: a key with the character U+0001"),
        ("qc: {mito_pattern: 'a{99999999999999999999999}'}", "expected a regular expression"),
        (f"atlas: {'x' * 101}", "at most 100"),
        ("qc: &q {min_cells: *q}", "a section is part of itself"),
        *(
            (f"seed: '{text}'", f"seed: seen '{text}', expected a whole number")
            for text in (
                "2001-99-99",
                "0b",
                "!!int x",
                "!!timestamp x",
                "!!bool x",
                "!!python/name:os.x",
                "[" * 3000,
                "9" * 5000,
                "a: b: c",
                "&a *b",
                "%",
                "`",
                "- -",
                "? ",
                ".inf",
                "1_0",
            )
        ),
        # No YAML when the text of a number is read as such.
        ("seed: '{'", "seed: seen '{', expected a whole number"),
        ("seed: '@1'", "seed: seen '@1', expected a whole number"),
        ("prior: {overrides: {layers: 3}}", "prior.overrides: unknown key 'layers'"),
        (
            "prior: {overrides: {steps: 30}}",
            "prior.overrides: seen steps, which the preset kernel does not have; expected preset",
        ),
        (
            "prior: {preset: fast, overrides: {draws: 30}}",
            "prior.overrides: seen draws, which the preset fast does not have; expected preset",
        ),
        ("denoise: {method: gibbs}", "prior.preset: seen kernel with denoise.method gibbs"),
        (
            "denoise: {likelihood: poisson}",
            "kernel with denoise.method exact and likelihood poisson",
        ),
        ("cluster: {choose: labels}", "cluster.choose: seen 'labels', expected auto, reference"),
    ],
)
def test_errors(validate, extra, message):
    with pytest.raises(InputError) as error:
        validate({**MINIMAL, **yaml.safe_load(extra)})
    assert message in str(error.value)


def test_all_problems_at_once(validate):
    with pytest.raises(InputError) as error:
        validate({"atlas": "a", "seed": -1, "cluster": {"resolutions": [0], "x": 1}})
    text = str(error.value)
    assert "the key samples is missing" in text
    assert text.count("\n  - ") == 4


def test_schemas_are_valid(root):
    for path in (root / "config/schemas").glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("batch.method", CORRECTORS),
        ("prior.preset", PRESETS),
        ("denoise.likelihood", LIKELIHOODS),
        ("annotate.final", (*VOTERS, CELLTYPIST, CONSENSUS)),
        ("annotate.reduction", REDUCTIONS),
        ("cluster.embedding", EMBEDDINGS),
    ],
)
def test_names_that_the_schema_allows_are_those_of_the_library(root, key, names):
    schema = config_schema(root / "config/schemas/config.schema.json")
    for part in key.split("."):
        schema = schema["properties"][part]
    assert schema["enum"] == list(names)
    assert set(re.findall(r"\w+", schema["description"])) - {"or"} == set(names)
    assert schema["default"] in schema["enum"]


def test_lists_of_the_schema_are_those_of_the_library(root, validate):
    schema = config_schema(root / "config/schemas/config.schema.json")["properties"]
    assert schema["annotate"]["properties"]["voters"]["items"]["enum"] == [*VOTERS, CELLTYPIST]
    scopes = schema["batch"]["properties"]["scope"]["enum"]
    compared = schema["benchmark"]["properties"]["scopes"]["items"]["enum"]
    assert [*compared, "none"] == scopes
    rows = json.loads((root / "config/schemas/samples.schema.json").read_text())
    assert tuple(rows["required"]) == REQUIRED_COLUMNS


def test_defaults_of_the_schema_are_those_of_the_library(validate):
    filled = validate(MINIMAL)
    annotate, denoise = filled["annotate"], filled["denoise"]
    assert annotate["exact_up_to"] == filled["cluster"]["exact_up_to"] == EXACT_UP_TO
    assert annotate["k.score"] == SUPPORT
    exact = {"exact_up_to": EXACT_UP_TO}
    assert AnchorSettings.from_config(annotate) == AnchorSettings(**exact)
    assert WeightSettings.from_config(annotate) == WeightSettings(**exact)
    # What exact mode leaves out of its params.
    least = {k: v for k, v in denoise.items() if k not in ("rho", "iterations", "repeats")}
    whole = DenoiseSettings.from_config(denoise)
    assert DenoiseSettings.from_config({**least, "rho": {}}) == whole
    reduction = ReductionSettings.from_config(annotate)
    space = ExpressionSpace(None)
    assert (space.reduction, space.dims) == (reduction.method, reduction.dims)


LOSSES = "step\ttrain_loss\tvalidation_loss\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"loss.tsv has no column step, .* \(seen: an empty file\)"),
        ("\n", "seen: an empty file"),
        ("step\tloss\n0\t1\n", r"has no column train_loss, validation_loss \(seen: step, loss\)"),
        (LOSSES + "0\t\t2\nx\t1\t2\n", "line 3: seen 'x 1 2', expected 3 numbers"),
        (LOSSES + "0\t1\n", "line 2: seen '0 1', expected 3 numbers"),
    ],
)
def test_losses_of_a_saved_prior_that_cannot_be_drawn(tmp_path, text, message):
    for name in ("prior.safetensors", "card.json"):
        (tmp_path / name).touch()
    (tmp_path / "loss.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        require_saved_prior(str(tmp_path), {})


@pytest.mark.parametrize("text", [LOSSES, LOSSES + "0\t\t2.5\n10\tnan\tinf\n"])
def test_losses_of_a_saved_prior_that_can_be_drawn(tmp_path, text):
    (tmp_path / "loss.tsv").write_text(text)
    require_losses(tmp_path / "loss.tsv")


def test_a_home_folder_in_paths_of_the_config(validate, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = validate(
        {"atlas": "a", "samples": "~/s.csv", "prior": {"path": "~/p"}, "genes": {"names": "x~"}}
    )
    assert config["samples"] == "/home/me/s.csv"
    assert config["prior"]["path"] == "/home/me/p"
    assert config["genes"]["names"] == "x~"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"cluster": {"resolutions": [1, 0.5, 1]}}, "seen 1 more than once in .1, 0.5, 1."),
        ({"batch": {"keys": ["batch", "batch"]}}, "batch.keys: seen batch more than once"),
    ],
)
def test_a_value_that_stands_twice_is_named(validate, extra, message):
    with pytest.raises(InputError, match=message):
        validate({**MINIMAL, **extra})


def test_a_saved_prior_must_be_there_and_normalised_alike(tmp_path):
    with pytest.raises(InputError, match=r"has no prior\.safetensors, card\.json, loss\.tsv"):
        require_saved_prior(str(tmp_path), {"target_sum": 10000})
    (tmp_path / "prior.safetensors").touch()
    (tmp_path / "loss.tsv").write_text(LOSSES)
    card = {"format": FORMAT, "preset": "fast", "k": 3, "settings": {},
            "noise": "isotropic", "genes": ["A"],
            "normalization": {"target_sum": 10000}, "calibration": [],
            "sha256": "0" * 64}  # fmt: skip
    (tmp_path / "card.json").write_text(json.dumps(card))
    require_saved_prior(str(tmp_path), {"target_sum": 10000}, whole=False)
    with pytest.raises(InputError, match="target_sum: seen 1e\\+06, but the prior"):
        require_saved_prior(str(tmp_path), {"target_sum": 1e6}, whole=False)
    with pytest.raises(InputError, match=r"prior\.safetensors: cannot be read"):
        require_saved_prior(str(tmp_path), {"target_sum": 10000})
    (tmp_path / "card.json").write_text(json.dumps(card | {"format": 2}))
    with pytest.raises(InputError, match=r"seen format 2 .* expected 5"):
        require_saved_prior(str(tmp_path), {"target_sum": 10000}, whole=False)
    require_saved_prior(None, {"target_sum": 1e6})


def test_a_saved_generator_must_be_there_and_know_the_classes(tmp_path):
    require_saved_generator({"path": None})
    asked = {"path": str(tmp_path), "cells": {"B": 5}, "depth": 1, "guidance": 0, "steps": 4}
    with pytest.raises(InputError, match=r"synthesis.path: .* has no model.safetensors, card.json"):
        require_saved_generator(asked)
    (tmp_path / "prior.safetensors").touch()
    with pytest.raises(InputError, match="holds a prior, not a generator"):
        require_saved_generator(asked)
    with pytest.raises(InputError, match=r"there is no folder .*gone"):
        require_saved_generator({**asked, "path": str(tmp_path / "gone")})
    (tmp_path / "prior.safetensors").unlink()
    card = {"preset": "fast", "prior": "mixed", "label": "cell_type", "genes": ["A"],
            "classes": {"B": 9, "T": 4}, "settings": {}, "held_out": []}  # fmt: skip
    path = tmp_path / "model.safetensors"
    save_model({"a": torch.zeros(2)}, card, path, GENERATOR)
    (tmp_path / "loss.tsv").write_text("part\n")
    require_saved_generator(asked)
    with pytest.raises(InputError, match="no class 'NK'; the model knows 'B', 'T'"):
        require_saved_generator({**asked, "cells": {"NK": 1}})
    path.write_bytes(path.read_bytes() + b" ")
    require_saved_generator(asked, whole=False)
    with pytest.raises(InputError, match="the weights were changed or cut off"):
        require_saved_generator(asked)


def test_a_generator_learns_from_the_reference_s_counts_or_from_all():
    counts, logged = ({"role": "query", "expression": e} for e in ("", "log1p"))
    reference = {"role": "reference", "expression": ""}
    require_learnable({"a": reference, "b": logged})
    require_learnable({"a": counts})
    for sheet in ({"a": counts, "b": logged}, {"b": {**reference, "expression": "log1p"}}):
        with pytest.raises(InputError, match=r"sample\(s\) b have expression log1p"):
            require_learnable(sheet)


def test_batch_keys_are_columns_of_the_sheet_and_never_labels():
    sheet = {"a": {"extra": {"lane": "1"}}}
    require_batch_keys(["batch", "lane"], sheet)
    for key in ("label", "n_genes", "donor"):
        with pytest.raises(InputError, match=f"seen {key}, expected .*batch, sample, lane"):
            require_batch_keys([key], sheet)


def test_intersection_of_genes_needs_both_roles(validate):
    config = validate({**MINIMAL, "genes": {"mode": "intersection"}})
    alone, both = {"a": {"role": "query"}}, {"a": {"role": "query"}, "b": {"role": "reference"}}
    with pytest.raises(InputError, match="all samples of the sheet are query"):
        require_roles(config, alone)
    require_roles(config, both)
    require_roles({**config, "prior": {"path": "p"}}, alone)
    require_roles(validate(MINIMAL), alone)


def test_the_order_of_keys_does_not_matter(validate):
    """Snakemake compares settings as text."""
    written = {"rho": {"end": 0.5, "start": 9.0}, "samples": 5, "method": "exact"}
    other = {"method": "exact", "samples": 5, "rho": {"start": 9.0, "end": 0.5}}
    texts = {json.dumps(validate({**MINIMAL, "denoise": part})) for part in (written, other)}
    assert len(texts) == 1


def test_samples_with_a_condition_are_compared_and_columns_of_cells_are_checked_later(validate):
    compare = validate({**MINIMAL, "compare": {"column": "batch", "baseline": "ctrl"}})["compare"]
    assert (compare["sample"], compare["cells"], compare["covariates"]) == ("sample", "query", [])
    assert validate(MINIMAL)["compare"] is None
    row = {"role": "query", "batch": "ctrl", "labels": "", "expression": "", "extra": {}}
    sheet = {
        "r": {**row, "sample": "r", "role": "reference", "labels": "type"},
        "q1": {**row, "sample": "q1"},
        "q2": {**row, "sample": "q2", "batch": ""},
    }
    assert compared_samples(None, sheet) == []
    assert compared_samples(compare, sheet) == ["q1"]
    assert compared_samples({**compare, "cells": "all"}, sheet) == ["r", "q1"]
    with pytest.raises(InputError, match="seen ctrl alone"):
        require_comparable(compare, sheet)
    require_comparable(None, sheet)
    # Which conditions the cells of a file have is seen when it is read.
    sheet["q1"]["batch"] = "obs:stim"
    require_comparable(compare, sheet)
    with pytest.raises(InputError, match=r"compare.covariates: seen plate, expected a column"):
        require_comparable({**compare, "covariates": ["plate"]}, sheet)
