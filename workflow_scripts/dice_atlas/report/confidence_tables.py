"""Tables of the confidence: what sets do not tell apart, and each query sample."""

import numpy as np

from dice_atlas.names import SEPARATOR, UNASSIGNED, split_set
from dice_atlas.report.data import ReportData, of_transfer
from dice_atlas.report.finding import pick, pick_json
from dice_atlas.report.tables import Table, confident, number, percent

# So many sets are named, the most frequent first.
MOST_SETS = 15


def set_table(data: ReportData) -> Table | None:
    """Prediction sets of several labels, and the empty ones: which types are not told apart.

    None where every set has one label.
    """
    sets, total = data.query["cell_type_set"].astype(str), len(data.query)
    counts = sets[sets.map(lambda text: len(split_set(text)) != 1)].value_counts()
    if counts.empty:
        return None
    rows: list[list[str]] = []
    picks: dict[tuple[int, int], str] = {}
    for text, n in counts.iloc[:MOST_SETS].items():
        cells = data.query[sets == text]
        picks[len(rows), 0] = pick_json(pick(role="query", cell_type_set=str(text)))
        labels = cells["cell_type"].value_counts()
        given = ", ".join(f"{name} {k:,}" for name, k in labels.iloc[:3].items())
        name = str(text).replace(SEPARATOR, f" {SEPARATOR} ") or "(empty)"
        rows.append([name, number(n), percent(n / total, total), given])
    columns = ["prediction set", "query cells", "share of query", "their labels"]
    table = Table(columns, rows, [False, True, True, False], picks=picks)
    rest = counts.iloc[MOST_SETS:]
    if len(rest):
        table.general = [f"{len(rest):,} more sets hold {rest.sum():,} cells"]
    return table


def sample_table(data: ReportData) -> Table:
    """Each query sample: its sets, and how far it lies apart from the reference."""
    shift = of_transfer(data.shift).set_index("sample")
    heads = ["sample", "query cells", "one label", "several", "empty", "unassigned", "mean labels"]
    pairs = {"agreement": "voters agree", "score": "mean score", "support": "anchor support"}
    shown = {name: title for name, title in pairs.items() if shift[name].notna().any()}
    rows: list[list[str]] = []
    picks: dict[tuple[int, int], str] = {}
    for sample in data.samples:
        cells = data.query[data.query["sample"] == sample]
        if cells.empty:
            continue
        sizes, n = cells["cell_type_set"].map(lambda text: len(split_set(text))), len(cells)
        shares = (
            confident(cells).mean(), (sizes > 1).mean(), (sizes == 0).mean(),
            (cells["cell_type"] == UNASSIGNED).mean(),
        )  # fmt: skip
        row = [sample, number(n), *(percent(share, n) for share in shares), number(sizes.mean(), 2)]
        own = shift.loc[sample] if sample in shift.index else None
        for name in shown:
            pair = (own[name], own[f"{name}_held_out"]) if own is not None else (np.nan, np.nan)
            row.append(" / ".join(number(value, 2) for value in pair))
        row.append("–" if own is None else "yes" if own["apart"] == "True" else "no")
        picks[len(rows), 0] = pick_json(pick(role="query", sample=sample))
        rows.append(row)
    columns = [*heads, *shown.values(), "lies apart"]
    numeric = [False, *[True] * (len(columns) - 2), False]
    return Table(columns, rows, numeric, picks=picks)
