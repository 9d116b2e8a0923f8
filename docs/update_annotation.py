"""Put the tables of tests/benchmarks/annotation.py and markers.py into docs/annotation.md.

python docs/update_annotation.py
"""

from pathlib import Path

import pandas as pd
from update_benchmarks import markdown, named, rewrite

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "annotation.md", DOCS / "benchmarks"
VOTERS = ["pca", "dice", "linear", "consensus"]
# Sets of two studies; the others are parts of one.
ACROSS = ("4k-3k", "4k-zheng", "zheng-3k", "donors", "panc8", "cel-drop")


def means(table: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Means over the sets of the means over their seeds, voters in order."""
    by_set = table.groupby(["set", "voter", *keys]).mean(numeric_only=True).drop(columns="seed")
    found = by_set.groupby(["voter", *keys]).mean()
    order = {voter: place for place, voter in enumerate(VOTERS)}
    return found.reset_index().sort_values(["voter", *keys], key=lambda s: s.map(order).fillna(s))


def labels(table: pd.DataFrame) -> str:
    """Each voter, and the consensus."""
    columns = {
        "voter": ("voter", "`{}`"), "accuracy": ("accuracy", "{:.3f}"),
        "macro_f1": ("macro F1", "{:.3f}"), "accuracy_fixed": ("0.5", "{:.3f}"),
        "accuracy_default": ("default", "{:.3f}"),
        "unassigned_default": ("default: unassigned", "{:.3f}"),
        "calibration_error": ("calibration error", "{:.3f}"),
        "held_out": ("sets hold the truth: held out", "{:.3f}"), "across": ("across", "{:.3f}"),
        "set_size": ("labels in a set", "{:.2f}"), "cpu_seconds": ("CPU s", "{:.1f}"),
    }  # fmt: skip
    across = table["set"].isin(ACROSS)
    found = means(table).assign(
        held_out=means(table[~across])["set_coverage"].to_numpy(),
        across=means(table[across])["set_coverage"].to_numpy(),
    )
    return named(found, columns)


def sets(table: pd.DataFrame) -> str:
    """Accuracy and macro F1 by set."""
    wide = table.groupby(["set", "voter"], sort=False)[["accuracy", "macro_f1"]].mean().unstack()
    rows = [
        [name, *(f"{row['accuracy', v]:.3f} / {row['macro_f1', v]:.3f}" for v in VOTERS)]
        for name, row in wide.iterrows()
    ]
    return markdown(["set: accuracy / macro F1", *VOTERS], rows)


def risk(table: pd.DataFrame) -> str:
    """Wrong labels and labelled cells, by the risk asked for."""
    across = table["set"].isin(ACROSS)
    parts = [
        means(own, "risk").set_index(["voter", "risk"]) for own in (table[~across], table[across])
    ]
    rows = [
        [f"`{voter}`", f"{asked:g}"]
        + [
            f"{own.loc[(voter, asked), name]:.3f}"
            for own in parts
            for name in ("wrong", "assigned")
        ]
        for voter, asked in parts[0].index
    ]
    head = [f"{kind}: {what}" for kind in ("held out", "across") for what in ("wrong", "labelled")]
    return markdown(["voter", "risk asked", *head], rows)


def left_out(table: pd.DataFrame) -> str:
    """Means over the types."""
    found = table.groupby("voter").mean(numeric_only=True).loc[VOTERS].reset_index()
    columns = {
        "voter": ("voter", "`{}`"), "unassigned": ("its cells", "{:.3f}"),
        "unassigned_others": ("others", "{:.3f}"),
    }  # fmt: skip
    return f"{len(table) // len(VOTERS)} types:\n\n" + named(found, columns)


def levels(table: pd.DataFrame) -> str:
    """Each level of each set, means over seeds."""
    found = table.groupby(["set", "level"], sort=False).mean(numeric_only=True).reset_index()
    columns = {
        "set": ("set", "{}"), "level": ("level", "{}"), "labels": ("labels", "{:.0f}"),
        "accuracy": ("best label right", "{:.3f}"), "labelled": ("labelled", "{:.3f}"),
        "right": ("of these right", "{:.3f}"), "coverage": ("sets hold the truth", "{:.3f}"),
        "set_size": ("labels in a set", "{:.2f}"), "reached": ("reached", "{:.3f}"),
    }  # fmt: skip
    return f"{seeds(table)}:\n\n" + named(found, columns)


def celltypist(table: pd.DataFrame) -> str:
    """CellTypist beside the consensus, on the same cells."""
    keys = ["set", "seed"]
    known = pd.read_csv(FOLDER / "annotation.tsv", sep="\t", dtype={"set": str})
    ours = known[known["voter"] == "consensus"]
    both = table.merge(ours, on=keys, suffixes=("", "_consensus"))
    found = both.groupby("set", sort=False).mean(numeric_only=True)
    found.loc["mean"] = found.mean()
    rows = [
        [
            name,
            f"{row['accuracy']:.3f} / {row['macro_f1']:.3f}",
            f"{row['accuracy_consensus']:.3f} / {row['macro_f1_consensus']:.3f}",
            f"{row['cpu_seconds']:.1f}",
        ]
        for name, row in found.iterrows()
    ]
    head = ["set: accuracy / macro F1", "CellTypist", "consensus", "CellTypist: CPU s"]
    return f"{seeds(both)}:\n\n" + markdown(head, rows)


def seeds(table: pd.DataFrame) -> str:
    """How many seeds the rows of a set are means of."""
    n = table.groupby("set")["seed"].nunique()
    return f"Means of {n.min()} seeds" if n.min() > 1 else "One seed"


def shift(table: pd.DataFrame) -> str:
    """How far each set's query seems to lie apart, and what it lost."""
    found = table.groupby("set", sort=False).mean(numeric_only=True).reset_index()
    found = found.assign(
        disagree=found["agreement_held_out"] - found["agreement"],
        part=found["support"] / found["support_held_out"],
        flagged=table.groupby("set", sort=False)["apart"].mean().to_numpy(),
    )
    columns = {
        "set": ("set", "{}"), "lost": ("right labels lost", "{:.3f}"),
        "shift": ("`shift`", "{:.3f}"), "disagree": ("agreement lost", "{:.3f}"),
        "part": ("part of the support", "{:.2f}"), "low_p": ("low p", "{:.2f}"),
        "flagged": ("share of runs that say so", "{:.2f}"),
    }  # fmt: skip
    return named(found, columns)


# Resolutions in the table, beside the chosen one.
SHOWN = (0.4, 0.6, 1.0, 2.0)


def markers(table: pd.DataFrame) -> str:
    """Labels by marker lists, at some resolutions."""
    some = table[table["chosen"] | table["resolution"].isin(SHOWN)]
    shown = [
        f"**{r:g}**" if own else f"{r:g}"
        for r, own in zip(some["resolution"], some["chosen"], strict=True)
    ]
    columns = {
        "set": ("set", "{}"), "shown": ("resolution", "{}"), "clusters": ("clusters", "{}"),
        "accuracy": ("accuracy", "{:.3f}"), "accuracy_assigned": ("of labelled", "{:.3f}"),
        "assigned": ("labelled", "{:.3f}"), "best_possible": ("best possible", "{:.3f}"),
    }  # fmt: skip
    return named(some.assign(shown=shown), columns)


def markers_null(table: pd.DataFrame) -> str:
    """Labels by random lists."""
    columns = {
        "set": ("set", "{}"), "resolution": ("resolution", "{:g}"), "clusters": ("clusters", "{}"),
        "genes": ("random genes", "{}"), "labelled": ("clusters with a label", "{:.3f}"),
        "significant": ("or with several types that fit", "{:.3f}"),
    }  # fmt: skip
    return named(table, columns)


def markers_missing(table: pd.DataFrame) -> str:
    """What cells are called whose type the list lacks."""
    columns = {
        "set": ("set", "{}"), "type": ("missing type", "{}"), "cells": ("cells", "{}"),
        "unassigned": ("unassigned", "{:.2f}"), "called": ("most often called", "{}"),
        "called_share": ("share", "{:.2f}"),
    }  # fmt: skip
    some = table.fillna({"called": "–"})
    return named(some.assign(type=some["type"].str.replace("|", " or ")), columns)


# Blocks of the page: the file in docs/benchmarks and what is made of it.
BLOCKS = {
    "labels": ("annotation", labels), "sets": ("annotation", sets),
    "risk": ("annotation_risk", risk), "left_out": ("annotation_left_out", left_out),
    "levels": ("annotation_levels", levels), "celltypist": ("annotation_celltypist", celltypist),
    "shift": ("annotation_shift", shift),
    "markers": ("markers", markers), "markers_null": ("markers_null", markers_null),
    "markers_missing": ("markers_missing", markers_missing),
}  # fmt: skip


def main() -> None:
    """Rewrite docs/annotation.md in place."""
    rewrite(
        PAGE,
        {
            block: make(pd.read_csv(FOLDER / f"{name}.tsv", sep="\t", dtype={"set": str}))
            for block, (name, make) in BLOCKS.items()
        },
    )


if __name__ == "__main__":
    main()
