"""The first lines of the page: the atlas in numbers, and what to look at first."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dice_atlas.holdout import repeated_cells
from dice_atlas.names import FEW_ANCHORS, NO_DOUBT, SCORE, SPACES, UNASSIGNED, split_set
from dice_atlas.report import disputes, lying_apart, marker_lists
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import GRADES, Finding, graded, listed, pick, plural
from dice_atlas.report.tables import confident, percent
from dice_atlas.synthesis.names import NO_REMEDY, REGRESSION, SYNTHETIC_CELLS
from dice_atlas.transfer.conformal import (
    ROUNDING,
    conformal_quantile,
    conformal_rank,
    nonconformity,
)

# What gave the labels, behind "labels".
BY_WHOM = {
    "celltypist": "of the CellTypist model",
    "dice": "transferred in the denoised (DICE) space",
    "pca": "transferred in the PCA space",
    "linear": "of the linear model",
    "consensus": "of the consensus",
}
# Where a reader is told. Not tests: places to look at.
MUCH_LOST = 0.5
FEW_COMMON = 0.5
MANY_DOUBLETS = 0.1
MANY_UNASSIGNED = 0.2
# Cells with a smaller p value are unlike the reference; more than this share of them is too many.
UNLIKE = 0.01
MANY_UNLIKE = 0.1
SMALL_GROUP = 20
LEAST_STABILITY = 0.5
# More of a score than this from synthetic cells: the label rests on them.
MOSTLY = 0.5
# Smaller differences of two scores are none.
CLEARLY = 0.01


def by_whom(voter: str) -> str:
    """Whose labels they are, in words."""
    return BY_WHOM.get(voter, f"of the table {voter}")


def facts(data: ReportData) -> list[tuple[str, str, str]]:
    """Number, what it is, and a remark, for the boxes under the title."""
    n = {role: data.obs[data.obs["role"] == role] for role in ("reference", "query")}
    split = [f"{len(cells):,} {role}" for role, cells in n.items() if len(cells)]
    samples = [f"{cells['sample'].nunique()} {role}" for role, cells in n.items() if len(cells)]
    chosen = data.resolutions.loc[data.resolutions["chosen"] == "True", "resolution"]
    found = [
        (f"{len(data.obs):,}", "cells", ", ".join(split)),
        (f"{len(data.samples):,}", "samples" if len(data.samples) > 1 else "sample",
         ", ".join(samples)),
        (f"{len(data.clusters)}", "clusters" if len(data.clusters) > 1 else "cluster",
         f"resolution {chosen.iloc[0]:g}" if len(chosen) else ""),
    ]  # fmt: skip
    if data.transferred and len(data.query):
        total, settings = len(data.query), data.settings.calls
        lost = (data.query["cell_type"] == UNASSIGNED).mean()
        found += [
            (percent(confident(data.query).mean(), total),
             "one possible label" if disputes.falls_short(data) else "confident labels",
             f"one label at {settings.coverage:.0%} coverage"),
            (percent(lost, total), "unassigned",
             unassigned_rules(data)),
        ]  # fmt: skip
        right = data.metric("accuracy_known", data.settings.voters.final)
        if right is not None:
            cells = known_cells(data)
            found.append(
                (
                    percent(right, cells),
                    "labels right",
                    f"of {cells:,} with a true type that the reference has",
                )
            )
    if data.by_markers:
        given = (data.obs["cell_type"] != UNASSIGNED).mean()
        found.append((percent(given, len(data.obs)), "have a label", "most by marker lists"
                      if len(data.reference) else "by marker lists"))  # fmt: skip
        right = data.metric("accuracy", data.labelled_by)
        if right is not None:
            cells = int(truth_cells(data).sum())
            found.append((percent(right, cells), "labels right", f"of {cells:,} with a truth"))
    return found


def unassigned_rules(data: ReportData) -> str:
    """What makes a cell unassigned, in few words."""
    calls, least = data.settings.calls, data.least_score
    if calls.unassigned_below is None and data.each_sample_alone:
        rules = ["a score too low for the risk, sample by sample"]
    elif np.isinf(least):
        rules = ["no score meets the risk asked for"]
    else:
        rules = [f"score below {least:.2g}"] if least else []
    without = ""
    if calls.outside_below and data.has_support:
        if data.query["cell_type_p_reference"].notna().any():
            rules.append(f"p_reference below {calls.outside_below:g}")
        else:
            without = " (p_reference not available)"
    return (", or ".join(rules) or "no rule applies") + without


def answer(data: ReportData) -> str:
    """The atlas in one sentence or two: what the query's cells got, and how far to trust it."""
    if not data.transferred or data.query.empty:
        return summary(data)
    query = data.query
    labels = query.loc[query["cell_type"] != UNASSIGNED, "cell_type"]
    one = confident(query)
    text = (
        f"{plural(len(query), 'query cell')} got {plural(labels.nunique(), 'cell type')}. "
        f"{int(one.sum()):,} have one possible label"
    )
    right = disputes.right_of(data, one)
    if right is not None:
        share, n = right
        whose = (
            "of these"
            if n == one.sum()
            else f"of the {n:,} of these with a true type that the reference has"
        )
        text += f"; {whose}, {percent(share, n)} are right"
    if "cell_type_doubt" in query:
        n = int((query["cell_type_doubt"] != NO_DOUBT).sum())
        text += f". {n:,} have a reason for doubt"
    apart = lying_apart.samples(data)
    if apart:
        text += f". {listed(apart)} lie{'s' if len(apart) == 1 else ''} apart from the reference"
    return f"{text}."


