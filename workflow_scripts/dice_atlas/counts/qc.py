"""Quality control of cells: metrics, limits, and why each cell was removed."""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)

# In the order in which they are given: a cell has the first that applies.
REASONS = ("min_genes", "max_mito_percent", "mad", "doublet")
MAD_SCALE = 1.4826  # makes the MAD of normal data its standard deviation, as in R's mad()
METRICS = ("n_genes", "total_counts", "percent_mito")


@dataclass(frozen=True)
class Limits:
    """Limits of one sample; `mad` holds (lower, upper) per metric, in the metric's own unit."""

    min_genes: int
    max_mito_percent: float
    mito_pattern: str
    n_mads: float | None = None
    mad: dict[str, tuple[float, float]] = field(default_factory=dict)


def cell_metrics(
    counts: sp.csr_matrix, genes: pd.Index, mito_pattern: str, sample: str
) -> pd.DataFrame:
    """Genes found, counts and per cent of mitochondrial counts of every cell.

    Parameters
    ----------
    counts : cells x genes, raw.
    genes : symbols, one per column.
    mito_pattern : regular expression of the mitochondrial genes' symbols.
    sample : its name, for messages.

    Returns
    -------
    DataFrame
        `n_genes` (int), `total_counts` (int), `percent_mito` (0 to 100; 0 for an empty cell).
    """
    try:
        pattern = re.compile(mito_pattern)
    except re.error as error:
        raise InputError(
            f"sample {sample}: mito_pattern {mito_pattern!r} is no regular expression ({error}); "
            "the default is ^(MT|mt|Mt)-"
        ) from error
    mito = np.array([pattern.search(str(name)) is not None for name in genes], dtype=bool)
    if not mito.any():
        logger.warning(
            "%s: no gene matches mito_pattern %r: percent_mito is 0 everywhere and its limit "
            "removes no cell",
            sample,
            mito_pattern,
        )
    total = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    mito_counts = np.asarray(counts[:, np.flatnonzero(mito)].sum(axis=1, dtype=np.int64)).ravel()
    return pd.DataFrame(
        {
            "n_genes": np.asarray((counts > 0).sum(axis=1)).ravel().astype(np.int64),
            "total_counts": total,
            "percent_mito": 100.0 * mito_counts / np.maximum(total, 1),
        }
    )


def removal_reasons(metrics: pd.DataFrame, limits: Limits) -> tuple[np.ndarray, Limits]:
    """Why each cell is removed ("" = it stays), and the limits with the MAD limits filled in.

    The MAD limits are taken from the cells that the fixed limits keep (scater's `subset`):
    empty droplets would set the median otherwise.
    """
    reasons = np.full(len(metrics), "", dtype=object)
    few = (metrics["n_genes"] < limits.min_genes).to_numpy()
    mito = (metrics["percent_mito"] > limits.max_mito_percent).to_numpy()
    reasons[mito] = "max_mito_percent"
    reasons[few] = "min_genes"
    if limits.n_mads is not None and (reasons == "").any():
        found = mad_limits(metrics[reasons == ""], limits.n_mads)
        limits = Limits(**{**vars(limits), "mad": found})
        for metric, (lower, upper) in found.items():
            outside = ((metrics[metric] < lower) | (metrics[metric] > upper)).to_numpy()
            reasons[outside & (reasons == "")] = "mad"
    return reasons, limits


def mad_limits(metrics: pd.DataFrame, n_mads: float) -> dict[str, tuple[float, float]]:
    """Limits at median +- n scaled MADs, as scater::isOutlier sets them.

    `total_counts` and `n_genes` are limited on both sides on the log1p scale, `percent_mito`
    above only. The MAD is scaled by 1.4826. A metric whose MAD is 0 gets no limit.

    Source: McCarthy et al. 2017 (scater), doi:10.1093/bioinformatics/btw777.
    """
    limits = {}
    for metric in ("total_counts", "n_genes"):
        lower, upper = median_band(np.log1p(metrics[metric].to_numpy(float)), n_mads)
        limits[metric] = (float(np.expm1(lower)), float(np.expm1(upper)))
    _, upper = median_band(metrics["percent_mito"].to_numpy(float), n_mads)
    limits["percent_mito"] = (-np.inf, upper)
    flat = [metric for metric, (_, upper) in limits.items() if np.isnan(upper)]
    if flat:
        logger.warning("no MAD limit for %s: half of the cells or more are equal", ", ".join(flat))
    return {metric: band for metric, band in limits.items() if metric not in flat}


