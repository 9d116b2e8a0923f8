"""How labels relate: new names of labels, and the coarser label that each belongs to."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import pandas as pd

from dice_atlas.counts.labels import cleaned, cleaned_pairs, read_fields
from dice_atlas.errors import InputError, bullets
from dice_atlas.names import SEPARATOR, split_set
from dice_atlas.tables import read_part
from dice_atlas.texts import with_near
from dice_atlas.transfer.levels import LEVEL
from dice_atlas.transfer.settings import LevelSettings


def relate(settings: LevelSettings, reference: pd.DataFrame, others: Iterable[str]) -> pd.DataFrame:
    """The name of every label at each level.

    Parameters
    ----------
    settings : new names and parents.
    reference : its cells: `sample`, `label` ("" = none), `label_parents` (coarsest first, joined
        by "|", where the sheet names several columns of labels).
    others : labels of the truth and of tables.

    Returns
    -------
    label_levels.tsv: `label`, `level_1` (coarsest) ... `level_n`; labels in alphabetical order.

    Raises
    ------
    InputError
        `rename` or `parents` has a label that nobody knows, a label has two parents, or is its own
        ancestor, or `rename` leaves a reference cell without a label.
    """
    own = sorted(set(reference["label"].astype(str)) - {""})
    known = {*own, *others} - {""}
    rename = cleaned_pairs(settings.rename, "annotate.rename")
    given, added = given_parents(reference), read_parents(settings)
    named = {*known, *(end for edge in given for end in edge[:2]), *(edge[1] for edge in added)}
    require_labels(rename, named, "annotate.rename")
    require_labels([edge[0] for edge in added], {*named, *rename.values()}, "annotate.parents")
    if gone := [label for label in own if rename.get(label) == ""]:
        raise InputError(
            f"annotate.rename: {', '.join(map(repr, gone))} of the reference would have no name; "
            "an empty name is for labels that only a truth or a table has"
        )
    edges = single_parents(
        (rename.get(child, child), rename.get(parent, parent), where)
        for child, parent, where in given + added
    )
    final = {label: rename.get(label, label) for label in {*named, *rename.values()} - {""}}
    paths = {label: path_of(name, edges) for label, name in sorted(final.items())}
    depth = max((len(paths[label]) for label in own), default=1)
    rows = [
        (label, *(path[min(level, len(path) - 1)] for level in range(depth)))
        for label, path in paths.items()
    ]
    return pd.DataFrame(rows, columns=["label", *(f"{LEVEL}{i + 1}" for i in range(depth))])


def read_reference(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sample, label and `label_parents` ("" = none) of the cells of filtered.h5ad files."""
    columns = ["sample", "label", "label_parents"]
    parts = [read_part(path, "obs").reindex(columns=columns).astype(object) for path in paths]
    return pd.concat(parts).fillna("").astype(str)


def given_parents(reference: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Label, parent and where both are seen, by the sheet's columns; empty fields tell nothing."""
    if "label_parents" not in reference:
        return []
    found = []
    columns = ["label_parents", "label", "sample"]
    counted = reference[columns].astype(str).value_counts(sort=False)
    for (coarse, fine, sample), n in counted.items():
        path = [name for name in (*split_set(coarse), fine) if fine and name]
        found += [(b, a, f"{n} cells of {sample}") for a, b in pairwise(path)]
    return found


def read_parents(settings: LevelSettings) -> list[tuple[str, str, str]]:
    """Label, parent and where that is said, by the config."""
    where, pairs = "annotate.parents", settings.parents
    if isinstance(pairs, str):
        where = pairs
        table = read_fields(where, ("label", "parent"), "annotate.parents")
        rows = list(zip(table["label"], table["parent"], strict=True))
    else:
        rows = list(pairs.items())
    clean = [(cleaned(str(child), where), cleaned(str(parent), where)) for child, parent in rows]
    return [(child, parent, where) for child, parent in clean if child and parent]


def require_labels(seen: Iterable[str], known: Iterable[str], where: str) -> None:
    """Check that labels of a setting are known.

    Raises
    ------
    InputError
        One is not; the message has the known labels that are nearly equal.
    """
    known = sorted({*known} - {""})
    if unknown := [name for name in seen if name not in known]:
        raise InputError(
            f"{where}: {', '.join(with_near(name, known) for name in unknown)} is no label of the "
            f"reference, the truth or a table; expected some of {', '.join(map(repr, known))}"
        )


def single_parents(edges: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The parent of each label.

    Parameters
    ----------
    edges : label, parent, and where that is said.

    Raises
    ------
    InputError
        A label has two.
    """
    found: dict[str, dict[str, str]] = {}
    for child, parent, where in edges:
        if child and parent and child != parent:
            seen = found.setdefault(child, {})
            seen[parent] = "; ".join(filter(None, [seen.get(parent), where]))
    several = {child: parents for child, parents in found.items() if len(parents) > 1}
    if several:
        said = [
            f"{child!r} belongs to "
            + " and to ".join(f"{parent!r} ({where})" for parent, where in parents.items())
            for child, parents in several.items()
        ]
        raise InputError(
            "levels of labels: each label has one coarser label, but\n"
            + bullets(said)
            + "\ncorrect the cells' labels or annotate.parents, or give one of the two another "
            "name in the file"
        )
    return {child: next(iter(parents)) for child, parents in found.items()}


def path_of(label: str, parents: Mapping[str, str]) -> list[str]:
    """A label and its ancestors, coarsest first.

    Raises
    ------
    InputError
        The label is its own ancestor.
    """
    path = [label]
    while path[0] in parents:
        parent = parents[path[0]]
        if parent in path:
            circle = f" {SEPARATOR} ".join([parent, *path[: path.index(parent) + 1]])
            raise InputError(
                f"levels of labels: {parent!r} is its own ancestor ({circle}); expected labels "
                "from coarse to fine, each with names of its own; correct annotate.parents or the "
                "order of the columns of `labels`"
            )
        path.insert(0, parent)
    return path
