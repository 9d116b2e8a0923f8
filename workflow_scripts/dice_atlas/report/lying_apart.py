"""Query samples that lie apart from the reference: which they are, and what a reader is told."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import Finding, listed, pick


def samples(data: ReportData) -> list[str]:
    """Query samples that lie apart from the reference, by anchors, voters or scores."""
    return list(dict.fromkeys([*without_support(data), *map(str, shifted(data)["sample"])]))


def shifted(data: ReportData) -> pd.DataFrame:
    """Rows of shift.tsv: samples that lie apart by voters, scores or anchor support."""
    table = of_transfer(data.shift)
    return table[table["apart"] == "True"]


def without_support(data: ReportData) -> list[str]:
    """Query samples in which types that the reference lacks cannot be told."""
    if not data.has_support or not len(of_transfer(data.calibration)):
        return []
    missing = data.query["cell_type_p_reference"].isna()
    unknown = missing.groupby(data.query["sample"].astype(str)).all()
    return list(unknown.index[unknown])


def taken_for_unknown(data: ReportData, sample: str) -> int:
    """Cells of a sample that are unassigned because the reference seems to lack their type."""
    own = data.query.loc[data.query["sample"] == sample, "cell_type_rule"]
    return int(own.astype(str).str.startswith("p_reference").sum())


def entries(data: ReportData) -> Iterator[Finding]:
    """One entry for each sample that lies apart; those that only lack support share one."""
    alone = without_support(data)
    action = (
        "Look at the markers of its labels before you use them. A reference nearer to the sample "
        "helps; asking for surer labels helps little."
    )
    for row in shifted(data).itertuples():
        seen = [f"the mean score is {row.score:.2f} ({row.score_held_out:.2f})"]
        if not np.isnan(row.agreement):
            seen.insert(
                0, f"voters agree in {row.agreement:.0%} of cases ({row.agreement_held_out:.0%})"
            )
        if not np.isnan(row.support):
            seen.append(f"the anchor support is {row.support:.2f} ({row.support_held_out:.2f})")
        text = (
            f"Sample {row.sample} lies apart from the reference: {'; '.join(seen)}. In brackets: "
            f"held-out reference cells with the same labels. {promised(data)}"
        )
        if str(row.sample) in alone:
            alone.remove(str(row.sample))
            text += (
                " Cells of types that the reference lacks cannot be told there (no p_reference)."
            )
        elif n := taken_for_unknown(data, str(row.sample)):
            text += (
                f" {n:,} of its cells are unassigned by cell_type_p_reference: in such a sample, "
                "these may be common types."
            )
        yield Finding(text, "serious", pick(role="query", sample=str(row.sample)), action)
    if alone:
        yield Finding(
            "These samples lie apart from the reference as a whole (another technology or "
            "quality): cells of types that it lacks cannot be told there, and prediction sets "
            f"promise less: {listed(alone)}.",
            "serious",
            pick(role="query", sample=alone),
            action,
        )


def promised(data: ReportData) -> str:
    """That what was calibrated on held-out cells need not hold for such a sample."""
    calls = data.settings.calls
    coverage = f"the coverage of the prediction sets ({calls.coverage:.0%})"
    if calls.unassigned_below is not None:
        return f"{coverage[0].upper()}{coverage[1:]} is not promised there."
    return f"Neither the risk asked for ({calls.risk:.0%}) nor {coverage} is promised there."