def truth_cells(data: ReportData) -> pd.Series:
    """Number of query cells by their truth."""
    own = data.confusion[data.confusion["space"] == data.labelled_by]
    return own.groupby("truth")["cells"].sum()


def known_cells(data: ReportData) -> int:
    """Query cells whose truth is a label of the reference."""
    cells = truth_cells(data)
    return int(cells[cells.index.isin(data.reference_types)].sum())


def summary(data: ReportData) -> str:
    """The first paragraph, in words."""
    parts = []
    for role, cells in (("reference", data.reference), ("query", data.query)):
        if len(cells):
            samples = plural(cells["sample"].nunique(), f"{role} sample")
            parts.append(f"{len(cells):,} of {samples}")
    split = f", {' and '.join(parts)}"
    if len(parts) == 1:
        split = parts[0].removeprefix(f"{len(data.obs):,}")
    text = (
        f"This atlas holds {plural(len(data.obs), 'cell')}{split}, in "
        f"{plural(len(data.clusters), 'cluster')}. "
    )
    if not data.transferred:
        text += "No labels were transferred: that takes a labelled reference and a query."
        return f"{text} {by_lists(data)}" if data.by_markers else text
    query, final = data.query, data.settings.voters.final
    lost, total = (query["cell_type"] == UNASSIGNED).mean(), len(query)
    types = data.reference.loc[data.reference["cell_type"] != UNASSIGNED, "cell_type"].nunique()
    sure = "one possible label" if disputes.falls_short(data) else "a confident label"
    text += (
        f"The query's labels come from {plural(types, 'cell type')} of the reference; they are "
        f"those {by_whom(final)}. "
        f"{percent(confident(query).mean(), total)} of the query cells have {sure} "
        f"(assigned, and the only one in the cell's prediction set at "
        f"{data.settings.calls.coverage:.0%} coverage); "
        f"{percent(lost, total)} are unassigned."
    )
    right = data.metric("accuracy_known", final)
    if right is None:
        if truth_cells(data).sum():
            return text + " None of the given truth's names is a label of the reference."
        return text + " No truth was given to compare the labels with."
    n = known_cells(data)
    return text + (
        f" Of the {n:,} query cells with a given truth that the reference has, {percent(right, n)} "
        "have the right label, unassigned counted as wrong."
    )


