"""Config"""

from pathlib import Path

import pandas as pd
import yaml
from dice_atlas.conditions.design import compared_units
from dice_atlas.conditions.settings import Grouping
from dice_atlas.settings import (
    require_single_keys,
    validate_config,
)
from dice_atlas.settings_files import (
    require_gene_names,
    require_saved_generator,
    require_saved_prior,
    require_scvi,
    require_tables,
)
from dice_atlas.sheet_settings import (
    require_augmentable,
    require_batch_keys,
    require_comparable,
    require_learnable,
    require_roles,
)
from dice_atlas.synthesis.settings import CellRequest

from catalogue import Entry

ORDER = 1
SCHEMA = Path(__file__).resolve().parents[2] / "config/schemas/config.schema.json"
ROW = {"role": "query", "extra": {}}
LOGGED = {"role": "reference", "labels": "type", "expression": "log1p"}


def config(text):
    """Validates the config that a text of YAML says."""

    def make(folder):
        return validate_config({"atlas": "a", "samples": "s", **yaml.safe_load(text)}, SCHEMA)

    return make


def twice(folder):
    (folder / "my.yaml").write_text("seed: 1\nseed: 2\n")
    require_single_keys([folder / "my.yaml"])


def other_roles(folder):
    filled = validate_config(
        {"atlas": "a", "samples": "s", "genes": {"mode": "intersection"}}, SCHEMA
    )
    require_roles(filled, {"q": ROW})


def no_losses(folder):
    for name in ("prior.safetensors", "card.json", "loss.tsv"):
        (folder / name).touch()
    require_saved_prior(str(folder), {})


def a_prior(folder):
    (folder / "prior.safetensors").touch()
    require_saved_generator({"path": str(folder)})


def comparison(rows, **keys):
    """Compares the conditions of a sheet: rows of sample, donor and condition."""

    def make(folder):
        compare = {"column": "condition", "baseline": "ctrl", "sample": "donor", **keys}
        filled = validate_config({"atlas": "a", "samples": "s", "compare": compare}, SCHEMA)
        sheet = {
            name: {"sample": name, "role": "query", "batch": "A", "labels": "type",
                   "expression": "", "extra": {"donor": donor, "condition": condition}}
            for name, donor, condition in rows
        }  # fmt: skip
        require_comparable(filled["compare"], sheet)

    return make


def unlabelled_comparison(folder):
    row = {"sample": "q", **ROW, "labels": "", "expression": "", "extra": {"condition": "ctrl"}}
    compare = {"column": "condition", "baseline": "ctrl"}
    filled = validate_config({"atlas": "a", "samples": "s", "compare": compare}, SCHEMA)
    require_comparable(filled["compare"], {"q": row})


def logged_comparison(folder):
    row = {"sample": "r", **LOGGED, "extra": {"condition": "ctrl"}}
    compare = {"column": "condition", "baseline": "ctrl", "cells": "all"}
    filled = validate_config({"atlas": "a", "samples": "s", "compare": compare}, SCHEMA)
    require_comparable(filled["compare"], {"r": row})


CELLS = pd.DataFrame(
    {"role": "query", "cell_type": "B", "condition": "ctrl", "donor": "d1", "batch": ["1", "2"]}
)
GROUPING = Grouping("condition", "donor", ("batch",), "query")
FOUR = [("a", "d1", "ctrl"), ("b", "d2", "ctrl"), ("c", "d3", "stim"), ("d", "d4", "stim")]


def no_celltypist(folder):
    (folder / "model.pkl").touch()
    annotate = {"tables": {}, "parents": {}, "voters": ["celltypist"], "celltypist": "model.pkl"}
    require_tables(annotate, "gone/python")


