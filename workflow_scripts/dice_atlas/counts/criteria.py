"""The criteria of quality control, each written once.

Schema, sample sheet, limits, reasons, tables, figures and report loop over them. Nothing heavy is
imported here: the Snakefile reads this file for every job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATTERN_RULE = {"type": "string", "format": "regex", "description": "a regular expression"}
PERCENT_RULE = {
    "type": "number", "minimum": 0, "maximum": 100, "description": "a percentage from 0 to 100",
}  # fmt: skip
WHOLE_RULE = {"type": "integer", "minimum": 0, "description": "a whole number, 0 or more"}


@dataclass(frozen=True)
class Metric:
    """A number of every cell.

    Attributes
    ----------
    name : column of obs.
    short : in names of columns of the QC table (`median_<short>`).
    title : of its histogram.
    median : title of its median in the report.
    description : of the column of the atlas.
    mad : which side an outlier may lie on, "both" (on the log1p scale), "upper" or "" (neither).
    log : whether its histogram has a logarithmic axis.
    pattern : setting with the regular expression of the genes whose share of the counts it is,
        in per cent; "" for other metrics.
    default : of that setting.
    apart : whether those genes are none of the cell's own (spike-ins). They are set apart before
        anything else: no other metric counts them, and they do not enter the atlas.
    """

    name: str
    short: str
    title: str
    median: str
    description: str
    mad: str = ""
    log: bool = False
    pattern: str = ""
    default: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Criterion:
    """A limit of a metric.

    Attributes
    ----------
    setting : key of the config section `qc`, column of the sheet, and reason of a removed cell.
    metric : that it limits.
    side : "min" removes cells below, "max" cells above.
    rule : JSON schema of the limit.
    default : limit.
    off : limit that removes no cell.
    title : of the removed cells in the report.
    unit : of the limit in the report.
    phrase : of the removed cells in the methods section, `{}` = the limit.
    """

    setting: str
    metric: str
    side: str
    rule: Mapping[str, Any]
    default: float
    off: float
    title: str
    unit: str
    phrase: str


METRICS = (
    Metric(
        "n_genes", "genes", "Genes per cell", "median genes", "genes found in the cell",
        mad="both", log=True,
    ),
    Metric(
        "total_counts", "counts", "Counts per cell", "median counts",
        "counts of the cell, over all genes", mad="both", log=True,
    ),
    Metric(
        "percent_mito", "percent_mito", "Mitochondrial counts (%)", "median % mito.",
        "per cent of the counts from mitochondrial genes", mad="upper",
        pattern="mito_pattern", default="^(MT|mt|Mt)-",
    ),
    Metric(
        "percent_ribo", "percent_ribo", "Ribosomal counts (%)", "median % ribo.",
        "per cent of the counts from genes of ribosomal proteins",
        # Not RPS6KA1 (a kinase), RPS19BP1 (a binding protein), RPL10P9 (a pseudogene).
        pattern="ribo_pattern",
        default=r"^(RP[SL]|Rp[sl])([Aa]2?|[Pp]\d|\d+([Aa]?([Ll]\d?)?|[Xx]|[Yy]\d))$",
    ),
    Metric(
        "percent_spike", "percent_spike", "Spike-in counts (%)", "median % spike-ins",
        "per cent of all counts that are spike-ins; these are in no other column",
        pattern="spike_pattern", default="^ERCC-", apart=True,
    ),
)  # fmt: skip
# In the order in which they are given as a reason: a cell has the first that applies.
CRITERIA = (
    Criterion(
        "min_genes", "n_genes", "min", WHOLE_RULE, 200, 0, "few genes", "genes",
        "fewer than {} genes",
    ),
    Criterion(
        "max_mito_percent", "percent_mito", "max", PERCENT_RULE, 15, 100, "% mito.", "% mito.",
        "more than {}% mitochondrial counts",
    ),
    Criterion(
        "max_ribo_percent", "percent_ribo", "max", PERCENT_RULE, 100, 100, "% ribo.", "% ribo.",
        "more than {}% ribosomal counts",
    ),
    Criterion(
        "max_spike_percent", "percent_spike", "max", PERCENT_RULE, 100, 100, "% spike-ins",
        "% spike-ins", "more than {}% spike-in counts",
    ),
)  # fmt: skip
METRIC_NAMES = tuple(metric.name for metric in METRICS)
PATTERNS = tuple(metric.pattern for metric in METRICS if metric.pattern)
# Reasons of removed cells: the criteria, then what is found out by looking at all cells.
REASONS = (*(criterion.setting for criterion in CRITERIA), "mad", "doublet")
# Columns of the sheet that override the config.
SETTINGS = (*(criterion.setting for criterion in CRITERIA), *PATTERNS, "n_mads", "doublets")


def schema_properties() -> dict[str, dict[str, Any]]:
    """JSON schema of the settings of all criteria, defaults included."""
    limits = {c.setting: {**c.rule, "default": c.default} for c in CRITERIA}
    patterns = {m.pattern: {**PATTERN_RULE, "default": m.default} for m in METRICS if m.pattern}
    return limits | patterns
