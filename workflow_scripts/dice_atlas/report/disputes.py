"""Where labels may be wrong: clusters, types and voters that disagree, sure labels that fail."""

from collections.abc import Iterator

import numpy as np

from dice_atlas.names import AGREEING, DOUBTS, IN_VOTER, NO_DOUBT, UNASSIGNED
from dice_atlas.report import lying_apart
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import Finding, listed, pick, plural
from dice_atlas.report.tables import BY_TYPE_NOTE, confident, percent

# A cluster is disputed where another label has so much of it.
SECOND_SHARE = 0.25
# Fewer cells say little about a cluster, and fewer with a truth little about a type.
LEAST_CELLS = 20
# So much of the wrong labels have one possible label: the sets do not see the errors.
MOSTLY = 0.5


def least_share(coverage: float, n: int) -> float:
    """Share of `n` sets below which they hold the truth less often than asked, beyond chance."""
    return coverage - 2 * float(np.sqrt(coverage * (1 - coverage) / max(n, 1)))


def short_types(data: ReportData) -> list[tuple[str, float, int]]:
    """Types whose sets hold the truth less often than asked, beyond chance: share and cells."""
    coverage, found = data.settings.calls.coverage, []
    table = data.metrics[data.metrics["embedding"] == data.settings.voters.final]
    for row in table[table["metric"].str.startswith("set_coverage:")].itertuples():
        label = row.metric.removeprefix("set_coverage:")
        cells = BY_TYPE_NOTE.match(str(row.note))
        n = int(cells[1]) if cells else 0
        # No set can hold a name that the reference lacks: another entry tells of these.
        known = label in data.reference_types
        if known and n >= LEAST_CELLS and row.value < least_share(coverage, n):
            found.append((label, float(row.value), n))
    return found


def falls_short(data: ReportData) -> bool:
    """Whether sets promise less than they should, so that no label may be called confident."""
    held = data.metric("set_coverage_known", data.settings.voters.final)
    least = least_share(data.settings.calls.coverage, len(data.query))
    return bool(
        lying_apart.samples(data) or short_types(data) or (held is not None and held < least)
    )


def right_of(data: ReportData, chosen: np.ndarray) -> tuple[float, int] | None:
    """Share of right labels among some query cells whose true type the reference has; how many.

    Parameters
    ----------
    chosen : mask of the query cells.

    Returns
    -------
    tuple or None
        None where there are no such cells.
    """
    if data.truth is None:
        return None
    cells, truth = data.query[chosen], data.query_truth[chosen]
    known = truth.isin(data.reference_types)
    if not known.any():
        return None
    return float((cells["cell_type"][known] == truth[known]).mean()), int(known.sum())


def sure_doubts() -> list[str]:
    """Values of `cell_type_doubt` of cells with one possible label: those that come after."""
    names = list(DOUBTS)
    return [NO_DOUBT, *names[names.index("several_labels") + 1 :]]


def sure_and_wrong(data: ReportData) -> Iterator[str | Finding]:
    """Most of the wrong labels have one possible label: the sets do not tell of the errors."""
    if data.truth is None:
        return
    truth = data.query_truth
    known = truth.isin(data.reference_types)
    labelled = known & (data.query["cell_type"] != UNASSIGNED)
    wrong = labelled & (data.query["cell_type"] != truth)
    sure = int((wrong & confident(data.query)).sum())
    if wrong.sum() >= LEAST_CELLS and sure > MOSTLY * wrong.sum():
        yield Finding(
            f"{int(wrong.sum()):,} cells have a label that is not their given truth. {sure:,} of "
            "them have one possible label: their prediction sets do not show the error.",
            "serious",
            pick(
                role="query",
                right="wrong",
                cell_type_doubt=sure_doubts(),
                truth=sorted(set(truth[wrong])),
            ),
            "Look at their genes: the truth may be wrong, not the label.",
        )