def by_lists(data: ReportData) -> str:
    """What marker lists gave in place of a transfer."""
    text = (
        f"{marker_lists.coverage(data)} Every cell has the label of its cluster, so a cluster of "
        "several types has one label."
    )
    right, n = data.metric("accuracy", data.labelled_by), int(truth_cells(data).sum())
    if right is None:
        none = "None of the given truth's names is a type of the lists."
        return f"{text} {none if n else 'No truth was given to compare the labels with.'}"
    return text + (
        f" Of the {n:,} query cells with a given truth, {percent(right, n)} have the right label "
        "(compared by name, unassigned counted as wrong)."
    )


def look_first(data: ReportData) -> list[Finding]:
    """What a reader should look at first, worst first."""
    checks = [
        (repeated, "serious"),
        (labelled, "serious"),
        (quality, "check"),
        (batches, "check"),
        (clusters, "check"),
        (logged, "note"),
        (denoising, "note"),
        (disputes.prior, "note"),
        (disputes.unlabelled, "note"),
    ]
    if data.marker_calls is not None:
        checks.append((marker_lists.warnings, "check"))
    if data.transferred and len(data.query):
        checks += [
            (lying_apart.entries, "serious"),
            (outside, "serious"),
            (against_truth, "serious"),
            (disputes.sure_and_wrong, "serious"),
            (disputes.clusters, "check"),
            (disputes.coverage, "check"),
            (disputes.doubtful, "check"),
            (unassigned, "check"),
            (evidence, "check"),
            (synthetic, "check"),
        ]
    found = [one for check, grade in checks for one in graded(check(data), grade)]
    return sorted(found, key=lambda one: GRADES.index(one.grade))


def synthetic(data: ReportData) -> Iterator[str]:
    """Labels that rest on synthetic reference cells."""
    if "cell_type_synthetic" not in data.query:
        return
    if data.augment_scores is not None and len(data.augment_scores):
        own = data.augment_scores[data.augment_scores["metric"] == "macro_f1"]
        f1 = own.set_index(["classifier", "remedy"])["value"][REGRESSION]
        if f1[SYNTHETIC_CELLS] < f1[NO_REMEDY] - CLEARLY:
            yield (
                "Synthetic cells lower the macro F1 of labels on held-out reference cells, from "
                f"{f1[NO_REMEDY]:.3f} to {f1[SYNTHETIC_CELLS]:.3f}. Consider augment.below: 0."
            )
    resting = data.query[data.query["cell_type_synthetic"] > MOSTLY]
    resting = resting[resting["cell_type"] != UNASSIGNED]
    if len(resting):
        names = resting["cell_type"].value_counts()
        told = [f"{name} ({n:,})" for name, n in names.items()]
        yield (
            f"The labels of {plural(len(resting), 'query cell')} rest mostly on synthetic "
            f"reference cells: {listed(told)}. Check their markers."
        )


def quality(data: ReportData) -> Iterator[str | Finding]:
    """Samples that lost most cells or genes, or have many doublets."""
    common = len(data.genes)
    for row in data.qc.to_dict("records"):
        if common < FEW_COMMON * row["genes_measured"]:
            yield (
                f"Sample {row['sample']}: {common:,} of its {int(row['genes_measured']):,} genes "
                "are in all samples; the others say nothing here."
            )
        if row["cells_kept"] < MUCH_LOST * row["cells_in"]:
            yield Finding(
                f"Sample {row['sample']}: only {int(row['cells_kept']):,} of "
                f"{int(row['cells_in']):,} cells passed quality control.",
                pick=pick(sample=row["sample"]),
                action="See which limit removed them (Quality control); limits are in qc.",
            )
        if row["doublet_rate"] > MANY_DOUBLETS:
            removed = row["doublets"] == "remove"
            yield Finding(
                f"Sample {row['sample']}: {row['doublet_rate']:.0%} of its cells look like doublets"
                f" ({'removed' if removed else 'marked, not removed'}).",
                pick=pick(sample=row["sample"]),
                action="" if removed else "To remove them: qc.doublets: remove.",
            )
    none = data.qc[data.qc["doublet_rate"].isna() & (data.qc["doublets"] != "off")]
    if len(none):
        yield f"No doublet scores could be had for {listed(list(none['sample']))}."


