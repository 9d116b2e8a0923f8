"""The sample sheet: read once, checked, paths resolved."""

import difflib
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dice_atlas.counts.criteria import CRITERIA, METRIC_NAMES, PATTERN_RULE, PATTERNS, SETTINGS
from dice_atlas.counts.formats import (
    KNOWN,
    OBS_SUFFIXES,
    SLOT_SUFFIXES,
    has_obs_columns,
    has_slots,
    is_label_table,
    member_files,
)
from dice_atlas.errors import InputError, bullets, dead_link, no_permission
from dice_atlas.names import FROM_OBS, INTERNAL, LOG1P, OBS, OBS_PREFIXES
from dice_atlas.schemas import as_number, is_valid
from dice_atlas.spreadsheet import is_cut, read_table
from dice_atlas.texts import column_problem, hidden, unusable_path

REQUIRED_COLUMNS = ("sample", "path", "role", "batch")
CORE_COLUMNS = (*REQUIRED_COLUMNS, "labels", "truth", "subset", "suffix", "slot", "expression")
MEANING = {
    "labels": "labels are transferred from references to queries",
    "truth": "the labels that queries get are compared with their truth",
}
# Columns that the workflow writes into obs itself.
RESERVED_COLUMNS = {*OBS, *METRIC_NAMES, *INTERNAL} - {"sample", "role", "batch"}


