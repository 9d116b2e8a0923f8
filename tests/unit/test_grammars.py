"""What is parsed by a grammar of ours, over texts that nobody thought of."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from anndata.utils import make_index_unique
from dice_atlas.benchmark.split import Variant
from dice_atlas.counts.genes import without_numbers
from dice_atlas.counts.subset import parse_subset
from dice_atlas.errors import InputError
from dice_atlas.numerics.shards import shard_rows
from dice_atlas.sheet import read_sheet
from dice_atlas.spreadsheet import read_table
from dice_atlas.texts import HIDDEN
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "config/schemas/samples.schema.json"
# Any letter, number, sign or space of any script, but for what nobody sees.
ANY = st.characters(exclude_categories=HIDDEN)


def words(exclude: str = "", least: int = 1):
    """Texts without white space around them."""
    text = st.text(ANY.filter(lambda letter: letter not in exclude), max_size=12)
    return text.map(str.strip).filter(lambda word: len(word) >= least)


# Spaces around names and values are a typist's.
SPACED = st.sampled_from(["", " ", "  "])


@given(
    st.dictionaries(words("=;|!"), st.lists(words(";|"), min_size=1, max_size=4), max_size=4)
    .filter(bool), st.booleans(), SPACED,
)  # fmt: skip
def test_a_subset_is_parsed_back(conditions, kept, space):
    sign = "=" if kept else "!="
    spec = ";".join(
        f"{space}{column}{space}{sign}{space}" + f"{space}|{space}".join(values)
        for column, values in conditions.items()
    )
    assert parse_subset(spec) == [(*condition, kept) for condition in conditions.items()]


# Symbols without a number at their end, which may be a gene's own.
SYMBOLS = st.from_regex(r"[A-Z][A-Z0-9.]{0,3}(-[A-Z]{1,2})?", fullmatch=True)


@given(st.lists(SYMBOLS, min_size=1, max_size=30))
def test_numbers_of_repetitions_are_taken_off_again(symbols):
    # anndata numbers repetitions in the order in which they stand.
    unique = make_index_unique(pd.Index(symbols, dtype=object))
    assert without_numbers(unique).tolist() == symbols


@given(SYMBOLS, st.sets(st.integers(1, 9)), st.booleans())
def test_numbers_with_a_gap_are_part_of_the_name(symbol, numbers, plain):
    names = [symbol] * plain + [f"{symbol}-{i}" for i in sorted(numbers)]
    found = without_numbers(pd.Index(names, dtype=object))
    # Up to the first number that is missing, if the plain name is there at all.
    first_gap = next(i for i in range(1, 11) if i not in numbers)
    expected = [symbol] * plain + [
        symbol if plain and i < first_gap else f"{symbol}-{i}" for i in sorted(numbers)
    ]
    assert found.tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_shards_are_a_partition_of_nearly_equal_parts(n, of):
    parts = [shard_rows(n, shard, of) for shard in range(1, of + 1)]
    assert [row for part in parts for row in part] == list(range(n))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.sampled_from(["k", "missing", "extra"]), st.integers(1, 10**6))
def test_variants_with_a_number(kind, number):
    assert Variant.parse(f"{kind}-{number}") == (kind, str(number))


@given(st.text(max_size=12))
def test_a_variant_is_parsed_whole_or_refused(text):
    grammar = r"base|k-[1-9][0-9]*|missing-[1-9][0-9]*|extra-[1-9][0-9]*|scope-[a-z_]+"
    if re.fullmatch(grammar, text):
        assert "-".join(filter(None, Variant.parse(text))) == text
    else:
        with pytest.raises(InputError, match="seen the variant"):
            Variant.parse(text)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Writes a sheet as a spreadsheet does."""
    path = tmp_path_factory.mktemp("sheet") / "sheet"

    def write(rows, delimiter):
        with open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=delimiter).writerows(rows)
        return path

    return write


@st.composite
def tables(draw):
    """A header of two columns or more, and rows as wide whose first value is no comment."""
    # A tab in a csv's header makes it a tsv; all else may stand between quotes.
    columns = draw(st.lists(words("\t#"), min_size=2, max_size=4, unique=True))
    first = words("#")
    others = [words(least=0)] * (len(columns) - 1)
    return columns, draw(st.lists(st.tuples(first, *others), max_size=4))


@given(tables(), st.sampled_from("\t,"))
def test_a_table_is_read_as_it_was_written(write, table, delimiter):
    columns, rows = table
    names, found = read_table(write([columns, *rows], delimiter))
    assert names == columns
    assert [dict(zip(columns, row, strict=True)) for row in rows] == [row for _, row in found]
    assert [line for line, _ in found] == list(range(2, len(rows) + 2))


@given(tables(), st.integers(0, 2))
def test_a_spreadsheets_empty_columns_and_rows_are_nothing(write, table, wider):
    columns, rows = table
    blank = [""] * (len(columns) + wider)
    padded = [[*row, *[""] * wider] for row in [columns, *rows]]
    for delimiter in "\t,":
        names, found = read_table(write([*padded, blank], delimiter))
        assert names == columns
        assert len(found) == len(rows)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,5}", fullmatch=True)


@given(
    st.lists(NAMES, min_size=1, max_size=4, unique=True), st.data(), st.sampled_from("\t,"),
)  # fmt: skip
def test_a_sheet_is_read_as_it_was_written(write, samples, data, delimiter):
    roles = data.draw(st.lists(st.sampled_from(["reference", "query"]), min_size=4, max_size=4))
    batches = data.draw(st.lists(words().filter(lambda b: not b.startswith("obs:")), min_size=4,
                                 max_size=4))  # fmt: skip
    sites = data.draw(st.lists(words(least=0), min_size=4, max_size=4))
    limits = data.draw(st.lists(st.integers(0, 10_000), min_size=4, max_size=4))
    rows = list(zip(samples, roles, batches, sites, limits, strict=False))
    header = ["sample", "path", "role", "batch", "site", "min_genes"]
    lines = [[name, "/data/x", role, batch, site, limit] for name, role, batch, site, limit in rows]
    sheet = read_sheet(write([header, *lines], delimiter), SCHEMA)
    assert list(sheet) == samples
    for name, role, batch, site, limit in rows:
        row = sheet[name]
        assert (row["role"], row["batch"], row["path"]) == (role, batch, "/data/x")
        assert (row["qc"], row["extra"]) == ({"min_genes": limit}, {"site": site})