def labelled(data: ReportData) -> Iterator[str]:
    """A reference of which few cells have a label."""
    given = data.reference["cell_type"] != UNASSIGNED
    if data.transferred and given.mean() < MUCH_LOST:
        yield (
            f"Only {int(given.sum()):,} of the {len(given):,} reference cells have a label: is the "
            "label table the right one?"
        )


def logged(data: ReportData) -> Iterator[str]:
    """Samples without counts."""
    if "without_counts" in data.provenance:
        yield (
            f"The atlas has no raw counts ({data.provenance['without_counts']}): these samples "
            "have no doublet scores and no counts per cell."
        )


def repeated(data: ReportData) -> Iterator[str]:
    """Cells that are in the reference and in the query: the same file, or a copy of it."""
    for one, other, n in repeated_cells(data.obs):
        yield (
            f"Samples {one} (reference) and {other} (query) have {n:,} cells with the same barcode "
            "and counts: are they the same data? Labels and accuracies then say nothing."
        )


def batches(data: ReportData) -> Iterator[str]:
    """What the batch correction could not do, and roles that do not mix."""
    if not data.correction["applied"]:
        if data.obs["batch"].nunique() == 1:
            yield "All cells are of one batch: there was nothing to correct, nor to check."
        elif data.correction["scope"] == "none":
            yield "Batches were not corrected (batch.scope is none)."
        else:
            yield (
                "Reference and query are one batch each, so nothing was corrected: what sets the "
                "two apart may be technical."
            )
    mixing = data.metric("ilisi_role", data.settings.cluster.embedding, "all")
    if mixing is not None and mixing < 1.1:
        yield (
            f"Reference and query hardly mix in the embedding (iLISI {mixing:.2f}; 1 is not at "
            "all, 2 is evenly): check that they hold the same kind of cells."
        )


def clusters(data: ReportData) -> Iterator[str | Finding]:
    """Clusters that one sample makes up, and clusters that are not stable."""
    shares = data.obs["sample"].value_counts(normalize=True)
    owned, names = [], []
    for cluster in data.clusters:
        cells = data.obs.loc[data.obs["cluster"] == cluster, "sample"]
        top = cells.value_counts(normalize=True)
        if len(cells) >= SMALL_GROUP and top.iloc[0] > 0.95 and shares[top.index[0]] < 0.5:
            owned.append(f"{cluster} ({top.index[0]}, {percent(top.iloc[0], len(cells))})")
            names.append(cluster)
    if owned:
        yield Finding(
            f"Clusters that nearly all come from one sample: {listed(owned)}.",
            pick=pick(cluster=names),
            action="Compare their genes with the next cluster's: a batch effect or real cells?",
        )
    chosen = data.resolutions[data.resolutions["chosen"] == "True"]
    if len(chosen) and chosen["stability"].iloc[0] < LEAST_STABILITY:
        yield (
            "The clusters are not stable: on subsamples they come out differently (mean ARI "
            f"{chosen['stability'].iloc[0]:.2f}). The cells may form a continuum."
        )


def denoising(data: ReportData) -> Iterator[str]:
    """The fallback of the sampler."""
    if data.dice.get("note"):
        yield f"Denoising: {data.dice['note']}."


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
    for key, meaning in (
        ("sample", "types that the reference lacks, or a strong batch effect"),
        ("cluster", "perhaps a type that the reference lacks"),
    ):
        shares = unlike.groupby(query[key].astype(str)).agg(["mean", "size"])
        found = shares[(shares["mean"] > MANY_UNLIKE) & (shares["size"] >= SMALL_GROUP)]
        names = [
            f"{name} ({percent(row['mean'], int(row['size']))})" for name, row in found.iterrows()
        ]
        if names:
            yield Finding(
                f"Query cells around which few find an anchor (cell_type_p_reference below "
                f"{UNLIKE:g}; {UNLIKE:.0%} are to be expected), by {key}: {listed(names)}. This is "
                f"{meaning}.",
                "serious",
                (("role", ("query",)), (key, tuple(map(str, found.index)))),
            )


