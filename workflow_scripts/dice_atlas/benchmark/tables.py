"""Scores of all splits in short: means over seeds, and paired differences with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

LEVEL = 0.95
# Of the mean over data sets.
ALL = "mean of the sets"


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation (n - 1) and number of seeds of every score.

    Parameters
    ----------
    scores : `set`, `variant`, `seed`, `protocol`, `method`, `metric`, `value`.
    """
    keys = ["set", "variant", "protocol", "method", "metric"]
    means = scores.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"])
    return means.rename(columns={"std": "sd", "count": "seeds"}).reset_index()


def paired_differences(
    scores: pd.DataFrame, method: str, others: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Score of `method` minus that of each other one on the same splits.

    The interval is Student's, of the mean: over the seeds of a set, whose splits overlap; for all
    sets over the sets' means, some of which may share cells. Both are a guide and no test: what is
    shared makes them too narrow.

    Parameters
    ----------
    scores : of the base variant; see `summarize`.

    Returns
    -------
    DataFrame
        `protocol`, `metric`, `method`, `other`, `set`, `value` (of `method`), `difference`, `low`,
        `high`, `n`; low and high are NaN where n is 1.
    """
    table = scores.pivot_table(
        index=["protocol", "metric", "set", "seed"], columns="method", values="value", sort=False
    )
    rows = []
    for protocol, metric in dict.fromkeys((p, m) for p, m, _, _ in table.index):
        if metric not in metrics:
            continue
        part = table.loc[(protocol, metric)]
        for other in others:
            if other not in part or method not in part:
                continue
            gaps = (part[method] - part[other]).dropna()
            if gaps.empty:
                continue
            key = (protocol, metric, method, other)
            own = part.loc[gaps.index, method].groupby("set", sort=False).mean()
            of_sets = gaps.groupby("set", sort=False)
            for name, values in of_sets:
                rows.append((*key, name, own[name], *interval(values)))
            rows.append((*key, ALL, own.mean(), *interval(of_sets.mean())))
    columns = ["protocol", "metric", "method", "other", "set", "value"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "n"])


def variant_differences(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Score of each method in a variant minus its own in the base, on the seeds that both have.

    Parameters
    ----------
    scores : of all variants; see `summarize`.

    Returns
    -------
    DataFrame
        As of `paired_differences`, `variant` in place of `other`.
    """
    tables = []
    for (method, variant), own in scores.groupby(["method", "variant"], sort=False):
        if variant == "base":
            continue
        base = scores[(scores["method"] == method) & (scores["variant"] == "base")]
        both = pd.concat([own, base])
        table = paired_differences(both.assign(method=both["variant"]), variant, ["base"], metrics)
        tables.append(table.assign(other=variant, method=method))
    whole = pd.concat(tables) if tables else paired_differences(scores, "", [], metrics)
    return whole.rename(columns={"other": "variant"})


def interval(values: pd.Series) -> tuple[float, float, float, int]:
    """Mean, its confidence interval and the number of values."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, np.nan, np.nan, n
    half = t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half, n
