"""Put the tables of the benchmarks of annotation into docs/annotation-benchmark.md.

PYTHONPATH=workflow_scripts python docs/update_annotation.py
"""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from dice_atlas.transfer.conformal import MOST_OTHERS
from update_benchmarks import markdown, named, rewrite

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "annotation-benchmark.md", DOCS / "benchmarks"
VOTERS = ["pca", "dice", "linear", "consensus"]
# Rules that label cells.
LABELLING = (
    "find_anchors", "transfer_labels", "vote_linear", "combine_voters", "call_labels",
    "estimate_shift", "explain_labels",
)  # fmt: skip
# Sets of two studies; the others are parts of one.
ACROSS = ("4k-3k", "4k-zheng", "zheng-3k", "donors", "panc8", "cel-drop")


def means(table: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Means over the sets of the means over their seeds, voters in order."""
    by_set = table.groupby(["set", "voter", *keys]).mean(numeric_only=True).drop(columns="seed")
    found = by_set.groupby(["voter", *keys]).mean()
    order = {voter: place for place, voter in enumerate(VOTERS)}
    return found.reset_index().sort_values(["voter", *keys], key=lambda s: s.map(order).fillna(s))


def read(name: str) -> pd.DataFrame:
    """A table of docs/benchmarks."""
    return pd.read_csv(FOLDER / f"{name}.tsv", sep="\t", dtype={"set": str})


def percent(share: float, digits: int = 1) -> str:
    """A share as text. Its ~ becomes a blank where no line is broken any more."""
    return f"{100 * share:.{digits}f}~%"


def celltypist() -> str:
    """Share of right labels of CellTypist."""
    found = read("annotation_celltypist")
    return f"{percent(found.groupby('set')['accuracy'].mean().mean())}, {seeds(found).lower()}"


def verdict(table: pd.DataFrame) -> str:
    """The page's first sentences."""
    right = means(table).set_index("voter")
    across = table["set"].isin(ACROSS)
    within, other = (
        means(own).set_index("voter").loc["consensus", "set_coverage"]
        for own in (table[~across], table[across])
    )
    by_set = table.groupby(["set", "voter"])["accuracy"].mean().unstack()
    single = [voter for voter in VOTERS if voter != "consensus"]
    behind = int((by_set["consensus"] < by_set[single].max(axis=1)).sum())
    asked = read("annotation_risk")
    asked = asked[(asked["voter"] == "consensus") & (asked["risk"] == 0.1)]
    far = asked["set"].isin(ACROSS)
    wrong = [means(own)["wrong"].iloc[0] for own in (asked[~far], asked[far])]
    lacking = read("annotation_left_out").groupby("voter")["unassigned"].mean()["consensus"]
    lists = read("markers")
    listed = lists.loc[lists["chosen"], "accuracy"]
    stored = read("annotation_seurat").pivot(index="pair", columns="voter", values="accuracy")
    hard = stored[stored.min(axis=1) < 1]

    def beside(voter: str) -> str:
        return " and ".join(percent(share) for share in hard[voter])

    of = {voter: percent(share) for voter, share in right["accuracy"].items()}
    facts = [
        f"**Labels.** The consensus is right in {of['consensus']} of the cells: more often than "
        f"`pca`, which does what Seurat does ({of['pca']}), `dice` ({of['dice']}), `linear` "
        f"({of['linear']}) and CellTypist ({celltypist()}). On {behind} of the "
        f"{len(by_set)} sets a single voter is better.",
        f"**Beside Seurat 4.3.0 itself,** on the same cells of {len(hard)} pairs that tell methods "
        "apart: "
        f"{beside('consensus')} are right, Seurat's {beside('Seurat 4.3.0')}.",
        f"**Risk.** If 10~% of the labels may be wrong, {percent(wrong[0])} are wrong within a "
        f"study, and {percent(wrong[1])} across studies.",
        f"**Prediction sets** hold the true label in {percent(within, 0)} of the cells within a "
        f"study, and in {percent(other, 0)} across studies. 90~% are asked for.",
        "**A type that the reference lacks** is found in part: "
        f"{percent(lacking, 0)} of its cells end `unassigned`.",
        "**Marker lists,** without a reference, label "
        f"{percent(listed.min(), 0)} to {percent(listed.max(), 0)} of the cells right.",
    ]
    lines = [
        textwrap.fill(f"{place}. {fact}", 120, subsequent_indent="   ")
        for place, fact in enumerate(facts, 1)
    ]
    return "\n".join(lines).replace("~%", " %")


def set_limit(table: pd.DataFrame) -> str:
    """Prediction sets by how many cells of others a label may enter, where that changes any."""
    by_limit = table.groupby(["set", "most_others"]).mean(numeric_only=True)
    rows = []
    for name in dict.fromkeys(table["set"]):
        own = by_limit.loc[name]
        if (own == own.iloc[0]).all(axis=None):
            continue  # no label reaches a limit
        for most, row in own.sort_index(ascending=False).iterrows():
            mark = "**" if most == MOST_OTHERS else ""
            limit = "no limit" if np.isinf(most) else f"{most:g}"
            keys = ("coverage", "coverage_of_labels", "least_of_labels", "one_label")
            figures = [f"{row[key]:.3f}" for key in keys]
            rows.append([name, f"{mark}{limit}{mark}", *figures, f"{row['size']:.2f}"])
    n = table["set"].nunique() - len({row[0] for row in rows})
    head = ["set", "cells of others for each own", "sets hold the truth", "mean of the labels",
            "worst label", "sets of one label", "labels in a set"]  # fmt: skip
    same = f"No label of the other {n} sets reaches a limit: they are the same with each."
    return markdown(head, rows) + f"\n\n{same}"


def candidates(table: pd.DataFrame) -> str:
    """Voters that were not taken, beside those that were."""
    found = table.groupby(["set", "voter"], sort=False).mean(numeric_only=True)
    found = found.groupby("voter", sort=False).mean().reset_index()
    columns = {
        "voter": ("voter", "{}"), "accuracy": ("accuracy", "{:.3f}"),
        "macro_f1": ("macro F1", "{:.3f}"),
    }  # fmt: skip
    return f"Means of {seeds(table).lower()}:\n\n" + named(found, columns)


def both_scores(what: str, wide: pd.DataFrame, voters: list[str]) -> str:
    """Accuracy and macro F1 of voters: columns (score, voter), a row for each `what`."""
    rows = [
        [name, *(f"{row['accuracy', v]:.3f} / {row['macro_f1', v]:.3f}" for v in voters)]
        for name, row in wide.iterrows()
    ]
    return markdown([f"{what}: accuracy / macro F1", *voters], rows)


def seurat(table: pd.DataFrame) -> str:
    """Seurat's stored labels beside ours."""
    voters = ["Seurat 4.3.0", *VOTERS]
    wide = table.pivot(index="pair", columns="voter", values=["accuracy", "macro_f1"])
    return both_scores("pair", wide, voters)


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
    return both_scores("set", wide, VOTERS)


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
    return f"Means of {seeds(table).lower()}:\n\n" + named(found, columns)


def other_tools(table: pd.DataFrame) -> str:
    """CellTypist, scANVI and the consensus on the same cells: means over the seeds of each."""
    keys = ["set", "seed"]
    ours = read("annotation")
    ours = ours[ours["voter"] == "consensus"].set_index(keys)
    scores = ["accuracy", "macro_f1"]
    tools = {"CellTypist": table}
    if (FOLDER / "annotation_scanvi.tsv").exists():
        tools["scANVI"] = read("annotation_scanvi")
    columns, n_seeds = {}, []
    for name, own in tools.items():
        both = own.set_index(keys)[scores].join(ours[scores], rsuffix="_consensus", how="inner")
        found = both.groupby("set").mean()
        columns[name] = found[scores]
        columns[f"consensus, same cells as {name}"] = found[[f"{s}_consensus" for s in scores]]
        n_seeds.append(f"{name}: {seeds(both.reset_index()).lower()}")
    order = list(dict.fromkeys(ours.index.get_level_values("set")))
    rows = []
    for label in [*order, "mean"]:
        row = [label]
        for found in columns.values():
            some = found.mean() if label == "mean" else found.reindex([label]).iloc[0]
            text = "" if some.isna().any() else " / ".join(f"{value:.3f}" for value in some)
            part = label == "mean" and len(found) < len(order)
            row.append(f"{text} ({len(found)} sets)" if part else text)
        rows.append(row)
    return f"{'; '.join(n_seeds)}.\n\n" + markdown(["set: accuracy / macro F1", *columns], rows)


def seeds(table: pd.DataFrame) -> str:
    """How many seeds the rows of a set are means of."""
    n = table.groupby("set")["seed"].nunique()
    return f"{n.min()} seeds" if n.min() > 1 else "One seed"


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


def costs() -> str:
    """CPU seconds and memory of the rules that label cells, from the tables of docs/scale.md."""
    tables = {
        n: pd.read_csv(DOCS / f"scale/{n}.tsv", sep="\t").set_index("rule")
        for n in (10_000, 100_000)
    }
    rows = [[f"`{rule}`", str(tables[100_000].loc[rule, "jobs"])] for rule in LABELLING]
    rows.append(["all", ""])
    for table in tables.values():
        own = table.loc[list(LABELLING)]
        pairs = zip(
            [*own["cpu_seconds"], own["cpu_seconds"].sum()],
            [*own["mib_largest"], own["mib_largest"].max()], strict=True,
        )  # fmt: skip
        for row, pair in zip(rows, pairs, strict=True):
            row += [f"{value:,.0f}" for value in pair]
    head = [f"{n:,} cells: {what}" for n in tables for what in ("CPU s", "MiB")]
    return markdown(["rule", "jobs", *head], rows)


# Blocks of the page: the file in docs/benchmarks and what is made of it.
BLOCKS = {
    "verdict": ("annotation", verdict),
    "labels": ("annotation", labels), "sets": ("annotation", sets),
    "seurat": ("annotation_seurat", seurat),
    "candidates": ("annotation_candidates", candidates),
    "set_limit": ("annotation_sets", set_limit),
    "risk": ("annotation_risk", risk), "left_out": ("annotation_left_out", left_out),
    "levels": ("annotation_levels", levels), "other_tools": ("annotation_celltypist", other_tools),
    "shift": ("annotation_shift", shift),
    "markers": ("markers", markers), "markers_null": ("markers_null", markers_null),
    "markers_missing": ("markers_missing", markers_missing),
}  # fmt: skip


def main() -> None:
    """Rewrite the page in place."""
    blocks = {block: make(read(name)) for block, (name, make) in BLOCKS.items()}
    rewrite(PAGE, blocks | {"costs": costs()})


if __name__ == "__main__":
    main()
