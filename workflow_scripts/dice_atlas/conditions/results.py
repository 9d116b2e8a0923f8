"""Tables of a comparison: genes, shares, what was tested, and which findings hold."""

import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from dice_atlas.conditions.composition import compare_shares
from dice_atlas.conditions.design import Comparison, comparisons, unestimable
from dice_atlas.conditions.expression import LEAST_GENES, compare_genes, enough_counts
from dice_atlas.conditions.settings import LABEL, WEIGHTINGS, CompareSettings

logger = logging.getLogger(__name__)

HOLDS, FAILS, UNTESTED = "yes", "no", "untested"
GENE_COLUMNS = ["base_mean", "log2_fold_change", "standard_error", "p_value", "p_adjusted"]
SHARE_COLUMNS = [
    "share_baseline", "share_condition", "log2_odds_ratio", "interval_low", "interval_high",
    "p_value", "p_adjusted",
]  # fmt: skip


@dataclass(frozen=True)
class Results:
    """The tables of all comparisons.

    Attributes
    ----------
    genes : by condition, type and gene.
    composition : by condition and type.
    types : by condition, type and weighting: replicates, cells, numbers of genes, or the reason why
        the type was not tested.
    """

    genes: pd.DataFrame
    composition: pd.DataFrame
    types: pd.DataFrame


