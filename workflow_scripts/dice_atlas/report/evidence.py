"""What to look at first about the labels: too little evidence, types that the reference lacks."""

from collections.abc import Iterator

import pandas as pd

from dice_atlas.names import FEW_ANCHORS, SPACES, UNASSIGNED, split_set
from dice_atlas.report import disputes
from dice_atlas.report.answer import by_whom, known_cells, names_differ, truth_cells
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import Finding, listed, pick, plural
from dice_atlas.report.tables import percent
from dice_atlas.synthesis.names import NO_REMEDY, REGRESSION, SYNTHETIC_CELLS
from dice_atlas.transfer.conformal import calibrate, conformal_rank
from dice_atlas.transfer.scores import score_names, scored_labels

# Where a reader is told. Not tests: places to look at.
MANY_UNASSIGNED = 0.2
# Cells with a smaller p value are unlike the reference; more than this share of them is too many.
UNLIKE = 0.01
MANY_UNLIKE = 0.1
# More of a score than this from synthetic cells: the label rests on them.
MOSTLY = 0.5
# Smaller differences of two scores are none.
CLEARLY = 0.01


def more_labels(data: ReportData) -> str:
    """What gives more cells a label, where most of those without one have too low a score."""
    lost = data.query[data.query["cell_type"] == UNASSIGNED]
    if lost["cell_type_rule"].str.startswith("score_below").mean() <= MOSTLY:
        return ""
    if data.settings.calls.unassigned_below is None:
        return "For more labels, and more wrong ones, raise annotate.risk."
    return "For more labels, and more wrong ones, lower annotate.unassigned_below."


def unassigned(data: ReportData) -> Iterator[str | Finding]:
    """Many unassigned cells, over all or in a cluster."""
    query = data.query
    lost = query["cell_type"] == UNASSIGNED
    if lost.mean() > MANY_UNASSIGNED:
        yield Finding(
            f"{percent(lost.mean(), len(query))} of the query cells are unassigned.",
            pick=pick(role="query", cell_type=UNASSIGNED),
            action=more_labels(data),
        )
    for cluster in data.clusters:
        of_cluster = lost[query["cluster"] == cluster]
        if len(of_cluster) >= 10 and of_cluster.mean() > 0.5:
            cells = query[(query["cluster"] == cluster) & lost]
            several = cells["cell_type_set"].map(split_set).map(len) > 1
            meaning = (
                "most of these fit several labels: types that the reference does not tell apart"
                if several.mean() > 0.5
                else "it may be a type that the reference lacks"
            )
            yield Finding(
                f"Cluster {cluster}: {percent(of_cluster.mean(), len(of_cluster))} of its "
                f"{len(of_cluster):,} query cells are unassigned; {meaning}.",
                pick=pick(role="query", cluster=cluster, cell_type=UNASSIGNED),
                action="Look at their genes.",
            )


def outside(data: ReportData) -> Iterator[str | Finding]:
    """Samples and clusters with many query cells whose type the reference may lack."""
    query = data.query
    if not data.has_support:
        return
    unlike = query["cell_type_p_reference"] < UNLIKE
    for key, meaning, grade in (
        ("sample", "types that the reference lacks, or a strong batch effect", "serious"),
        ("cluster", "perhaps a type that the reference lacks, or cells of lower quality", "check"),
    ):
        shares = unlike.groupby(query[key].astype(str)).agg(["mean", "size"])
        found = shares[(shares["mean"] > MANY_UNLIKE) & (shares["size"] >= disputes.LEAST_CELLS)]
        names = [
            f"{name} ({percent(row['mean'], int(row['size']))})" for name, row in found.iterrows()
        ]
        if names:
            yield Finding(
                f"Query cells around which few find an anchor (cell_type_p_reference below "
                f"{UNLIKE:g}; {UNLIKE:.0%} are to be expected), by {key}: {listed(names)}. This is "
                f"{meaning}.",
                grade,
                (*pick(role="query"), (key, tuple(map(str, found.index)))),
                "Look at their genes; colour by p_reference.",
                "cell_type_p_reference",
            )


def little(data: ReportData) -> Iterator[str | Finding]:
    """Types with little calibration, cells with few anchors, empty prediction sets."""
    query, coverage = data.query, data.settings.calls.coverage
    calibration = of_transfer(data.calibration)
    held = calibration["label"].value_counts()
    names = [label for label in data.reference["cell_type"].unique() if label != UNASSIGNED]
    small = [name for name in sorted(names)
             if conformal_rank(held.get(name, 0), coverage) > held.get(name, 0)]  # fmt: skip
    few = [f"{name} ({held.get(name, 0)})" for name in small]
    if calibration.empty:
        yield Finding(
            "No reference cells could be held out: scores and prediction sets are not calibrated.",
            action="A reference with more labelled cells of each type mends it.",
        )
    elif few:
        yield Finding(
            f"Too few held-out reference cells to calibrate these types on their own, so that "
            f"their prediction sets are less certain: {listed(few)}.",
            pick=pick(role="reference", cell_type=small),
            action="Give the reference more cells of them, or join them (annotate.rename).",
        )
    least = data.settings.calls.outside_below
    if data.has_support and least and not data.least_p_reference:
        yield Finding(
            f"With {plural(len(calibration), 'held-out reference cell')}, cell_type_p_reference is "
            f"never below {least:g}: no cell is unassigned for it.",
            "note",
            action="A larger reference mends it, or a larger annotate.outside_below.",
        )
    # The table has one sample's scores of a held-out cell, where each sample has its own.
    missed = {} if data.each_sample_alone else short_of_coverage(calibration, coverage)
    if missed:
        shares = [f"{label} ({reached})" for label, reached in missed.items()]
        yield Finding(
            f"Too few held-out reference cells of these types have their own type in their "
            f"prediction set: {listed(shares)}. The sets of the query will miss it as often.",
            pick=pick(cell_type=list(missed)),
            action="Are they apart from their neighbours on the map? If not, join the types "
            "(annotate.rename); else give the reference more cells of them.",
        )
    thin = (query["cell_type_n_anchors"] < FEW_ANCHORS).mean()
    # The other voters of a consensus need none.
    if thin > 0.05 and data.settings.voters.final in SPACES:
        yield Finding(
            f"{percent(thin, len(query))} of the query cells are labelled from fewer than "
            f"{FEW_ANCHORS} anchors: their scores rest on little.",
            action="Colour by anchors; the consensus (annotate.final) needs none.",
            color="cell_type_n_anchors",
        )
    empty = (query["cell_type_set"] == "").mean()
    if empty > 0.05:
        yield Finding(
            f"{percent(empty, len(query))} of the query cells have an empty prediction set: "
            "nothing speaks for any label.",
            pick=pick(role="query", cell_type_set=""),
            action="Look at their genes: doublets, damaged cells, or a type that is missing.",
        )