def evidence(data: ReportData) -> Iterator[str | Finding]:
    """Types with little calibration, cells with few anchors, empty prediction sets."""
    query, coverage = data.query, data.settings.calls.coverage
    calibration = of_transfer(data.calibration)
    held = calibration["label"].value_counts()
    names = [label for label in data.reference["cell_type"].unique() if label != UNASSIGNED]
    few = [f"{name} ({held.get(name, 0)})" for name in sorted(names)
           if conformal_rank(held.get(name, 0), coverage) > held.get(name, 0)]  # fmt: skip
    if calibration.empty:
        yield "No reference cells could be held out: scores and prediction sets are not calibrated."
    elif few:
        yield (
            f"Too few held-out reference cells to calibrate these types on their own, so that "
            f"their prediction sets are less certain: {listed(few)}."
        )
    least = data.settings.calls.outside_below
    if data.has_support and 0 < least <= 1 / (1 + len(calibration)):
        yield (
            f"With {plural(len(calibration), 'held-out reference cell')}, cell_type_p_reference is "
            f"never below {least:g}: no cell is unassigned for it."
        )
    missed = out_of_reach(calibration, coverage)
    if missed:
        yield (
            f"Held-out reference cells of these types often have no anchor of their own type, so "
            f"that prediction sets will miss it: {listed(missed)}."
        )
    thin = (query["cell_type_n_anchors"] < FEW_ANCHORS).mean()
    # The other voters of a consensus need none.
    if thin > 0.05 and data.settings.voters.final in SPACES:
        yield (
            f"{percent(thin, len(query))} of the query cells are labelled from fewer than "
            f"{FEW_ANCHORS} anchors: their scores rest on little."
        )
    empty = (query["cell_type_set"] == "").mean()
    if empty > 0.05:
        yield Finding(
            f"{percent(empty, len(query))} of the query cells have an empty prediction set: "
            "nothing speaks for any label.",
            pick=pick(role="query", cell_type_set=""),
        )


def out_of_reach(calibration: pd.DataFrame, coverage: float) -> list[str]:
    """Labels for which the coverage asks for cells that have no evidence for their own label."""
    found = []
    for label, cells in calibration.groupby("label", sort=True):
        columns = [name for name in cells if name.startswith(SCORE)]
        behind = nonconformity(cells[columns])[:, columns.index(SCORE + str(label))]
        quantile = conformal_quantile(behind, coverage)
        if np.isfinite(quantile) and quantile >= 1 - ROUNDING:
            found.append(str(label))
    return found


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
        if lacking.sum() > n:
            text += " Are these other names for the reference's types? Truth is compared by name."
        yield Finding(text, "serious", pick(truth=list(lacking.index)))
    with_truth = int(truth_cells(data).sum())
    if 0 < with_truth < len(data.query) / 2:
        yield Finding(
            f"{with_truth:,} of the {len(data.query):,} query cells have a given truth: the "
            "metrics speak of these alone.",
            "note",
        )
    held = data.metric("set_coverage_known", final)
    if held is not None and held < disputes.least_share(coverage, n):
        yield (
            f"Prediction sets hold the truth in {percent(held, n)} of the cells, less than the "
            f"{coverage:.0%} asked for: the query is not quite like the reference."
        )
    accuracy = {name: data.metric("accuracy", name) for name in data.settings.voters.all_calls}
    own = accuracy[final]
    for name, value in accuracy.items():
        better = value is not None and own is not None and value > own + CLEARLY
        if better and disputes.beyond_chance(data, name):
            yield Finding(
                f"Labels {by_whom(name)} are right more often: {value:.1%} against {own:.1%}, "
                "unassigned counted as wrong.",
                action=f"To use them: annotate.final: {name}.",
            )
