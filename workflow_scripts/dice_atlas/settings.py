"""The config, checked against its schema before anything runs."""

import copy
import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema.exceptions import ValidationError

from dice_atlas.baselines.methods import methods_schema
from dice_atlas.counts.criteria import schema_properties
from dice_atlas.errors import InputError, bullets
from dice_atlas.export.targets import TARGETS
from dice_atlas.features.correctors import CORRECTORS
from dice_atlas.names import CELLTYPIST, CONSENSUS, EMBEDDINGS, MARKERS, VOTERS
from dice_atlas.schemas import LARGEST, as_number, is_unusable, is_valid, validator_of
from dice_atlas.texts import hidden, shown

# Settings that are paths; "~" in them is the home folder, as in the sheet.
PATHS = (
    ("samples",), ("genes", "names"), ("prior", "path"), ("synthesis", "path"),
    ("benchmark", "samples"), ("benchmark", "scvi_python"), ("annotate", "parents"),
    ("annotate", "celltypist"), ("annotate", "celltypist_python"), ("annotate", "markers"),
)  # fmt: skip
# How alike a key of another section must be to be named, 0 to 1.
ELSEWHERE = 0.85
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
        places = places_of_keys(schema)
        messages = [describe(problem, places) for problem in ordered]
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


def places_of_keys(schema: Mapping[str, Any], where: str = "") -> dict[str, list[str]]:
    """Where each key may stand, as `section.key`, by the key alone."""
    places: dict[str, list[str]] = {}
    for name, part in schema.get("properties", {}).items():
        place = f"{where}.{name}".lstrip(".")
        inside = places_of_keys(part, place) if isinstance(part, Mapping) else {}
        for key, found in [(name, [place]), *inside.items()]:
            places[key] = [*places.get(key, []), *found]
    return places


def describe(problem: ValidationError, places: Mapping[str, list[str]]) -> str:
    """One sentence: the key, what was seen, what is allowed.

    Parameters
    ----------
    places : see `places_of_keys`.
    """
    key = ".".join(str(part) for part in problem.absolute_path) or "top level"
    rule = problem.validator
    # jsonschema's types allow for an error whose parts are not set yet.
    schema: Any = problem.schema
    instance: Any = problem.instance
    required: Any = problem.validator_value
    if rule == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = [name for name in instance if name not in known]
        return "; ".join(unknown_key(key, str(name), known, places) for name in unknown)
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


def unknown_key(where: str, name: str, known: list[str], places: Mapping[str, list[str]]) -> str:
    """One sentence about a key that is not known there, with the nearest one that is somewhere.

    Parameters
    ----------
    known : keys of the same section.
    places : see `places_of_keys`.
    """
    if f"{where}.{name}" in RENAMED:
        return f"{where}: the key {name!r} is now {RENAMED[f'{where}.{name}']}"
    close = difflib.get_close_matches(name, known, n=1)
    far = difflib.get_close_matches(name, places, n=1, cutoff=ELSEWHERE)
    if far and not (close and likeness(name, close[0]) >= likeness(name, far[0])):
        named = [repr(p) + " at the top level" * ("." not in p) for p in places[far[0]]]
        hint = f"did you mean {' or '.join(named)}?"
    else:
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"{where}: unknown key {name!r}; {hint}"


def likeness(one: str, other: str) -> float:
    """How alike two names are, 0 to 1 (1: equal)."""
    return difflib.SequenceMatcher(None, one, other).ratio()


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