ENTRIES = [
    Entry(
        "unknown key ...; did you mean ...?",
        "A key is misspelt, or stands in another section.",
        "Take the key that the message names. config/README.md lists all keys.",
        config("qc: {min_gene: 3}"),
    ),
    Entry(
        "seen ..., expected ...",
        "A value is of another kind or out of range.",
        "Write a value such as the message describes.",
        config("seed: many"),
    ),
    Entry(
        "seen ... more than once in ..., expected each once",
        "A list has a value twice.",
        "Remove one.",
        config("cluster: {resolutions: [1, 1, 0.5]}"),
    ),
    Entry(
        "figures.palette...: seen None, expected a colour such as ..., in quotes",
        "A colour has no quotes: YAML takes all that follows # for a comment.",
        'Write it in quotes: `{NK: "#D55E00"}`.',
        config("figures: {palette: {NK: #D55E00\n}}"),
    ),
    Entry(
        "loss.tsv has no column ..., expected the losses of the training",
        "The table of losses in the folder of `prior.path` is empty or another one.",
        "Copy the folder of the saved prior again.",
        no_losses,
    ),
    Entry(
        "seen nan, expected",
        "`.nan` and `.inf` are numbers to YAML, but none to compute with.",
        "Write a finite number.",
        config("normalization: {target_sum: .nan}"),
    ),
    Entry(
        "the key ... stands twice, in lines ... and ...; expected once",
        "YAML would take the last one without a word.",
        "Remove one, or join the two sections.",
        twice,
    ),
    Entry(
        "with the character ..., which nobody sees; expected printable text in one line",
        "A text has a line's end, a tab or an invisible character, often by copying it.",
        "Type it again.",
        config('atlas: "x\\n"'),
    ),
    Entry(
        "a section is part of itself",
        "An alias (*) of YAML stands inside of its own anchor (&).",
        "Write the section out.",
        config("qc: &a {min_cells: *a}"),
    ),
    Entry(
        "annotate.final: seen ..., expected one of annotate.voters",
        "The final labels are to come from a voter that is not asked.",
        "Add it to `annotate.voters`, or change `annotate.final`.",
        config("annotate: {voters: [pca], final: dice}"),
    ),
    Entry(
        "annotate.consensus: seen ..., expected some of annotate.voters ...",
        "The final labels are the consensus, but some of its voters are not asked.",
        "Add them to `annotate.voters`, shorten `annotate.consensus`, or name one voter in "
        "`annotate.final`.",
        config("annotate: {voters: [pca]}"),
    ),
    Entry(
        "the key 'spaces' is now voters ...",
        "The config is of version 0.1.0.",
        "Rename the key. For the labels of that version: `final: dice, unassigned_below: 0.5`.",
        config("annotate: {spaces: [pca]}"),
    ),
    Entry(
        "prior.overrides: seen ..., which the preset ... does not have; expected preset ...",
        "The overrides are those of another preset: the kernel has `draws`, networks have `steps`.",
        "Set `prior.preset` to the one that the message names, or remove these overrides.",
        config("prior: {overrides: {steps: 300}}"),
    ),
    Entry(
        "prior.preset: seen kernel with denoise.method ... and likelihood ..., expected fast",
        "The Gibbs sampler needs a prior whose density is smooth.",
        "Set `prior.preset: fast`.",
        config("denoise: {method: gibbs}"),
    ),
    Entry(
        "latent.k: seen ..., expected at most max_k",
        "More latent dimensions are asked for than are computed.",
        "Raise `latent.max_k`, too.",
        config("latent: {k: 60}"),
    ),
    Entry(
        "genes.names: no such file: ...",
        "The table of gene names is not there. Its path is relative to the folder of the run.",
        "Correct the path.",
        lambda folder: require_gene_names("gone.csv"),
    ),
    Entry(
        "prior.path: ... has no ...; expected the folder results/<atlas>/prior of an earlier run",
        "The folder is not that of a saved prior, or a file of it was not copied.",
        "Copy the whole folder `prior/` of the earlier run.",
        lambda folder: require_saved_prior(str(folder), {}),
    ),
    Entry(
        "prior.path: there is no folder ...; expected the folder results/<atlas>/prior of an "
        "earlier run",
        "The path is wrong. It is relative to the folder of the run.",
        "Correct the path.",
        lambda folder: require_saved_prior("gone", {}),
    ),
    Entry(
        "synthesis.path: ... holds a prior, not a generator; expected the folder ...",
        "The folder is that of a saved model of another kind.",
        "Name `results/<atlas>/synthesis` of the earlier run.",
        a_prior,
    ),
    Entry(
        "synthesis.cells: no class ...; the model knows ...",
        "A type of the config is none of the reference's labels.",
        "Take a name that the message lists.",
        lambda folder: CellRequest({"NK": 5}).numbers({"B": 10, "T": 8}),
    ),
    Entry(
        "synthesis.prior: seen mixed with label none, expected auto, gaussian, diffusion or "
        "posterior: ...",
        "Without classes a cell would lie between cells of any two types.",
        "Set `synthesis.prior: auto`.",
        config("synthesis: {label: none, prior: mixed}"),
    ),
    Entry(
        "synthesis: the sample(s) ... have expression log1p, expected raw counts to learn from",
        "A generator learns from counts, and the file has log-normalised values alone.",
        "Give samples with counts, or a saved generator (`synthesis.path`).",
        lambda folder: require_learnable({"r": LOGGED}),
    ),
    Entry(
        "augment.below: seen ..., expected at most target (...), ...",
        "Labels of fewer cells than `below` are brought to `target` cells.",
        "Raise `augment.target`, or lower `augment.below`.",
        config("augment: {below: 80}"),
    ),
    Entry(
        "augment.below: seen ..., which adds synthetic cells to rare labels, but the sample(s) ... "
        "have expression log1p, ...",
        "The synthetic cells are learnt from counts.",
        "Set `augment.below: 0`.",
        lambda folder: require_augmentable({"below": 30}, {"r": LOGGED}),
    ),
    Entry(
        "augment.below: seen ..., which adds synthetic cells to rare labels, but the reference "
        "sample(s) ... have no labels; ...",
        "Without labels none is rare.",
        "Name the labels in the sheet, or set `augment.below: 0`.",
        lambda folder: require_augmentable({"below": 30}, {"r": {**LOGGED, "labels": ""}}),
    ),
    Entry(
        "batch.keys: seen ..., expected columns of the sample sheet: ...",
        "Batches are to be corrected for a column that the sheet does not have.",
        "Add the column to the sheet, or take one that the message names.",
        lambda folder: require_batch_keys(["site"], {"q": ROW}),
    ),
    Entry(
        "genes.mode: seen intersection ..., but all samples of the sheet are ...",
        "There is no reference, or no query, to intersect with.",
        "Set `genes.mode: joint`.",
        other_roles,
    ),
    Entry(
        "benchmark.methods names scvi, but benchmark.scvi_python is not there: ...",
        "scVI has an environment of its own.",
        "Run `make scvi`, or take scvi out of the methods.",
        lambda folder: require_scvi("gone/python"),
    ),
    Entry(
        "compare.column: seen ..., expected a column of the sample sheet: ...",
        "`compare` names a column that the sheet does not have.",
        "Add the column to the sheet, or name another one.",
        comparison(FOUR, column="treatment"),
    ),
    Entry(
        "compare.baseline: seen ..., expected a value of the column ...",
        "No sample has the condition that the others are compared with.",
        "Write it as it stands in the sheet.",
        comparison(FOUR, baseline="control"),
    ),
    Entry(
        "compare.column: seen ... alone in the column ...",
        "All samples have the same condition.",
        "Name the column that tells the conditions apart.",
        comparison(FOUR[:2]),
    ),
    Entry(
        "compare.sample: fewer than 2 replicates ... in ...",
        "A condition has one biological replicate.",
        "Add replicates, or leave the condition of these samples empty.",
        comparison(FOUR[:3]),
    ),
    Entry(
        "compare.sample: ... lies in ... and in ..., the others in one of them",
        "One replicate has cells of both conditions: this is neither a paired nor an unpaired "
        "design.",
        "Correct the replicate's name, or leave the condition of one of its samples empty.",
        comparison([*FOUR, ("e", "d1", "stim")]),
    ),
    Entry(
        "compare: no ...sample has a condition in the column ...",
        "The conditions stand in rows of the reference, or in none.",
        "Fill in the column, or set `compare.cells: all`.",
        comparison([("a", "d1", "")]),
    ),
    Entry(
        "compare: the samples get no cell types, expected a reference with labels",
        "Conditions are compared type by type, and no reference gives types.",
        "Add a labelled reference.",
        unlabelled_comparison,
    ),
    Entry(
        "compare: the sample(s) ... have expression log1p, expected raw counts",
        "Genes are compared by their counts.",
        "Give counts, or leave the condition of these samples empty.",
        logged_comparison,
    ),
    Entry(
        "compare: no cell (...) has a label, a condition (...) and a replicate (...)",
        "All cells of the samples are `unassigned`.",
        "Look at the labels in the report; see docs/annotation.md.",
        lambda folder: compared_units(CELLS.assign(cell_type="unassigned"), GROUPING),
    ),
    Entry(
        "compare.covariates: the replicate ... has several values of ... in one condition",
        "A replicate is spread over several batches, and its counts are one sum.",
        "Take the covariate out, or name a finer replicate in `compare.sample`.",
        lambda folder: compared_units(CELLS, GROUPING),
    ),
    Entry(
        "annotate.tables: seen the name ..., expected one of letters, digits, '-' and '_' that "
        "begins with a letter, and none of ...",
        "A table of labels has the name of a voter of the workflow, or one that is no column.",
        "Give the table another name.",
        config("annotate: {tables: {linear: a.csv}}"),
    ),
    Entry(
        "annotate.voters: seen celltypist, but no model; ...",
        "The voter `celltypist` needs a model.",
        "Set `annotate.celltypist` to the path of a model file.",
        config("annotate: {voters: [dice, linear, celltypist]}"),
    ),
    Entry(
        "annotate.rename: ... becomes ..., which becomes ...; expected final names; ...",
        "A new name of a label is itself given another name.",
        "Write the final name, as the message does.",
        config("annotate: {rename: {a: b, b: c}}"),
    ),
    Entry(
        "annotate.tables...: no such file: ...; correct the path",
        "A file that `annotate` names is not there; its path is relative to the folder of the run.",
        "Correct the path.",
        lambda folder: require_tables(
            {"tables": {"azimuth": "gone.csv"}, "parents": {}, "voters": ["azimuth"]}, None
        ),
    ),
    Entry(
        "annotate.voters names celltypist, but annotate.celltypist_python is not there: ...",
        "CellTypist has an environment of its own.",
        "Run `make celltypist`, or take celltypist out of the voters.",
        no_celltypist,
    ),
]
