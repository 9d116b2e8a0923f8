"""Configs, sheets and label tables that nobody thought of: read, or refused with a message."""

import contextlib
import copy
import gzip
import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dice_atlas.counts.labels import read_labels
from dice_atlas.settings import (
    config_schema,
    repeated_keys,
    validate_config,
)
from dice_atlas.sheet import read_sheet, require_files, sheet_warnings
from dice_atlas.sheet_settings import (
    require_batch_keys,
    require_roles,
    require_sets,
)
from dice_atlas.texts import hidden
from fuzzing import DAMAGES, cases, damaged, listing, refused
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "config/schemas/config.schema.json"
COLUMNS = ROOT / "config/schemas/samples.schema.json"
PLAIN = (ROOT / "config/config.yaml").read_bytes()
DEFAULTS = yaml.safe_load(PLAIN)
NUMBERS = [float("nan"), float("inf"), -math.inf, 1e308, -0.0, 10**30, -(10**30), 2**31, True, 0.1]
WORDS = [
    "", " ", "auto", "null", "off", "yes", ".nan", "1e5", "0b", "!!int x", "2001-99-99", "a\nb",
    "a\tb", "x\0y", "{x}", "{x,a}", "a/b", "..", "/", "~", "~nobody/x", "$HOME", "%s", "_index",
    "__x", "a|b", "obs:", "obs:x", "=;", "x=", "x=1|", "\u202e", "\ud800", "\ufeff", "-1", "(",
    "a{9}{9}", "a" * 5000,
    "a{999999999999999999}", "(" * 200, "é", "e\u0301", "<b>", "$x$", "unassigned", "s1", "#", '"',
]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.dates(), st.binary(max_size=5),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.one_of(st.text(max_size=8), st.integers(), st.none()), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places(schema, prefix=()):
    """All keys of the config, as paths."""
    for key, part in schema.get("properties", {}).items():
        yield (*prefix, key)
        yield from places(part, (*prefix, key))


PLACES = sorted(places(config_schema(SCHEMA)))


def put(config, place, value):
    """Set a value deep in a config, where there are sections to hold it."""
    for key in place[:-1]:
        if not isinstance(config, dict):
            return
        config = config.setdefault(key, {})
    if isinstance(config, dict):
        config[place[-1]] = value


def finite(value):
    """Whether all numbers in a config are finite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@cases(0.2)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_configs(changes):
    config = copy.deepcopy(DEFAULTS)
    for place, value in changes:
        put(config, place, value)
    before = repr(config)

    def check():
        filled = validate_config(config, SCHEMA)
        assert finite(filled)
        assert validate_config(filled, SCHEMA) == filled
        json.dumps(filled)
        row = {"role": "query", "extra": {}}
        require_batch_keys(filled["batch"]["keys"], {"q": row})
        require_roles(filled, {"q": row})

    refused(check)
    assert repr(config) == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working directory of all cases."""
    made = tmp_path_factory.mktemp("fuzz")
    with contextlib.chdir(made):
        yield made


@cases(0.1)
@given(DAMAGES)
def test_damaged_config_files(folder, damages):
    content = damaged(PLAIN, damages)
    (folder / "my.yaml").write_bytes(content)
    repeated_keys("my.yaml")
    try:
        config = yaml.safe_load(content)
    # Snakemake's own message, before any of ours.
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, AttributeError, RecursionError):
        return
    if isinstance(config, dict):
        refused(lambda: validate_config(config, SCHEMA))


SHEET = (
    "sample,path,role,batch,labels,truth,subset,min_genes,site\n"
    "r1,a.h5ad,reference,A,cell_type,,donor=1|2,200,x\n"
    "q1,b.csv,query,B,,t.csv,,150.0,y\n"
    '"q2","c, d",query,C,,,,,"z ""z"""\n'
)
HEADER = [*SHEET.splitlines()[0].split(","), "set", "slot", "suffix", "n_mads", "mito_pattern", ""]
FIELDS = st.one_of(st.sampled_from(WORDS), st.text(max_size=12), st.integers().map(str))


VALID = ["query", "reference", "q1", "a.h5ad", "A", "l.csv", "3"]


def read_all(path):
    """All that is done with a sheet before any job."""
    sheet = read_sheet(path, COLUMNS)
    assert sheet
    for row in sheet.values():
        assert row["role"] in ("reference", "query")
        assert row["path"]
    sheet_warnings(sheet, path)
    refused(lambda: require_files(sheet, path, (), "results/{sample}.h5ad"))
    refused(lambda: require_sets(sheet, str(path), []))
    json.dumps(sheet)


@cases(0.15)
@given(
    st.lists(st.one_of(st.sampled_from(HEADER), FIELDS), min_size=1, max_size=9),
    st.lists(st.lists(st.one_of(FIELDS, st.sampled_from(VALID)), max_size=9), max_size=4),
    st.sampled_from([",", "\t", ";", " ", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"]),
    st.booleans(),
)  # fmt: skip
def test_sheets(folder, header, rows, separator, end, encoding, whole):
    needed = ["sample", "path", "role", "batch"] if whole else []
    lines = [separator.join([*needed, *header])]
    for i, row in enumerate(rows):
        lines.append(separator.join([*([f"q{i}", "a", "query", "A"] if whole else []), *row]))
    (folder / "sheet").write_bytes((end.join(lines) + end).encode(encoding, errors="replace"))
    before = listing(folder)
    refused(lambda: read_all("sheet"))
    assert listing(folder) == before


@cases(0.15)
@given(DAMAGES, st.sampled_from(["utf-8", "utf-16"]))
def test_damaged_sheets(folder, damages, encoding):
    (folder / "sheet").write_bytes(damaged(SHEET.encode(encoding), damages))
    before = listing(folder)
    refused(lambda: read_all("sheet"))
    assert listing(folder) == before


CELLS = pd.Index([f"{a}{b}CA-1" for a in "ACGT" for b in "ACGT"], dtype=object)
LABELS = "barcode,label\n" + "".join(f"{name},T cell {i % 3}\n" for i, name in enumerate(CELLS))
NO_OBS = pd.DataFrame(index=CELLS)


@cases(0.15)
@given(
    DAMAGES,
    st.sampled_from([".csv", ".tsv", ".csv.gz"]),
    st.sampled_from(["", "-1", "-2"]),
    st.lists(FIELDS, max_size=3),
)
def test_damaged_label_tables(folder, damages, suffix, capture, labels):
    text = LABELS.replace(",", "\t") if suffix == ".tsv" else LABELS
    for i, label in enumerate(labels):
        text = text.replace(f"T cell {i}", label)
    content = damaged(text.encode(errors="replace"), damages)
    if suffix.endswith(".gz"):
        content = gzip.compress(content)
        if damages[0][2] % 2:
            content = damaged(content, damages[:1])
    name = f"labels{suffix}"
    (folder / name).write_bytes(content)

    def check():
        found = read_labels(name, name, CELLS, NO_OBS, capture)
        assert len(found) == len(CELLS)
        assert all(isinstance(label, str) and not hidden(label) for label in found)

    refused(check)
    os.remove(folder / name)
