"""Quality control of cells: metrics, limits, and why each cell was removed."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.criteria import CRITERIA, METRIC_NAMES, METRICS, PATTERNS, REASONS
from dice_atlas.counts.doublets import score_doublets
from dice_atlas.counts.logged import brought_to, has_one_total, is_logged
from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

# Below this share of kept cells a warning is given.
FEW_KEPT = 0.2
MAD_SCALE = 1.4826  # makes the MAD of normal data its standard deviation, as in R's mad()

# (lower, upper) limit of a metric, in its own unit.
Bands = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class QcSettings:
    """Limits of one sample.

    Attributes
    ----------
    limits : of each criterion, by its setting.
    patterns : regular expressions of the genes of metrics that are shares, by their setting.
    n_mads : outliers lie so many scaled MADs from the median; None: no such limit.
    doublets : annotate, remove or off.
    """

    limits: Mapping[str, float]
    patterns: Mapping[str, str]
    n_mads: float | None = None
    doublets: str = "annotate"

    @classmethod
    def from_config(cls, qc: Mapping[str, Any]) -> "QcSettings":
        """Settings from the `qc` section of the config, overridden by the sample's row."""
        return cls(
            {criterion.setting: qc[criterion.setting] for criterion in CRITERIA},
            {pattern: qc[pattern] for pattern in PATTERNS},
            qc["n_mads"],
            qc["doublets"],
        )

    def active(self, metric: str) -> list[float]:
        """The limits of a metric that can remove a cell."""
        return [
            self.limits[criterion.setting]
            for criterion in CRITERIA
            if criterion.metric == metric and self.limits[criterion.setting] != criterion.off
        ]


def set_apart(sample: ad.AnnData, settings: QcSettings) -> ad.AnnData:
    """The sample without features that are no genes of the cells, such as spike-ins.

    Parameters
    ----------
    sample : raw counts of `load_counts`.
    settings : their patterns say which features these are.

    Returns
    -------
    AnnData
        The other genes; obs has each such metric (the share of these features in all counts, in
        per cent), uns["source"] their names.

    Raises
    ------
    InputError
        A pattern is no regular expression, or no gene is left.
    """
    name = str(sample.obs["sample"].iloc[0])
    totals = cell_sums(sample.X)
    keep = np.ones(sample.n_vars, dtype=bool)
    for metric in (metric for metric in METRICS if metric.apart):
        pattern = settings.patterns[metric.pattern]
        columns = matching_genes(sample.var_names, pattern, metric.pattern, name)
        own = cell_sums(sample.X[:, columns])
        sample.obs[metric.name] = 100.0 * own / np.maximum(totals, 1)
        keep[columns] = False
        if columns.size:
            logger.info("%s: %d features match %s %r: set apart", name, columns.size,
                metric.pattern, pattern)  # fmt: skip
    if not keep.any():
        raise InputError(
            f"sample {name}: all {sample.n_vars} genes (such as {sample.var_names[0]!r}) match "
            "spike_pattern, expected genes of the cells beside spike-ins; correct qc.spike_pattern"
        )
    if keep.all():
        return sample
    left = sample[:, keep].copy()
    if is_logged(sample) and has_one_total(sample.X):
        # The total was one with these features; counts are normalised without them.
        left.X = brought_to(left.X, float(sample.uns["source"]["total"]))
    return left


def cell_sums(counts: sp.csr_matrix) -> np.ndarray:
    """Sum of each cell's values: whole numbers of whole numbers, however large."""
    kind = np.int64 if counts.dtype.kind in "iu" else np.float64
    return np.asarray(counts.sum(axis=1, dtype=kind)).ravel()


def cell_metrics(
    counts: sp.csr_matrix, genes: pd.Index, settings: QcSettings, sample: str
) -> pd.DataFrame:
    """The `METRICS` of every cell, but for those of features that are set apart.

    Parameters
    ----------
    counts : cells x genes, raw.
    genes : symbols, one per column.
    settings : their patterns say which genes are mitochondrial, for example.
    sample : its name, for messages.

    Returns
    -------
    DataFrame
        `n_genes` (int), `total_counts` (int), shares in per cent (0 for an empty cell).

    Raises
    ------
    InputError
        A pattern is no regular expression.
    """
    total = cell_sums(counts)
    n_genes = np.asarray((counts > 0).sum(axis=1)).ravel().astype(np.int64)
    table = pd.DataFrame({"n_genes": n_genes, "total_counts": total})
    for metric in METRICS:
        if not metric.pattern or metric.apart:
            continue
        columns = matching_genes(genes, settings.patterns[metric.pattern], metric.pattern, sample)
        limited = settings.active(metric.name) or (metric.mad and settings.n_mads is not None)
        if not columns.size and limited:
            logger.warning(
                "%s: no gene matches %s %r: %s is 0 everywhere and no limit of it removes a cell",
                sample, metric.pattern, settings.patterns[metric.pattern], metric.name,
            )  # fmt: skip
        of_genes = cell_sums(counts[:, columns])
        table[metric.name] = 100.0 * of_genes / np.maximum(total, 1)
    return table