def by_weighting(tables: dict[str, pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Tables of the weightings side by side; columns of all but the first have a suffix."""
    named = [
        table.reindex(columns=columns).add_suffix("" if name == LABEL else f"_{name}")
        for name, table in tables.items()
    ]
    return pd.concat(named, axis=1)


def add_findings(table: pd.DataFrame, effect: str, fdr: float) -> pd.DataFrame:
    """The table with `finding`, and for each other weighting whether the finding holds in it.

    Parameters
    ----------
    table : of `by_weighting`.
    effect : column of the estimate.
    fdr : a finding has a lower adjusted p value.

    It holds ("yes") if it is a finding there too, with the same sign; "untested": there is no
    p value; "": no finding.
    """
    found = (table["p_adjusted"] < fdr).to_numpy()
    table = table.assign(finding=found)
    for name in WEIGHTINGS[1:]:
        same = np.sign(table[f"{effect}_{name}"]) == np.sign(table[effect])
        holds = np.where(same & (table[f"p_adjusted_{name}"] < fdr), HOLDS, FAILS)
        holds = np.where(table[f"p_value_{name}"].isna(), UNTESTED, holds)
        table[f"holds_{name}"] = np.where(found, holds, "")
    return table


def genes_of_type(
    sums: ad.AnnData, pair: Comparison, weighting: str, settings: CompareSettings, n_cpus: int
) -> tuple[dict[str, object], pd.DataFrame]:
    """What was tested of one type and weighting, and the genes' table (empty: not tested).

    Parameters
    ----------
    sums : rows of one type, see `pseudobulk.sum_pseudobulk`; names are the units'.
    """
    cells = sums.obs[f"cells_{weighting}"]
    units = pair.usable(cells >= settings.min_cells)
    design = pair.design(units, settings.covariates)
    reason = pair.too_few(units) or unestimable(design)
    table = pd.DataFrame(columns=GENE_COLUMNS, dtype=float)
    if not reason:
        counts = sums[units.index].layers[weighting].toarray()
        tested = enough_counts(counts, design)
        if tested.sum() < LEAST_GENES:
            reason = f"only {tested.sum()} genes have enough counts"
        else:
            names = sums.var_names[tested]
            table = compare_genes(counts[:, tested], names, design, settings.fdr, n_cpus)
    first, second = pair.numbers(units)
    of_condition = pair.units["condition"] == pair.condition
    about = {
        "paired": pair.paired,
        "replicates_baseline": first,
        "replicates_condition": second,
        "cells_baseline": cells.reindex(pair.units.index[~of_condition]).sum(),
        "cells_condition": cells.reindex(pair.units.index[of_condition]).sum(),
        "genes": len(table),
        "reason": reason,
    }
    return about, table


def compare_expression(
    sums: ad.AnnData, pair: Comparison, settings: CompareSettings, n_cpus: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The genes of all types, and what was tested, of one comparison."""
    genes, types = [], []
    for cell_type in dict.fromkeys(sums.obs["cell_type"]):
        own = sums[sums.obs["cell_type"] == cell_type].copy()
        own.obs_names = own.obs["unit"].astype(str)
        tables = {}
        for name in WEIGHTINGS:
            about, tables[name] = genes_of_type(own, pair, name, settings, n_cpus)
            types.append({"cell_type": cell_type, "weighting": name, **about})
            logger.info("%s, %s, by %s: %s", pair.condition, cell_type, name, about)
        table = add_findings(by_weighting(tables, GENE_COLUMNS), "log2_fold_change", settings.fdr)
        genes.append(table.rename_axis("gene").reset_index().assign(cell_type=cell_type))
    found = pd.concat(genes, ignore_index=True)
    return found, with_numbers(pd.DataFrame(types), found, settings.fdr)


def with_numbers(types: pd.DataFrame, genes: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """What was tested, with `up`, `down` (findings) and `holding` (of those by label)."""
    rows = []
    for row in types.itertuples():
        own = genes[genes["cell_type"] == row.cell_type]
        suffix = "" if row.weighting == LABEL else f"_{row.weighting}"
        found = own[f"p_adjusted{suffix}"] < fdr
        up = own[f"log2_fold_change{suffix}"] > 0
        holds = own["finding"] if not suffix else own[f"holds{suffix}"] == HOLDS
        rows.append({"up": (found & up).sum(), "down": (found & ~up).sum(), "holding": holds.sum()})
    numbers = pd.DataFrame(rows, index=types.index)
    return pd.concat([types.drop(columns="reason"), numbers, types[["reason"]]], axis=1)


def too_small(cells: float, of_all: float) -> str:
    """Why a type's share is not tested."""
    if cells == 0:
        return "no cell"
    return "the only type" if cells == of_all else f"{cells:.0f} cells in all replicates"


def shares_of(
    sums: ad.AnnData, pair: Comparison, weighting: str, settings: CompareSettings
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The shares of one comparison and weighting, and why types were not tested."""
    rows = sums.obs[sums.obs["unit"].isin(pair.units.index)]
    cells = rows.pivot_table(
        index="unit", columns="cell_type", values=f"cells_{weighting}", observed=True
    )
    units = pair.usable(cells.sum(axis=1) >= settings.min_cells)
    design = pair.design(units, settings.covariates)
    if reason := pair.too_few(units) or unestimable(design):
        return pd.DataFrame(), dict.fromkeys(cells, reason)
    own = cells.loc[units.index]
    totals = own.sum()
    tested = list(totals.index[(totals >= settings.min_cells) & (totals < totals.sum())])
    reasons = {name: too_small(n, totals.sum()) for name, n in totals.drop(tested).items()}
    return (compare_shares(own, design, tested) if tested else pd.DataFrame()), reasons


def compare_composition(
    sums: ad.AnnData, pair: Comparison, settings: CompareSettings
) -> pd.DataFrame:
    """The shares of all types of one comparison."""
    tables, reasons = {}, {}
    for name in WEIGHTINGS:
        tables[name], reasons[name] = shares_of(sums, pair, name, settings)
    table = by_weighting(tables, SHARE_COLUMNS).reindex(list(dict.fromkeys(sums.obs["cell_type"])))
    table = add_findings(table, "log2_odds_ratio", settings.fdr).rename_axis("cell_type")
    table["reason"] = [reasons[LABEL].get(name, "") for name in table.index]
    return table.reset_index()


def compare_conditions(sums: ad.AnnData, settings: CompareSettings, n_cpus: int = 1) -> Results:
    """Genes and shares of every condition against the baseline.

    Parameters
    ----------
    sums : pseudobulk counts, see `pseudobulk.sum_pseudobulk`.
    settings : of the comparison.
    n_cpus : processes of pydeseq2.
    """
    units = sums.obs.drop_duplicates("unit").set_index("unit")
    units = units[["replicate", "condition", *settings.covariates]].astype(str)
    found: dict[str, list[pd.DataFrame]] = {"genes": [], "composition": [], "types": []}
    for pair in comparisons(units, settings):
        genes, types = compare_expression(sums, pair, settings, n_cpus)
        shares = compare_composition(sums, pair, settings)
        for name, table in (("genes", genes), ("composition", shares), ("types", types)):
            found[name].append(labelled(table, pair))
    return Results(**{name: pd.concat(parts, ignore_index=True) for name, parts in found.items()})


def labelled(table: pd.DataFrame, pair: Comparison) -> pd.DataFrame:
    """A table with the condition and the type as its first columns."""
    table = table.assign(condition=pair.condition)
    first = ["condition", "cell_type"]
    return table[[*first, *(name for name in table if name not in first)]]