def median_band(values: np.ndarray, n_mads: float) -> tuple[float, float]:
    """Median - and + n scaled MADs; NaN if the MAD is 0."""
    median = np.median(values)
    mad = MAD_SCALE * np.median(np.abs(values - median))
    if mad == 0:
        return np.nan, np.nan
    return float(median - n_mads * mad), float(median + n_mads * mad)


def require_cells(metrics: pd.DataFrame, reasons: np.ndarray, limits: Limits, sample: str) -> None:
    """Refuse a sample of which no cell is left, with the numbers that tell why."""
    if (reasons == "").any():
        return
    fell = ", ".join(f"{(reasons == reason).sum()} to {reason}" for reason in REASONS)
    ranges = "; ".join(
        f"{name} min {values.min():.4g}, median {values.median():.4g}, max {values.max():.4g}"
        for name, values in metrics[list(METRICS)].items()
    )
    raise InputError(
        f"sample {sample}: no cell is left of {len(metrics)}: {fell} (min_genes "
        f"{limits.min_genes}, max_mito_percent {limits.max_mito_percent:g}, n_mads "
        f"{limits.n_mads}); seen {ranges}; loosen these limits in qc or in the sample's row"
    )


def filtered_sample(sample: ad.AnnData, cells: pd.DataFrame) -> ad.AnnData:
    """The cells that stay, with their metrics in obs and `n_cells` in var.

    Parameters
    ----------
    sample : raw counts of `load_counts`.
    cells : per cell `n_genes`, `total_counts`, `percent_mito`, `doublet_score`,
        `predicted_doublet`, `kept`, in the same order.
    """
    kept = np.flatnonzero(cells["kept"])
    filtered = sample[kept].copy()
    for column in (*METRICS, "doublet_score", "predicted_doublet"):
        filtered.obs[column] = cells[column].to_numpy()[kept]
    filtered.var["n_cells"] = np.bincount(filtered.X.indices, minlength=filtered.n_vars)
    return filtered


def summary_row(sample: ad.AnnData, cells: pd.DataFrame, limits: Limits, doublets: str) -> dict:
    """The sample's row of qc.tsv: cells in and out, medians of the kept ones, limits used."""
    kept = cells[cells["kept"]]
    scored = cells[cells["doublet_score"].notna()]
    row: dict[str, Any] = {
        "sample": sample.obs["sample"].iloc[0],
        "role": sample.obs["role"].iloc[0],
        "batch": ",".join(pd.unique(sample.obs["batch"])),
        "genes_measured": sample.n_vars,
        "cells_in": len(cells),
        "cells_kept": len(kept),
        **{f"removed_{reason}": int((cells["reason"] == reason).sum()) for reason in REASONS},
        "median_genes": kept["n_genes"].median(),
        "median_counts": kept["total_counts"].median(),
        "median_percent_mito": kept["percent_mito"].median(),
        "doublet_rate": scored["predicted_doublet"].mean() if len(scored) else np.nan,
        "min_genes": limits.min_genes,
        "max_mito_percent": limits.max_mito_percent,
        "mito_pattern": limits.mito_pattern,
        "n_mads": np.nan if limits.n_mads is None else limits.n_mads,
        "doublets": doublets,
    }
    for metric in ("n_genes", "total_counts", "percent_mito"):
        lower, upper = limits.mad.get(metric, (np.nan, np.nan))
        if metric != "percent_mito":
            row[f"mad_min_{metric}"] = lower
        row[f"mad_max_{metric}"] = upper
    return row