def matching_genes(genes: pd.Index, pattern: str, setting: str, sample: str) -> np.ndarray:
    """Positions of the genes whose symbols match a pattern."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        default = next(metric.default for metric in METRICS if metric.pattern == setting)
        raise InputError(
            f"sample {sample}: {setting} {pattern!r} is no regular expression ({error}); "
            f"the default is {default}"
        ) from error
    return np.flatnonzero([compiled.search(str(name)) is not None for name in genes])


def removal_reasons(metrics: pd.DataFrame, settings: QcSettings) -> tuple[np.ndarray, Bands]:
    """Why each cell is removed ("" = it stays), and the bands of the MAD limits.

    The MAD limits are taken from the cells that the fixed limits keep (scater's `subset`):
    empty droplets would set the median otherwise.
    """
    reasons = np.full(len(metrics), "", dtype=object)
    # The first that applies is written last.
    for criterion in reversed(CRITERIA):
        values, limit = metrics[criterion.metric], settings.limits[criterion.setting]
        outside = values < limit if criterion.side == "min" else values > limit
        reasons[outside.to_numpy()] = criterion.setting
    bands: Bands = {}
    if settings.n_mads is not None and (reasons == "").any():
        bands = mad_limits(metrics[reasons == ""], settings.n_mads)
        for metric, (lower, upper) in bands.items():
            beyond = ((metrics[metric] < lower) | (metrics[metric] > upper)).to_numpy()
            reasons[beyond & (reasons == "")] = "mad"
    return reasons, bands


def mad_limits(metrics: pd.DataFrame, n_mads: float) -> dict[str, tuple[float, float]]:
    """Limits at median +- n scaled MADs, as scater::isOutlier sets them.

    Metrics limited on both sides are so on the log1p scale. The MAD is scaled by 1.4826. A metric
    whose MAD is 0 gets no limit.

    Source: McCarthy et al. 2017 (scater), doi:10.1093/bioinformatics/btw777.
    """
    limits = {}
    for metric in (metric for metric in METRICS if metric.mad):
        values = metrics[metric.name].to_numpy(float)
        if np.isnan(values).all():
            continue
        if metric.mad == "both":
            lower, upper = median_band(np.log1p(values), n_mads)
            limits[metric.name] = (float(np.expm1(lower)), float(np.expm1(upper)))
        else:
            limits[metric.name] = (-np.inf, median_band(values, n_mads)[1])
    flat = [name for name in METRIC_NAMES if name in limits and np.isnan(limits[name][1])]
    if flat:
        logger.warning("no MAD limit for %s: half of the cells or more are equal", ", ".join(flat))
    return {name: band for name, band in limits.items() if name not in flat}


def median_band(values: np.ndarray, n_mads: float) -> tuple[float, float]:
    """Median - and + n scaled MADs; NaN if the MAD is 0."""
    median = np.median(values)
    mad = MAD_SCALE * np.median(np.abs(values - median))
    if mad == 0:
        return np.nan, np.nan
    return float(median - n_mads * mad), float(median + n_mads * mad)


def require_cells(
    metrics: pd.DataFrame, reasons: np.ndarray, settings: QcSettings, sample: str
) -> None:
    """Refuse a sample of which no cell is left, with the numbers that tell why."""
    if (reasons == "").any():
        return
    fell = ", ".join(f"{(reasons == reason).sum()} to {reason}" for reason in REASONS)
    limits = ", ".join(f"{name} {limit:g}" for name, limit in settings.limits.items())
    ranges = "; ".join(
        f"{name} min {values.min():.4g}, median {values.median():.4g}, max {values.max():.4g}"
        for name, values in metrics[list(METRIC_NAMES)].items()
    )
    raise InputError(
        f"sample {sample}: no cell is left of {len(metrics)}: {fell} ({limits}, n_mads "
        f"{settings.n_mads}); seen {ranges}; loosen these limits in qc or in the sample's row"
    )


def assess_cells(sample: ad.AnnData, settings: QcSettings, seed: int) -> tuple[pd.DataFrame, Bands]:
    """Every cell's metrics, doublet score, and whether and why it is removed.

    Parameters
    ----------
    sample : see `set_apart`.
    settings : limits of the sample.
    seed : of the doublet scores.

    Returns
    -------
    cells : `cell`, the `METRICS`, `doublet_score`, `predicted_doublet`, `kept`, `reason`, in the
        order of the sample.
    bands : limits of the metrics by their MADs, and Scrublet's threshold.

    Raises
    ------
    InputError
        No cell is left, or a pattern is no regular expression.
    """
    name = str(sample.obs["sample"].iloc[0])
    cells = cell_metrics(sample.X, sample.var_names, settings, name)
    for metric in (metric for metric in METRICS if metric.apart):
        cells[metric.name] = sample.obs[metric.name].to_numpy()
    logged = is_logged(sample)
    if logged:
        # All cells have the same; shares of normalised expression are those of the counts.
        cells["total_counts"] = np.nan
    cells.insert(0, "cell", sample.obs_names.to_numpy(object))
    reasons, bands = removal_reasons(cells, settings)
    require_cells(cells, reasons, settings, name)
    passed = np.flatnonzero(reasons == "")
    cells["doublet_score"], cells["predicted_doublet"] = np.nan, False
    if logged and settings.doublets != "off":
        logger.warning(
            "%s: no doublet scores: its file holds no counts, which Scrublet takes; qc.doublets: "
            "%s does nothing here", name, settings.doublets,
        )  # fmt: skip
    elif settings.doublets != "off":
        scores, predicted, threshold = score_doublets(sample[passed], seed, name)
        bands = {**bands, "doublet_score": (-np.inf, threshold)}
        cells.loc[passed, "doublet_score"] = scores
        cells.loc[passed, "predicted_doublet"] = predicted
        if settings.doublets == "remove":
            reasons[passed[predicted]] = "doublet"
            require_cells(cells, reasons, settings, name)
    cells["kept"], cells["reason"] = reasons == "", reasons
    warn_of_loss(reasons, settings, name)
    return cells, bands


def warn_of_loss(reasons: np.ndarray, settings: QcSettings, sample: str) -> None:
    """Warn where few cells are kept, and name the limit that removed most."""
    kept = int((reasons == "").sum())
    if kept >= FEW_KEPT * len(reasons):
        return
    removed = pd.Series(reasons[reasons != ""]).value_counts()
    reason = str(removed.index[0])
    setting = {"mad": "n_mads", "doublet": "doublets"}.get(reason, reason)
    values = {**settings.limits, "n_mads": settings.n_mads, "doublets": settings.doublets}
    unit = " per cent" if setting.endswith("percent") else ""
    logger.warning(
        "%s: %d of %d cells are kept; %d fell to %s (%s%s), set in qc or in the sample's row",
        sample, kept, len(reasons), removed.iloc[0], setting, values[setting], unit,
    )  # fmt: skip


def filtered_sample(sample: ad.AnnData, cells: pd.DataFrame) -> ad.AnnData:
    """The cells that stay, with their metrics in obs and `n_cells` in var.

    Parameters
    ----------
    sample, cells : see `assess_cells`, cells in the same order.
    """
    kept = np.flatnonzero(cells["kept"])
    filtered = sample[kept].copy()
    for column in (*METRIC_NAMES, "doublet_score", "predicted_doublet"):
        filtered.obs[column] = cells[column].to_numpy()[kept]
    filtered.var["n_cells"] = np.bincount(filtered.X.indices, minlength=filtered.n_vars)
    return filtered


def summary_row(
    sample: ad.AnnData, cells: pd.DataFrame, settings: QcSettings, bands: Bands
) -> dict[str, Any]:
    """The sample's row of qc.tsv: cells in and out, medians of the kept ones, limits used.

    Parameters
    ----------
    sample, settings : see `assess_cells`.
    cells, bands : its results.
    """
    kept = cells[cells["kept"]]
    scored = cells[cells["doublet_score"].notna()]
    threshold = bands.get("doublet_score", (-np.inf, np.nan))[1]
    row: dict[str, Any] = {
        "sample": sample.obs["sample"].iloc[0],
        "role": sample.obs["role"].iloc[0],
        "batch": ",".join(pd.unique(sample.obs["batch"])),
        "genes_measured": sample.n_vars,
        "cells_in": len(cells),
        "cells_kept": len(kept),
        **{f"removed_{reason}": int((cells["reason"] == reason).sum()) for reason in REASONS},
        **{f"median_{metric.short}": median_of(kept[metric.name]) for metric in METRICS},
        # Without a threshold nothing was called.
        "doublet_rate": scored["predicted_doublet"].mean() if np.isfinite(threshold) else np.nan,
        "doublet_threshold": threshold,
        **settings.limits,
        **settings.patterns,
        "n_mads": np.nan if settings.n_mads is None else settings.n_mads,
        # Scrublet takes counts.
        "doublets": "off" if is_logged(sample) else settings.doublets,
    }
    for metric in (metric for metric in METRICS if metric.mad):
        lower, upper = bands.get(metric.name, (np.nan, np.nan))
        if metric.mad == "both":
            row[f"mad_min_{metric.name}"] = lower
        row[f"mad_max_{metric.name}"] = upper
    return row


def median_of(values: pd.Series) -> float:
    """The median; NaN where no value is known."""
    return float(values.median()) if values.notna().any() else np.nan


def join_summaries(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The samples' rows in the order of the sheet, fields as they were written."""
    tables = [pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in paths]
    return pd.concat(tables, ignore_index=True)
