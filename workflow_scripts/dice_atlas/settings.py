"""The config, checked against its schema before anything runs."""

import copy
import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema.exceptions import ValidationError

from dice_atlas.baselines.methods import methods_schema
from dice_atlas.conditions.settings import CompareSettings, require_units
from dice_atlas.counts.criteria import schema_properties
from dice_atlas.errors import InputError, bullets, dead_link, reading
from dice_atlas.export.targets import TARGETS
from dice_atlas.features.card import PRIOR, CardKind, card_of, read_card, require_match
from dice_atlas.features.correctors import CORRECTORS
from dice_atlas.marker_lists.lists import read_marker_list
from dice_atlas.names import (
    CELLTYPIST,
    CONSENSUS,
    EMBEDDINGS,
    FROM_OBS,
    LOG1P,
    MARKERS,
    VOTERS,
)
from dice_atlas.schemas import LARGEST, as_number, is_unusable, is_valid, validator_of
from dice_atlas.synthesis.settings import GENERATOR, CellRequest
from dice_atlas.texts import hidden, shown, unusable_path
from dice_atlas.vocabulary import GENES

# Settings that are paths; "~" in them is the home folder, as in the sheet.
PATHS = (
    ("samples",), ("genes", "names"), ("prior", "path"), ("synthesis", "path"),
    ("benchmark", "samples"), ("benchmark", "scvi_python"), ("annotate", "parents"),
    ("annotate", "celltypist"), ("annotate", "celltypist_python"), ("annotate", "markers"),
)  # fmt: skip
LOSSES = ("step", "train_loss", "validation_loss")
# A voter of a table is a folder and a part of a column's name.
TABLE_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
# How YAML writes null.
NULLS = ("null", "Null", "NULL", "~")


def validate_config(config: dict[str, Any], schema_path: str | Path) -> dict[str, Any]:
    """Return `config` with the schema's defaults filled in, and `k.filter: auto` resolved.

    Parameters
    ----------
    config : as it was read; stays as it is.
    schema_path : see `config_schema`.

    Raises
    ------
    InputError
        For every key that is unknown, missing or out of range, or else for all settings that do
        not go together, in one message.
    """
    schema = config_schema(schema_path, table_names(config))
    try:
        filled = as_meant(fill_defaults(copy.deepcopy(config), schema), schema)
        messages = list(unusable(filled, schema))
    except RecursionError:
        raise InputError(
            "the config is not valid: a section is part of itself, expected sections of keys; "
            "look at the anchors (&) and aliases (*) of the YAML"
        ) from None
    if not messages:
        # Keys and list positions, compared as text: a path may hold both.
        problems = validator_of(schema).iter_errors(filled)
        ordered = sorted(problems, key=lambda error: [str(part) for part in error.path])
        messages = [describe(problem) for problem in ordered]
    if not messages:
        messages = conflicts(filled)
    if messages:
        raise InputError(
            "the config is not valid (keys are described in config/README.md):\n"
            + bullets(messages)
        )
    expand_paths(filled)
    annotate = filled["annotate"]
    if annotate["k.filter"] == "auto":
        annotate["k.filter"] = None if annotate["seurat_version"] == "v5" else 200
    return filled


def expand_paths(config: dict[str, Any]) -> None:
    """Write the home folder for the "~" that paths of the config begin with."""
    for *sections, key in PATHS:
        section = config
        for name in sections:
            section = section.get(name, {})
        if isinstance(section.get(key), str):
            section[key] = os.path.expanduser(section[key])
    tables = config.get("annotate", {}).get("tables", {})
    tables.update({name: os.path.expanduser(path) for name, path in tables.items()})


# Keys of earlier versions, and what they became.
RENAMED = {"annotate.spaces": "voters (pca and dice as before, and linear)"}


def table_names(config: dict[str, Any]) -> tuple[str, ...]:
    """Names of the voters that config has tables of labels for, whatever else is wrong with it."""
    annotate = config.get("annotate")
    tables = annotate.get("tables") if isinstance(annotate, dict) else None
    return tuple(map(str, tables)) if isinstance(tables, dict) else ()