def short_of_coverage(calibration: pd.DataFrame, coverage: float) -> dict[str, str]:
    """Labels whose own held-out cells miss the coverage, and how far and why."""
    scores, labels = calibration[score_names(calibration)], scored_labels(calibration)
    return calibrate(calibration["label"].astype(str), scores, labels, coverage).short()


def against_truth(data: ReportData) -> Iterator[str | Finding]:
    """Prediction sets that miss their coverage; types that the reference lacks; another voter."""
    n = known_cells(data)
    final, coverage = data.settings.voters.final, data.settings.calls.coverage
    lacking = truth_cells(data)
    lacking = lacking[~lacking.index.isin(data.reference_types)]
    if len(lacking):
        text = (
            f"{lacking.sum():,} query cells have a truth that the reference lacks: "
            f"{listed(list(lacking.index))}."
        )
        if names_differ(data):
            text += " Are these other names for the reference's types? Truth is compared by name."
        action = (
            "Other names of the same types can be joined (annotate.rename). Cells of a type that "
            "is really missing get another label: look at them."
        )
        yield Finding(text, "serious", pick(truth=list(lacking.index)), action)
    with_truth = int(truth_cells(data).sum())
    if 0 < with_truth < len(data.query) / 2:
        yield Finding(
            f"{with_truth:,} of the {len(data.query):,} query cells have a given truth: the "
            "metrics speak of these alone.",
            "note",
            action="Do not take them for the other cells.",
        )
    held = data.metric("set_coverage_known", final)
    if held is not None and held < disputes.least_share(coverage, n):
        yield Finding(
            f"Prediction sets hold the truth in {percent(held, n)} of the cells, less than the "
            f"{coverage:.0%} asked for: the query is not quite like the reference.",
            "serious",
            action="Do not take one possible label for sure; see which types it is below.",
        )
    if not names_differ(data):
        yield from better_voter(data)


def better_voter(data: ReportData) -> Iterator[Finding]:
    """The voter whose labels are right most often, if it is clearly ahead of the final ones.

    It must be ahead in the best labels of all cells as well: a final label that is withheld more
    often is no worse for it.
    """
    final, voters = data.settings.voters.final, data.settings.voters.all_calls
    values = {
        metric: {name: data.metric(metric, name) for name in voters}
        for metric in ("accuracy", "accuracy_top")
    }

    def ahead(metric: str, name: str) -> bool:
        own, other = values[metric][final], values[metric][name]
        return other is not None and own is not None and other > own + CLEARLY

    found = [
        name for name in voters
        if ahead("accuracy", name) and disputes.beyond_chance(data, name)
        and (values["accuracy_top"][final] is None or ahead("accuracy_top", name))
    ]  # fmt: skip
    if found:
        best = max(found, key=lambda name: values["accuracy"][name] or 0)
        yield Finding(
            f"Labels {by_whom(best)} are right more often: {values['accuracy'][best]:.1%} against "
            f"{values['accuracy'][final]:.1%}, unassigned counted as wrong.",
            action=f"To use them: annotate.final: {best}.",
        )


def synthetic(data: ReportData) -> Iterator[Finding]:
    """Labels that rest on synthetic reference cells."""
    if "cell_type_synthetic" not in data.query:
        return
    if data.augment_scores is not None and len(data.augment_scores):
        own = data.augment_scores[data.augment_scores["metric"] == "macro_f1"]
        f1 = own.set_index(["classifier", "remedy"])["value"][REGRESSION]
        if f1[SYNTHETIC_CELLS] < f1[NO_REMEDY] - CLEARLY:
            yield Finding(
                "Synthetic cells lower the macro F1 of labels on held-out reference cells, from "
                f"{f1[NO_REMEDY]:.3f} to {f1[SYNTHETIC_CELLS]:.3f}.",
                action="To do without them: augment.below: 0.",
            )
    resting = data.query[data.query["cell_type_synthetic"] > MOSTLY]
    resting = resting[resting["cell_type"] != UNASSIGNED]
    if len(resting):
        names = resting["cell_type"].value_counts()
        told = [f"{name} ({n:,})" for name, n in names.items()]
        yield Finding(
            f"The labels of {plural(len(resting), 'query cell')} rest mostly on synthetic "
            f"reference cells: {listed(told)}.",
            pick=pick(role="query", cell_type=list(names.index)),
            action="Check their markers.",
            color="cell_type_synthetic",
        )
