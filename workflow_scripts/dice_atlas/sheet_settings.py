"""Settings that must go together with the sample sheet, checked before anything runs."""

import re
from typing import Any

from dice_atlas.conditions.settings import CompareSettings, require_units
from dice_atlas.counts.criteria import CRITERIA, PERCENT_RULE
from dice_atlas.errors import InputError, bullets
from dice_atlas.names import FROM_OBS, LOG1P


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


def limits_as_shares(qc: dict[str, Any], sheet: dict[str, dict[str, Any]]) -> list[str]:
    """Limits in per cent that were perhaps meant as shares, a sentence each; they are no errors."""
    places = {"qc": qc, **{f"sample {name}": row["qc"] for name, row in sheet.items()}}
    return [
        f"{place}: {criterion.setting} is {limits[criterion.setting]:g}, which is less than one "
        f"per cent; write {100 * limits[criterion.setting]:g} if you mean "
        f"{100 * limits[criterion.setting]:g} %"
        for place, limits in places.items()
        for criterion in CRITERIA
        # Of spike-ins, less than one per cent may well be meant.
        if criterion.rule is PERCENT_RULE
        and criterion.metric != "percent_spike"
        and 0 < limits.get(criterion.setting, 0) < 1
    ]


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