def disputed(data: ReportData) -> dict[str, list[str]]:
    """Clusters whose label is disputed, by a second label or by the reference, and why."""
    found: dict[str, list[str]] = {}
    table = of_transfer(data.cluster_labels)
    own = table[table["space"] == data.settings.voters.final].set_index("cluster")
    for cluster in data.clusters:
        cells = data.query[data.query["cluster"] == cluster]
        names = cells.loc[cells["cell_type"] != UNASSIGNED, "cell_type"]
        shares = names.value_counts(normalize=True)
        if len(names) < LEAST_CELLS:
            continue
        reasons = []
        if len(shares) > 1 and (shares.iloc[1] > SECOND_SHARE or shares.iloc[0] < AGREEING):
            top = [f"{name} {share:.0%}" for name, share in shares.iloc[:2].items()]
            reasons.append(f"its labelled query cells are {' and '.join(top)}")
        if cluster in own.index and int(own.loc[cluster, "reference_cells"]) >= LEAST_CELLS:
            given = own.loc[cluster, "reference_label"]
            if given and given != shares.index[0]:
                reasons.append(f"most of its reference cells are {given}, not {shares.index[0]}")
        if reasons:
            found[cluster] = reasons
    return found


def clusters(data: ReportData) -> Iterator[Finding]:
    """Clusters whose label is disputed."""
    for cluster, reasons in disputed(data).items():
        yield Finding(
            f"Cluster {cluster} is disputed: {'; '.join(reasons)}.",
            pick=pick(role="query", cluster=cluster),
            action="Colour it by the genes of both types; a higher resolution (cluster.choose) may "
            "part them.",
        )


def coverage(data: ReportData) -> Iterator[str | Finding]:
    """Types whose prediction sets hold the truth less often than asked."""
    short = short_types(data)
    if short:
        told = [f"{name} ({percent(share, n)} of {n:,})" for name, share, n in short]
        yield Finding(
            "Prediction sets of these true types hold them less often than the "
            f"{data.settings.calls.coverage:.0%} asked for: {listed(told)}.",
            pick=pick(truth=[name for name, _, _ in short]),
            action="Do not take their one possible label for sure.",
        )


def doubtful(data: ReportData) -> Iterator[str | Finding]:
    """How many query cells have a reason for doubt, and which."""
    if "cell_type_doubt" not in data.query:
        return
    counts = data.query["cell_type_doubt"].value_counts()
    found = [f"{DOUBTS[name]} ({counts[name]:,})" for name in DOUBTS if counts.get(name)]
    n = int(counts.drop(NO_DOUBT, errors="ignore").sum())
    if n:
        yield Finding(
            f"{plural(n, 'query cell')} have a reason for doubt, by the first that holds: "
            f"{'; '.join(found).replace('`', '')}.",
            pick=pick(role="query", cell_type_doubt=[name for name in DOUBTS if counts.get(name)]),
            action="Colour by reason for doubt.",
            color="cell_type_doubt",
        )


def unlabelled(data: ReportData) -> Iterator[str | Finding]:
    """Clusters of reference cells without a label: a type that nobody named."""
    if not data.transferred:
        return
    for cluster in data.clusters:
        cells = data.reference[data.reference["cluster"] == cluster]
        none = (cells["cell_type"] == UNASSIGNED).to_numpy()
        if none.sum() >= LEAST_CELLS and none.mean() > MOSTLY:
            yield Finding(
                f"Cluster {cluster}: {int(none.sum()):,} of its {len(cells):,} reference cells "
                "have no label. It may be a type that the reference does not name.",
                "check",
                pick(cluster=cluster),
                "Look at its genes; name it in the reference's labels.",
            )


def prior(data: ReportData) -> Iterator[str | Finding]:
    """A network whose training did not help."""
    losses = data.loss["validation_loss"].to_numpy(dtype=float)
    if len(losses) > 1 and np.isfinite(losses).any() and int(np.nanargmin(losses)) == 0:
        yield Finding(
            "Training did not improve the prior: the weights of its start were kept.",
            "note",
            action="prior.preset: kernel needs no training.",
        )


def beyond_chance(data: ReportData, voter: str) -> bool:
    """Whether a voter's labels are right more often than the final ones, cell by cell.

    Compared are the cells in which exactly one of the two is right (two standard errors of their
    difference). Without a truth by cell, or the voter's label, the difference counts as it is.
    """
    name = f"{IN_VOTER}{voter}"
    if data.truth is None or name not in data.query:
        return True
    truth = data.query_truth
    own = data.query["cell_type"].astype(str) == truth
    other = data.query[name].astype(str) == truth
    known = truth != ""
    gained, lost = ((known & other & ~own).sum(), (known & own & ~other).sum())
    return bool(gained - lost > 2 * np.sqrt(gained + lost))
