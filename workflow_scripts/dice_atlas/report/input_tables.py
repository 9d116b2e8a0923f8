"""Tables of what went in: files and quality control."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dice_atlas.counts.criteria import CRITERIA, METRICS
from dice_atlas.names import DECIDED
from dice_atlas.report.tables import Table, number

QC_TITLES = {
    "genes_measured": "genes in the file",
    "cells_in": "cells before",
    "cells_kept": "cells kept",
    **{f"removed_{c.setting}": f"removed: {c.title}" for c in CRITERIA},
    "removed_mad": "removed: outlier",
    "removed_doublet": "removed: doublet",
    **{f"median_{metric.short}": metric.median for metric in METRICS},
    "doublet_rate": "doublet rate",
    "doublet_threshold": "doublet threshold",
    **{c.setting: f"limit: {c.unit}" for c in CRITERIA},
    "n_mads": "limit: MADs",
}
# At most so many samples are columns: there are more numbers than fit beside each other.
FEW_SAMPLES = 6


def file_table(inputs: Mapping[str, Mapping[str, Any]]) -> Table:
    """What was read from each sample's file, and what was decided about it.

    Parameters
    ----------
    inputs : `source` of each sample, by its name.
    """
    decided = {sample: source.get("decided", {}) for sample, source in inputs.items()}
    used = [key for key in DECIDED if any(own.get(key) for own in decided.values())]
    rows = [
        [sample, source["format"], *(decided[sample].get(key, "") for key in used)]
        for sample, source in inputs.items()
    ]
    columns = ["sample", "format", *(DECIDED[key] for key in used)]
    return Table(columns, rows, [False] * len(columns))


def used_columns(qc: pd.DataFrame) -> list[str]:
    """Columns of qc.tsv that are shown: no limits that were not used, nor what they removed."""
    unused = {
        "removed_mad": qc["n_mads"].isna().all(),
        "removed_doublet": (qc["doublets"] != "remove").all(),
    }
    for criterion in CRITERIA:
        idle = (qc[criterion.setting] == criterion.off).all()
        unused |= {criterion.setting: idle, f"removed_{criterion.setting}": idle}
    for metric in (metric for metric in METRICS if metric.apart):
        unused[f"median_{metric.short}"] = not qc[f"median_{metric.short}"].any()
    return [name for name in QC_TITLES if qc[name].notna().any() and not unused.get(name)]


def qc_table(qc: pd.DataFrame) -> Table:
    """The QC summary."""
    used, rows = used_columns(qc), []
    for row in qc.to_dict("records"):
        texts = [row["sample"], row["role"], row["batch"]]
        for name in used:
            value = row[name]
            rate = name == "doublet_rate" and not np.isnan(value)
            digits = 2 if name == "doublet_threshold" else None
            texts.append(f"{value:.1%}" if rate else number(value, digits))
        rows.append(texts)
    columns = ["sample", "role", "batch", *(QC_TITLES[name] for name in used)]
    if len(rows) > FEW_SAMPLES:
        return Table(columns, rows, [False] * 3 + [True] * len(used))
    head, *body = [list(fields) for fields in zip(columns, *rows, strict=True)]
    return Table(head, body, [False] + [True] * len(rows))
