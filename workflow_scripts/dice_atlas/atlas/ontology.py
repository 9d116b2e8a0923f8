"""Cell Ontology ids of labels, by exact names and synonyms (dice_atlas/vocabulary)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from dice_atlas.names import UNASSIGNED
from dice_atlas.vocabulary import CELL_ALIASES, CELL_ONTOLOGY

# A word, and the + or - behind a marker.
WORD = re.compile(r"[^\W_]+(?:\+|-(?=[\s,/_]|\Z))?")


def key(name: str) -> str:
    """What names that mean the same have in common.

    Case, punctuation, a plural at the end, and -positive or -negative in place of + or -.
    """
    text = name.casefold().replace("-positive", "+").replace("-negative", "- ")
    words = WORD.findall(text)
    if words and len(words[-1]) > 2 and re.search(r"[^sui]s\Z", words[-1]):
        words[-1] = words[-1][:-1]
    return " ".join(words)


@dataclass(frozen=True)
class Ontology:
    """Ids by the keys of names.

    Attributes
    ----------
    ids : of each key, more than one where the name is ambiguous.
    """

    ids: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls) -> "Ontology":
        """From the tables of the library.

        A term's own name goes before a synonym of another term and an alias. Synonyms and aliases
        that name different terms are ambiguous.
        """
        terms, aliases = (
            pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
            for path in (CELL_ONTOLOGY, CELL_ALIASES)
        )
        own = terms["kind"] == "label"
        ids: dict[str, frozenset[str]] = {}
        for rows in (terms[own], pd.concat([terms[~own], aliases])):
            found = rows.groupby(rows["name"].map(key))["id"].agg(frozenset)
            ids = {**found.to_dict(), **ids}
        return cls(ids)

    def candidates(self, label: str) -> frozenset[str]:
        """Ids of a label, with or without the word "cell" at its end; empty: it is unknown."""
        own = key(label)
        names = (own, f"{own} cell", own.removesuffix(" cell"))
        return next((self.ids[name] for name in names if name in self.ids), frozenset())


def term_ids(
    labels: Iterable[str], ontology: Ontology, given: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Cell Ontology id of each label, "" where there is not just one, and what to say of those.

    Parameters
    ----------
    labels : without doubles; `unassigned` is none.
    given : ids by label from the config, which go first.

    Returns
    -------
    ids : by label.
    notes : one sentence for each label without an id, and for each given one that is no label.
    """
    ids, notes = {UNASSIGNED: ""}, []
    names = sorted(set(labels) - {UNASSIGNED})
    for label in names:
        found = {given[label]} if label in given else ontology.candidates(label)
        ids[label] = next(iter(found)) if len(found) == 1 else ""
        if len(found) > 1:
            notes.append(f"{label} is ambiguous: {', '.join(sorted(found))}")
        elif not found:
            notes.append(f"{label} is no name of the Cell Ontology")
    notes += [f"annotate.ontology: {name} is no label" for name in sorted(set(given) - set(names))]
    return ids, notes