def config_schema(path: str | Path, tables: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of the config, with what other places of the library say once.

    Those are the criteria of quality control, the correctors of batches, the voters and embeddings,
    the exports, and the methods of the benchmark. `tables` are voters that the config itself adds.
    """
    schema = json.loads(Path(path).read_text())
    parts = {name: part.get("properties", {}) for name, part in schema["properties"].items()}
    schema["properties"]["qc"]["properties"] = schema_properties() | parts["qc"]
    parts["batch"]["method"] = choice(CORRECTORS, "harmony")
    voters = tuple(dict.fromkeys([*VOTERS, CELLTYPIST, *tables]))
    parts["annotate"]["voters"] = several(voters, VOTERS)
    parts["annotate"]["consensus"] = several(voters, ("dice", "linear"))
    parts["annotate"]["final"] = choice(dict.fromkeys([*voters, CONSENSUS]), CONSENSUS)
    parts["cluster"]["embedding"] = choice(EMBEDDINGS, "dice")
    parts["benchmark"]["methods"] = methods_schema()
    schema["properties"]["export"] = {**several([*TARGETS], ()), "minItems": 0}
    return schema


def choice(names: Iterable[str], default: str) -> dict[str, Any]:
    """JSON schema of a setting that is one of some names."""
    *others, last = names
    text = f"{', '.join(others)} or {last}" if others else last
    return {"enum": [*others, last], "default": default, "description": text}


def several(names: Sequence[str], default: Sequence[str]) -> dict[str, Any]:
    """JSON schema of a setting that is a list of some names."""
    return {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": list(names)},
        "default": list(default),
        "description": f"a list of {', '.join(names[:-1])} and {names[-1]}",
    }


def fill_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """Fill in the schema's `default`s, depth first, without touching what is there."""
    if isinstance(value, dict):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = copy.deepcopy(part["default"])
            if key in value:
                value[key] = fill_defaults(value[key], part)
    return value


def as_meant(value: Any, schema: dict[str, Any]) -> Any:
    """Undo what YAML makes of an unquoted `off`, and of whole numbers written as 4.0.

    Numbers inside a value of `--config` come as text: Snakemake reads `{samples: 8}` as strings.
    Keys get the schema's order: Snakemake compares settings as text, and another order of the same
    ones would rerun everything.
    """
    if value is False and "off" in schema.get("enum", []):
        return "off"
    if schema.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not is_valid(value, schema):
        meant = None if value in NULLS else as_number(value)
        return meant if is_valid(meant, schema) else value
    if isinstance(value, list):
        return [as_meant(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        order = [key for key in parts if key in value] + [key for key in value if key not in parts]
        return {key: as_meant(value[key], parts.get(key, {})) for key in order}
    return value


def unusable(value: Any, schema: dict[str, Any], key: str = "") -> Iterator[str]:
    """Numbers that are none to count with and text that nobody can read, a sentence each."""
    if isinstance(value, dict):
        for name, part in value.items():
            where = f"{key}.{name}" if key else str(name)
            if hidden(str(name)):
                yield f"{shown(where)}: a key with the character {hidden(str(name))}; type it again"
            yield from unusable(part, schema.get("properties", {}).get(name, {}), where)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from unusable(part, schema.get("items", {}), f"{key}.{i}")
    elif is_unusable(value, schema):
        expected = schema.get("description", "a finite number")
        most = f" of at most {LARGEST}" if isinstance(value, int) else ""
        yield f"{key}: seen {value}, expected {expected}{most}"
    elif isinstance(value, str) and hidden(value):
        yield (
            f"{key}: seen {value!r}, with the character {hidden(value)}, which nobody sees; "
            "expected printable text in one line; type it again"
        )


def repeated_keys(path: str | Path) -> list[str]:
    """Keys that stand twice in one section of a config file, a sentence each.

    YAML's readers take the last one without a word.

    Parameters
    ----------
    path : of a file that has been read as a config; one that cannot be parsed repeats nothing.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            root = yaml.compose(stream, yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []
    return [f"{path}: {text}" for text in repetitions(root, "", set())]


def repetitions(node: yaml.Node | None, key: str, seen: set[int]) -> Iterator[str]:
    """Repeated keys below a node of YAML; `seen` are the nodes that were looked at."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, part in enumerate(node.value):
            yield from repetitions(part, f"{key}.{i}", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for name, part in node.value:
        where = f"{key}.{name.value}".lstrip(".")
        line = name.start_mark.line + 1
        if isinstance(name, yaml.ScalarNode):
            if name.value in lines:
                yield (
                    f"the key {where} stands twice, in lines {lines[name.value]} and {line}; "
                    "expected once; remove one, or join the sections"
                )
            lines[name.value] = line
        yield from repetitions(part, where, seen)


def require_single_keys(paths: Iterable[str | Path]) -> None:
    """Check that no key stands twice in a config file.

    Raises
    ------
    InputError
        One does, in one of the files.
    """
    problems = [text for path in dict.fromkeys(paths) for text in repeated_keys(path)]
    if problems:
        raise InputError("the config is not valid:\n" + bullets(problems))


def describe(problem: ValidationError) -> str:
    """One sentence: the key, what was seen, what is allowed."""
    key = ".".join(str(part) for part in problem.absolute_path) or "top level"
    rule = problem.validator
    # jsonschema's types allow for an error whose parts are not set yet.
    schema: Any = problem.schema
    instance: Any = problem.instance
    required: Any = problem.validator_value
    if rule == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = [name for name in instance if name not in known]
        return "; ".join(unknown_key(key, str(name), known) for name in unknown)
    if rule == "required":
        missing = [name for name in required if name not in instance]
        return f"{key}: the key {', '.join(missing)} is missing"
    if rule == "uniqueItems":
        twice = [item for i, item in enumerate(instance) if item in instance[:i]]
        seen = ", ".join(dict.fromkeys(map(str, twice)))
        return f"{key}: seen {seen} more than once in {instance!r}, expected each once; remove one"
    allowed = schema.get("description")
    if not allowed:  # an item of a list
        return f"{key}: {problem.message}"
    return f"{key}: seen {instance!r}, expected {allowed}"


def unknown_key(where: str, name: str, known: list[str]) -> str:
    """One sentence about a key that the schema does not know, with the nearest that it does."""
    if f"{where}.{name}" in RENAMED:
        return f"{where}: the key {name!r} is now {RENAMED[f'{where}.{name}']}"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"{where}: unknown key {name!r}; {hint}"


def conflicts(config: dict[str, Any]) -> list[str]:
    """Settings that are valid alone but not together."""
    sentences = []
    annotate, denoise, latent = config["annotate"], config["denoise"], config["latent"]
    voters = annotate["voters"]
    absent = [voter for voter in annotate["consensus"] if voter not in voters]
    if annotate["final"] == CONSENSUS and absent:
        sentences.append(
            f"annotate.consensus: seen {', '.join(absent)}, expected some of annotate.voters "
            f"({', '.join(voters)}); or set annotate.final to one of these"
        )
    elif annotate["final"] not in (*voters, CONSENSUS):
        sentences.append(
            f"annotate.final: seen {annotate['final']!r}, expected one of annotate.voters "
            f"({', '.join(voters)}), or {CONSENSUS}"
        )
    sentences += label_conflicts(annotate)
    prior = config["prior"]
    of_kernel, asked = {"draws", "mixup_probability"}, set(prior["overrides"])
    wrong = asked - of_kernel if prior["preset"] == "kernel" else asked & {"draws"}
    if wrong and not prior["path"]:
        sentences.append(
            f"prior.overrides: seen {', '.join(sorted(wrong))}, which the preset "
            f"{prior['preset']} does not have; expected "
            + ("preset fast or paper" if prior["preset"] == "kernel" else "preset kernel")
        )
    gibbs = denoise["method"] == "gibbs" or denoise["likelihood"] != "gaussian"
    if gibbs and prior["preset"] == "kernel" and not prior["path"]:
        sentences.append(
            f"prior.preset: seen kernel with denoise.method {denoise['method']} and likelihood "
            f"{denoise['likelihood']}, expected fast or paper: Gibbs chains hardly move between "
            "the points of a kernel"
        )
    # The closed form has no start.
    if gibbs and denoise["rho"]["end"] > denoise["rho"]["start"]:
        sentences.append(
            f"denoise.rho: end ({denoise['rho']['end']}) is larger than start "
            f"({denoise['rho']['start']}); the coupling is lowered, not raised"
        )
    if latent["k"] != "auto" and latent["k"] > latent["max_k"]:
        sentences.append(
            f"latent.k: seen {latent['k']}, expected at most max_k ({latent['max_k']})"
        )
    augment = config["augment"]
    if augment["below"] > augment["target"]:
        sentences.append(
            f"augment.below: seen {augment['below']}, expected at most target "
            f"({augment['target']}), the cells that such a label is brought to"
        )
    synthesis = config["synthesis"]
    if (synthesis["label"], synthesis["prior"]) == ("none", "mixed") and not synthesis["path"]:
        sentences.append(
            "synthesis.prior: seen mixed with label none, expected auto, gaussian, diffusion or "
            "posterior: without classes it would place cells between cells of any two types"
        )
    return sentences


def label_conflicts(annotate: dict[str, Any]) -> list[str]:
    """Tables of labels and new names that cannot be, a sentence each."""
    sentences = []
    for name in annotate["tables"]:
        taken = (*VOTERS, CELLTYPIST, CONSENSUS, MARKERS)
        if name in taken or not re.fullmatch(TABLE_NAME, str(name)):
            sentences.append(
                f"annotate.tables: seen the name {name!r}, expected one of letters, digits, '-' "
                f"and '_' that begins with a letter, and none of {', '.join(taken)}"
            )
    if CELLTYPIST in annotate["voters"] and not annotate["celltypist"]:
        sentences.append(
            f"annotate.voters: seen {CELLTYPIST}, but no model; set annotate.celltypist to the "
            "path of a CellTypist model"
        )
    rename = annotate["rename"]
    for old, new in rename.items():
        if new != old and new in rename and rename[new] != new:
            sentences.append(
                f"annotate.rename: {old!r} becomes {new!r}, which becomes {rename[new]!r}; "
                f"expected final names; write {old!r}: {rename[new]!r}"
            )
    return sentences


def require_tables(annotate: dict[str, Any], python: str | None) -> None:
    """Check that the files are there that labels are read from beside the sheet.

    Parameters
    ----------
    annotate : section of the config.
    python : of the environment of CellTypist; None: the workflow makes it.

    Raises
    ------
    InputError
        One is not, or Snakemake cannot take its path.
    """
    files = {f"annotate.tables.{name}": path for name, path in annotate["tables"].items()}
    if isinstance(annotate["parents"], str):
        files["annotate.parents"] = annotate["parents"]
    if CELLTYPIST in annotate["voters"]:
        files["annotate.celltypist"] = annotate["celltypist"]
    for setting, path in files.items():
        if why := unusable_path(path) or dead_link(path):
            raise InputError(f"{setting}: {why}")
        if not os.path.isfile(path):
            raise InputError(f"{setting}: no such file: {path}; correct the path")
    if CELLTYPIST in annotate["voters"] and python and not os.path.isfile(python):
        raise InputError(
            f"annotate.voters names {CELLTYPIST}, but annotate.celltypist_python is not there: "
            f"{python}; `make celltypist` makes it, or take {CELLTYPIST} out of the voters"
        )


def require_saved_prior(
    path: str | None, normalization: dict[str, Any], whole: bool = True
) -> None:
    """Check that a prior lies at `prior.path`, if given, and fits the normalisation.

    Its loadings and scaling hold for expression normalised as its own reference was.

    Parameters
    ----------
    path : of its folder.
    normalization : section of the config.
    whole : look at all of the weights as well; no job needs to do that once more.

    Raises
    ------
    InputError
        A file of the prior is missing or damaged, card and weights do not belong together, or it
        was trained on expression normalised otherwise.
    """
    if not path:
        return
    require_model_folder("prior.path", path, PRIOR)
    require_losses(Path(path) / "loss.tsv")
    weights = Path(path) / PRIOR.weights
    card = require_match(weights) if whole else read_card(card_of(weights))
    for key, value in normalization.items():
        trained = card.get("normalization", {}).get(key, value)
        if trained != value:
            raise InputError(
                f"normalization.{key}: seen {value:g}, but the prior in {path} was trained with "
                f"{trained:g}; set the same"
            )


def require_saved_generator(synthesis: dict[str, Any], whole: bool = True) -> None:
    """Check that a generator lies at `synthesis.path`, if given, and knows the classes asked for.

    Parameters
    ----------
    synthesis : section of the config.
    whole : look at all of the weights as well; no job needs to do that once more.

    Raises
    ------
    InputError
        A file is missing or damaged, card and weights do not belong together, or a class does not
        exist.
    """
    path = synthesis["path"]
    if not path:
        return
    require_model_folder("synthesis.path", path, GENERATOR)
    weights = Path(path) / GENERATOR.weights
    card = require_match(weights, GENERATOR) if whole else read_card(card_of(weights), GENERATOR)
    CellRequest.from_config(synthesis).numbers(card["classes"])


def require_model_folder(setting: str, path: str, kind: CardKind) -> None:
    """Check that a folder has the files of a saved model.

    Raises
    ------
    InputError
        One is missing, or Snakemake cannot take the path.
    """
    names = (kind.weights, "card.json", "loss.tsv")
    absent = [name for name in names if not os.path.isfile(os.path.join(path, name))]
    for name in absent:
        if why := dead_link(os.path.join(path, name)):
            raise InputError(f"{setting}: {why}")
    if absent:
        seen = f"{path} has no {', '.join(absent)}"
        others = [k for k in (PRIOR, GENERATOR) if os.path.isfile(os.path.join(path, k.weights))]
        if not os.path.exists(path):
            seen = f"there is no folder {path}"
        elif others and kind not in others:
            seen = f"{path} holds a {others[0].what}, not a {kind.what}"
        raise InputError(f"{setting}: {seen}; expected the folder {kind.folder} of an earlier run")
    if unusable_path(path):
        raise InputError(f"{setting}: {unusable_path(path)}")


def require_losses(path: Path) -> None:
    """Check that the losses of a saved prior can be drawn; a table without rows is no harm.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column, or has a row that is no numbers.
    """
    with reading(path, "a table of losses"):
        lines = path.read_text(encoding="utf-8").splitlines()
    header, *rows = [line.split("\t") for line in lines] or [[]]
    missing = [name for name in LOSSES if name not in header]
    if missing:
        seen = ", ".join(header) if any(header) else "an empty file"
        raise InputError(
            f"prior.path: {path} has no column {', '.join(missing)} (seen: {seen}), expected the "
            "losses of the training; copy the prior's folder again"
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(header) or not all(map(is_loss, row)):
            raise InputError(
                f"prior.path: {path}, line {number}: seen {' '.join(row)!r}, expected "
                f"{len(header)} numbers; copy the prior's folder again"
            )


def is_loss(text: str) -> bool:
    """Whether a text is a number or empty."""
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def require_gene_names(path: str | None) -> None:
    """Check that the file of `genes.names` is there, if given.

    Raises
    ------
    InputError
        It is not.
    """
    if path in GENES:
        return
    if path and unusable_path(path):
        raise InputError(f"genes.names: {unusable_path(path)}")
    if why := dead_link(path or ""):
        raise InputError(f"genes.names: {why}")
    if path and not os.path.isfile(path):
        raise InputError(
            f"genes.names: no such file: {path}; expected human, mouse, a table of Ensembl ids "
            "and symbols, or an h5ad file whose var has both"
        )


def require_marker_lists(path: str | None) -> None:
    """Check that the lists of `annotate.markers` are there, if given, and can be read.

    Raises
    ------
    InputError
        They are not, or see `read_marker_list`.
    """
    if not path:
        return
    if unusable_path(path):
        raise InputError(f"annotate.markers: {unusable_path(path)}")
    if why := dead_link(path):
        raise InputError(f"annotate.markers: {why}")
    if not os.path.isfile(path):
        raise InputError(
            f"annotate.markers: no such file: {path}; expected a csv or tsv with the columns type "
            "and gene; correct the path"
        )
    read_marker_list(path)


def require_batch_keys(keys: list[str], sheet: dict[str, dict[str, Any]]) -> None:
    """Check that every batch key is a column that the sheet gives.

    A label or a QC column is none: correcting for it would remove what it stands for.

    Raises
    ------
    InputError
        A key is no such column.
    """
    extra = [column for row in sheet.values() for column in row["extra"]]
    allowed = list(dict.fromkeys(["batch", "sample", *extra]))
    wrong = [key for key in keys if key not in allowed]
    if wrong:
        raise InputError(
            f"batch.keys: seen {', '.join(wrong)}, expected columns of the sample sheet: "
            f"{', '.join(allowed)}"
        )


def compared_samples(compare: dict[str, Any] | None, sheet: dict[str, dict[str, Any]]) -> list[str]:
    """Samples whose cells are compared: of the right role, with a condition."""
    if not compare:
        return []
    roles = ("query",) if compare["cells"] == "query" else ("query", "reference")
    return [
        name
        for name, row in sheet.items()
        if row["role"] in roles and field_of(row, compare["column"])
    ]


def field_of(row: dict[str, Any], column: str) -> str:
    """A row's field that stands for all of its cells, of the columns that the atlas has."""
    return str(row[column] if column in ("sample", "batch") else row["extra"].get(column, ""))


def require_comparable(compare: dict[str, Any] | None, sheet: dict[str, dict[str, Any]]) -> None:
    """Check that the sheet's samples can be compared as `compare` asks, if it does.

    Conditions and replicates that are columns of the samples' own cells are known and checked only
    when the cells have been read.

    Raises
    ------
    InputError
        A column is not in the sheet, no sample takes part, one has no counts, none gets labels; or
        the replicates do not allow it (`conditions.settings.require_units`).
    """
    if not compare:
        return
    settings = CompareSettings.from_config(compare)
    extra = [column for row in sheet.values() for column in row["extra"]]
    allowed = list(dict.fromkeys(["sample", "batch", *extra]))
    for key in ("column", "sample", "covariates"):
        asked = [compare[key]] if isinstance(compare[key], str) else compare[key]
        if wrong := [name for name in asked if name not in allowed]:
            raise InputError(
                f"compare.{key}: seen {', '.join(wrong)}, expected a column of the sample sheet: "
                f"{', '.join(allowed)}"
            )
    rows = [sheet[name] for name in compared_samples(compare, sheet)]
    if not rows:
        raise InputError(
            f"compare: no {'query ' * (settings.cells == 'query')}sample has a condition in the "
            f"column {settings.column}; fill it in, or set compare.cells"
        )
    if logged := without_counts({row["sample"]: row for row in rows}):
        raise InputError(
            f"compare: the sample(s) {', '.join(logged)} have expression log1p, expected raw "
            f"counts; leave their {settings.column} empty"
        )
    references = references_of(sheet).values()
    transferred = bool(references) and all(row["labels"] for row in references)
    if not transferred and not any(row["labels"] for row in rows):
        raise InputError(
            "compare: the samples get no cell types, expected a reference with labels, or (with "
            "compare.cells: all) samples with labels"
        )
    fields = [(field_of(row, settings.sample), field_of(row, settings.column)) for row in rows]
    if not any(text.startswith(FROM_OBS) for pair in fields for text in pair):
        require_units(fields, settings)


def require_roles(config: dict[str, Any], sheet: dict[str, dict[str, Any]]) -> None:
    """Check that the sheet has both roles if a setting needs them.

    Raises
    ------
    InputError
        It has one only.
    """
    roles = {row["role"] for row in sheet.values()}
    if config["genes"]["mode"] == "intersection" and not config["prior"]["path"] and len(roles) < 2:
        raise InputError(
            "genes.mode: seen intersection (of the reference's and the query's variable genes), "
            f"but all samples of the sheet are {roles.pop()}; set genes.mode to joint"
        )


def references_of(sheet: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of the reference."""
    return {name: row for name, row in sheet.items() if row["role"] == "reference"}


def without_counts(sheet: dict[str, dict[str, Any]]) -> list[str]:
    """Samples that have log-normalised expression alone."""
    return [name for name, row in sheet.items() if row["expression"] == LOG1P]


def require_counts(config: dict[str, Any], sheet: dict[str, dict[str, Any]]) -> None:
    """Check that all samples have counts if the likelihood is one of counts.

    Raises
    ------
    InputError
        A sample has log-normalised expression alone.
    """
    logged = without_counts(sheet)
    likelihood = config["denoise"]["likelihood"]
    if logged and likelihood in ("poisson", "negative_binomial"):
        raise InputError(
            f"denoise.likelihood: seen {likelihood}, a distribution of counts, but the sample(s) "
            f"{', '.join(logged)} have expression log1p, and so no counts; set it to gaussian"
        )


def require_augmentable(augment: dict[str, Any], sheet: dict[str, dict[str, Any]]) -> None:
    """Check that the reference has labels and counts if synthetic cells are to be added to it.

    Raises
    ------
    InputError
        It has not.
    """
    references = references_of(sheet)
    asked = f"augment.below: seen {augment['below']}, which adds synthetic cells to rare labels"
    unlabelled = [name for name, row in references.items() if not row["labels"]]
    logged = without_counts(references)
    if augment["below"] and (unlabelled or not references):
        seen = "there is no reference sample"
        if unlabelled:
            seen = f"the reference sample(s) {', '.join(unlabelled)} have no labels"
        raise InputError(f"{asked}, but {seen}; give labelled references, or set it to 0")
    if augment["below"] and logged:
        raise InputError(
            f"{asked}, but the sample(s) {', '.join(logged)} have expression log1p, and so no "
            "counts to learn from; set it to 0"
        )


def require_learnable(sheet: dict[str, dict[str, Any]]) -> None:
    """Check that a generator can learn from the samples: from the reference, or from all.

    Raises
    ------
    InputError
        A sample has log-normalised expression alone.
    """
    logged = without_counts(references_of(sheet) or sheet)
    if logged:
        raise InputError(
            f"synthesis: the sample(s) {', '.join(logged)} have expression log1p, expected raw "
            "counts to learn from; give samples with counts, or a saved generator "
            "(synthesis.path)"
        )


def require_sets(sheet: dict[str, dict[str, Any]], path: str, swept: list[str]) -> None:
    """Check that each row of a benchmark's sheet names a set and has labels.

    Parameters
    ----------
    path : of the sheet, for the message.
    swept : `benchmark.sweeps.sets`, which must be among them.

    Raises
    ------
    InputError
        A row has no set or no labels, a set has a name that is no folder's or no reference, or
        one to be swept is not there.
    """
    problems = [
        f"sample {name}: the column {column} is empty or missing"
        for name, row in sheet.items()
        for column, value in (("set", row["extra"].get("set")), ("labels", row["labels"]))
        if not value
    ]
    sets = {row["extra"].get("set") for row in sheet.values()}
    for name in sorted(filter(None, sets)):
        # It is a folder of the results.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            problems.append(
                f"seen the set {name!r}, expected a name of letters, digits, '.', '_', '+' and '-'"
            )
        roles = {row["role"] for row in sheet.values() if row["extra"].get("set") == name}
        if "reference" not in roles:
            problems.append(f"set {name}: no row is a reference; cells are held out of references")
    if problems:
        raise InputError(
            f"{path} is no sheet of a benchmark, in which every row has a set and labels:\n"
            + bullets(problems)
        )
    if unknown := [name for name in swept if name not in sets]:
        raise InputError(
            f"benchmark.sweeps.sets names {', '.join(unknown)}, expected sets of {path}: "
            + ", ".join(sorted(sets))
        )


def require_scvi(python: str) -> None:
    """Check that scVI's environment is there.

    Raises
    ------
    InputError
        It is not.
    """
    if not os.path.isfile(python):
        raise InputError(
            f"benchmark.methods names scvi, but benchmark.scvi_python is not there: {python}; "
            "`make scvi` makes it, or take scvi out of the methods"
        )