def read_sheet(
    path: str | Path, schema_path: str | Path, moved: dict[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Read a tsv or csv sample sheet.

    Parameters
    ----------
    path, schema_path : of the sheet and of the schema of its columns.
    moved : folders whose files are to be found in another one, by that one's path.

    Returns
    -------
    dict
        Per sample name: `sample`, `path`, `role`, `batch`, `labels`, `labels_source`, `truth`,
        `truth_source`, `subset`, `suffix`, `slot`, `expression`, `qc` (limits that override the
        config's) and `extra` (further columns). A `*_source` is the file that the labels are
        read from.

    Raises
    ------
    InputError
        With the row, the column, what was seen and what is allowed, for all problems at once.
    """
    path = Path(path)
    if why := dead_link(str(path)):
        raise InputError(why)
    if not os.path.exists(path):
        raise InputError(
            f"the sample sheet {path} does not exist; set `samples` in the config (that of the "
            "target benchmark: `benchmark.samples`)"
        )
    columns, rows = read_table(path, REQUIRED_COLUMNS)
    properties = json.loads(Path(schema_path).read_text())["properties"]
    properties |= {criterion.setting: dict(criterion.rule) for criterion in CRITERIA}
    properties |= dict.fromkeys(PATTERNS, PATTERN_RULE)
    properties["path"]["description"] = f"the path of the counts: {KNOWN}"
    problems = check_columns(columns)
    sheet: dict[str, dict[str, Any]] = {}
    for line, cells in rows:
        where = f"line {line}"
        problems += [f"{where}, {text}" for text in check_row(cells, properties)]
        name = cells.get("sample", "")
        if name in sheet:
            problems.append(f"{where}, column sample: {name!r} stands twice; names must be unique")
        sheet[name] = resolve_row(cells, path.parent, properties, moved or {})
        problems += [f"{where}, {text}" for text in check_obs_columns(sheet[name])]
        problems += [f"{where}, {text}" for text in check_slot(sheet[name])]
        problems += [f"{where}, {text}" for text in check_doublets(sheet[name])]
        problems += [f"{where}, {text}" for text in check_paths(sheet[name])]
    if not rows:
        problems.append("no sample; expected one row per sample")
    if problems:
        raise InputError(f"{path} is not a valid sample sheet:\n" + bullets(problems))
    conflicts = mixed_labels(sheet) or ambiguous_names(sheet)
    if conflicts:
        raise InputError(f"{path}: " + conflicts)
    return sheet


def require_files(
    sheet: dict[str, dict[str, Any]], path: str | Path, made: Collection[str], finished: str
) -> None:
    """Refuse a sheet that names files that are not there.

    Parameters
    ----------
    sheet, path : the sheet as `read_sheet` returns it, and where it was read from.
    made : paths that the workflow makes itself (the demo data).
    finished : pattern with `{sample}` of the counts that the workflow has read before; a sample
        that has them no longer needs its sources here.

    Raises
    ------
    InputError
        For all missing files at once.
    """
    problems = []
    for name, row in sheet.items():
        if os.path.exists(finished.format(sample=name)):
            continue
        for column in ("path", "labels_source", "truth_source"):
            file = row[column]
            reported = file == row["path"] and column != "path"
            if not file or reported or file in made:
                continue
            where = f"sample {name}, column {column.split('_')[0]}"
            problems += [f"{where}: {text}" for text in unreadable(file)]
    if problems:
        raise InputError(
            f"{path} names files that are not there or cannot be used (paths are relative to the "
            "sheet's folder):\n" + bullets(problems)
        )


def unreadable(path: str) -> list[str]:
    """Why a file, or one of a folder's, cannot be read, a sentence each; the first five."""
    try:
        os.stat(path)
    except PermissionError:
        return [no_permission(path)]
    except OSError:
        return [dead_link(path) or f"no such file: {path}"]
    shut: list[str] = []
    files = member_files(path, lambda error: shut.append(str(error.filename)))
    problems = [no_permission(folder) for folder in shut]
    for file in files:
        if unusable_path(file):
            problems.append(unusable_path(file))
        elif file not in shut and not os.access(file, os.R_OK):
            problems.append(dead_link(file) or no_permission(file))
    return problems[:5]


def check_columns(columns: list[str]) -> list[str]:
    """What is wrong with the header, a sentence each."""
    problems = []
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        problems.append(
            f"missing column(s) {', '.join(missing)}; seen: {', '.join(columns)}; expected "
            "columns separated by tabs, commas or semicolons"
        )
    if "" in columns:
        problems.append(f"column {columns.index('') + 1} has no name")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        problems.append(f"column(s) {', '.join(twice)} stand twice")
    for name in filter(column_problem, columns):
        if name:
            problems.append(f"column {name!r}: {column_problem(name)}; give it another name")
    known = [*CORE_COLUMNS, *SETTINGS]
    slips = {
        name: close[0] for name in columns
        if name not in known
        and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.85))
    }  # fmt: skip
    for name, meant in slips.items():
        problems.append(
            f"column {name}: is {meant} meant? If it is a column of your own, give it another name"
        )
    taken = [c for c in columns if c in RESERVED_COLUMNS or c.startswith(OBS_PREFIXES)]
    if taken := [name for name in taken if name not in slips]:
        problems.append(f"column(s) {', '.join(taken)} are written by the workflow; rename them")
    if "min_cells" in columns:
        problems.append(
            "column min_cells is not a per-sample limit: it counts cells of all samples; set "
            "qc.min_cells in the config"
        )
    return problems


def check_row(cells: dict[str, str], properties: dict[str, Any]) -> list[str]:
    """What is wrong with a row by the schema of its columns, a sentence each."""
    problems = []
    for column, rule in properties.items():
        text = cells.get(column, "")
        if column not in cells or (not text and column not in REQUIRED_COLUMNS):
            continue
        if not is_valid(typed(text, rule), rule):
            comma = numeric(rule) and re.fullmatch(r"-?\d*,\d+", text)
            mend = "; write the number with a decimal point" if comma else foreign(text, rule)
            problems.append(f"column {column}: seen {text!r}, expected {rule['description']}{mend}")
    for column, text in cells.items():
        if hidden(text):
            problems.append(
                f"column {column}: seen {text!r}, with the character {hidden(text)}, which nobody "
                "sees; expected printable text; type it again"
            )
    return problems


def foreign(text: str, rule: dict[str, Any]) -> str:
    """What to say of letters beyond A to Z, where a pattern does not have them."""
    beyond = next((letter for letter in text if letter.isalnum() and not letter.isascii()), "")
    if not beyond or "pattern" not in rule:
        return ""
    return f"; letters are A-Z and a-z alone, digits 0-9: write {beyond!r} otherwise"


def check_paths(row: dict[str, Any]) -> list[str]:
    """What is wrong with the names of the files of a row, a sentence each."""
    problems = []
    for column in ("path", "labels_source", "truth_source"):
        own = column != "path" and row[column] == row["path"]
        if not own and unusable_path(row[column]):
            problems.append(f"column {column.split('_')[0]}: {unusable_path(row[column])}")
    return problems


def sheet_warnings(sheet: dict[str, dict[str, Any]], path: str | Path) -> list[str]:
    """What a sheet says that no step will look at, a sentence each.

    Such fields change no result, and a sheet may serve several purposes: they are no errors.
    """
    sentences = []
    if is_cut(Path(path)):
        sentences.append(f"{path}: its last line has no end; is the sheet whole?")
    for role, column, other in (("query", "labels", "truth"), ("reference", "truth", "labels")):
        names = [name for name, row in sheet.items() if row["role"] == role and row[column]]
        if names:
            sentences.append(
                f"{path}: the column {column} of the {role} sample(s) {', '.join(names)} is not "
                f"used: {MEANING[column]}; move it to the column {other}, or leave it empty"
            )
    return sentences


def check_obs_columns(row: dict[str, Any]) -> list[str]:
    """Fields that name a column of the sample's file, where such a file has none."""
    if has_obs_columns(row["path"]):
        return []
    named = [
        column
        for column in ("labels", "truth")
        if row[column] and row[f"{column}_source"] == row["path"]
    ]
    named += ["subset"] if row["subset"] else []
    fields = {"batch": row["batch"], **row["extra"]}
    named += [column for column, text in fields.items() if text.startswith(FROM_OBS)]
    table = "a csv or tsv file with the columns barcode,label"
    expected = {"labels": table, "truth": table, "batch": "the name of the batch"}
    expected |= dict.fromkeys(row["extra"], "a text")
    texts = row | fields
    return [
        f"column {column}: seen {texts[column]!r}, a column of the cells in the sample's file, but "
        f"{row['path'] or 'an empty path'} has none ({', '.join(OBS_SUFFIXES)} have); expected "
        + expected.get(column, "an empty field for such a file")
        for column in named
    ]


def check_slot(row: dict[str, Any]) -> list[str]:
    """The field `slot`, where a file has one matrix alone."""
    if not row["slot"] or has_slots(row["path"]):
        return []
    return [
        f"column slot: seen {row['slot']!r}, one of several matrices, but "
        f"{row['path'] or 'an empty path'} has one ({', '.join(SLOT_SUFFIXES)} may have several); "
        "expected an empty field for such a file"
    ]


def check_doublets(row: dict[str, Any]) -> list[str]:
    """The field `doublets`, where a file has no counts."""
    wanted = row["qc"].get("doublets", "off")
    if row["expression"] != LOG1P or wanted == "off":
        return []
    return [
        f"column doublets: seen {wanted!r}, but the sample has expression {LOG1P}, and Scrublet "
        "takes raw counts; expected off or an empty field"
    ]


def numeric(rule: dict[str, Any]) -> bool:
    """Whether a column holds numbers."""
    return rule.get("type") in ("integer", "number")


def typed(text: str, rule: dict[str, Any]) -> Any:
    """The cell's text as a number where its column holds numbers and it reads as one."""
    return as_number(text) if numeric(rule) else text


def resolve_row(
    cells: dict[str, str], folder: Path, properties: dict[str, Any], moved: dict[str, str]
) -> dict[str, Any]:
    """A row as `read_sheet` returns it: paths resolved, sources of labels, limits as numbers."""
    row: dict[str, Any] = {column: cells.get(column, "") for column in CORE_COLUMNS}
    row["path"] = resolve(row["path"], folder, moved)
    for column in ("labels", "truth"):
        spec = row[column]
        own = row["path"] if spec else ""
        row[f"{column}_source"] = resolve(spec, folder, moved) if is_label_table(spec) else own
    row["qc"] = {c: typed(cells[c], properties[c]) for c in SETTINGS if cells.get(c)}
    row["extra"] = {c: v for c, v in cells.items() if c not in CORE_COLUMNS + SETTINGS}
    return row


def resolve(text: str, folder: Path, moved: dict[str, str]) -> str:
    """A path of the sheet, relative to the working directory where it lies under it."""
    if not text:
        return ""
    absolute = os.path.abspath(os.path.join(folder, os.path.expanduser(text)))
    for old, new in moved.items():
        if Path(absolute).is_relative_to(old):
            absolute = os.path.abspath(os.path.join(new, os.path.relpath(absolute, old)))
    relative = os.path.relpath(absolute)
    return absolute if relative.startswith("..") else relative


def mixed_labels(sheet: dict[str, dict[str, Any]]) -> str:
    """A sentence if some reference samples have labels and some have not."""
    references = {name: row for name, row in sheet.items() if row["role"] == "reference"}
    without = [name for name, row in references.items() if not row["labels"]]
    if not without or len(without) == len(references):
        return ""
    return (
        f"reference sample(s) {', '.join(without)} have no labels but others have; give labels "
        "for all of them (to transfer labels) or for none"
    )


def ambiguous_names(sheet: dict[str, dict[str, Any]]) -> str:
    """A sentence if a cell id `<sample>_<barcode>` could belong to two samples."""
    for name in sheet:
        for other in sheet:
            if other.startswith(f"{name}_"):
                return (
                    f"samples {name} and {other}: cells are called <sample>_<barcode>, and such a "
                    f"name could belong to either; rename one, for example {other} to "
                    f"{other.replace('_', '-')}"
                )
    return ""
