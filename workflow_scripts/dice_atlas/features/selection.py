"""Which genes make the feature space: common to all samples, variable in their batches."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.common_genes import MIN_COMMON, common_genes
from dice_atlas.counts.logged import USUAL_TOTAL, is_logged
from dice_atlas.errors import InputError
from dice_atlas.features.card import read_card
from dice_atlas.features.variable_genes import (
    Moments,
    clipped_squares,
    fit_trend,
    moments,
    normalized_dispersion,
    rank_over_batches,
    variance_standardized,
)
from dice_atlas.names import LOG1P
from dice_atlas.tables import require_columns

logger = logging.getLogger(__name__)

MIN_GROUP_CELLS = 20

Group = tuple[str, ...]


@dataclass(frozen=True)
class GroupVariance:
    """Moments and standardised variances (genes) of the cells of one role and batch."""

    whole: Moments
    standardized: np.ndarray


def groups_of(obs: pd.DataFrame, keys: Sequence[str], path: str | Path) -> pd.Series:
    """Role and batch of each cell, as a tuple; the batch is every column of `keys`.

    Raises
    ------
    InputError
        A key is no column of `obs`, which `path` holds.
    """
    require_columns(keys, obs, str(path))
    columns = [obs[column].astype(str) for column in ("role", *keys)]
    return pd.Series(list(zip(*columns, strict=True)), index=obs.index, dtype=object)


def read_gene_names(paths: Sequence[str | Path]) -> tuple[dict[str, pd.Index], pd.Series]:
    """Gene names of each file, and the first gene id that is known of each gene."""
    names: dict[str, pd.Index] = {}
    ids: dict[str, str] = {}
    for path in paths:
        sample = ad.read_h5ad(path, backed="r")
        names[str(path)] = pd.Index(sample.var_names.astype(str))
        if "gene_id" in sample.var:
            for gene, gene_id in zip(sample.var_names, sample.var["gene_id"], strict=True):
                if isinstance(gene_id, str) and gene_id:
                    ids.setdefault(gene, gene_id)
        sample.file.close()
    return names, pd.Series(ids, dtype=object)


def stream_groups(
    paths: Sequence[str | Path], genes: pd.Index, keys: Sequence[str]
) -> dict[Group, GroupVariance]:
    """Standardised variances of `genes` in every group, reading each file twice, one at a time.

    Samples of log-normalised expression make groups of their own, with standardised dispersions:
    the trend of variance on mean is one of counts.

    Raises
    ------
    InputError
        A batch key is no column of the cells; see `groups_of`.
    """
    whole: dict[Group, Moments] = {}
    for group, counts in _blocks(paths, genes, keys):
        block = moments(counts)
        whole[group] = whole[group] + block if group in whole else block
    of_counts = {group: m for group, m in whole.items() if LOG1P not in group}
    trend = {group: fit_trend(m.mean, m.variance) for group, m in of_counts.items()}
    squares = {group: np.zeros(len(genes)) for group in of_counts}
    for group, counts in _blocks(paths, genes, keys):
        if group in of_counts:
            m = whole[group]
            squares[group] += clipped_squares(counts, m.mean, trend[group], np.sqrt(m.n))
    return {
        group: GroupVariance(
            m,
            variance_standardized(m, squares[group], trend[group])
            if group in of_counts
            else normalized_dispersion(m),
        )
        for group, m in whole.items()
    }


def _blocks(
    paths: Sequence[str | Path], genes: pd.Index, keys: Sequence[str]
) -> Iterator[tuple[Group, sp.csr_matrix]]:
    """Counts (cells x genes) of each group in each file."""
    for path in paths:
        sample = ad.read_h5ad(path)
        counts = sp.csr_matrix(sample.X)[:, sample.var_names.get_indexer(genes)]
        groups = groups_of(sample.obs, keys, path)
        kind = (LOG1P,) if is_logged(sample) else ()
        if kind:
            # Files of several totals may be of one group.
            counts = counts * (USUAL_TOTAL / float(sample.uns["source"]["total"]))
        for group in dict.fromkeys(groups):
            yield (*group, *kind), counts[np.flatnonzero([g == group for g in groups])]


def saved_genes(card: str | Path, present: pd.Index) -> list[str]:
    """Genes of a saved prior that all samples have, in its order.

    Raises
    ------
    InputError
        They are fewer than half of them.
    """
    genes = read_card(card)["genes"]
    kept = [gene for gene in genes if gene in present]
    if 2 * len(kept) < len(genes):
        lacking = [gene for gene in genes if gene not in present][:3]
        raise InputError(
            f"{len(kept)} of the {len(genes)} genes of the saved prior {card} are in all samples "
            f"(missing: {', '.join(lacking)}, ...); at least half are needed: use a prior of the "
            "same species and gene names, or train a new one (prior.path: null)"
        )
    if len(kept) < len(genes):
        logger.warning(
            "%d of the %d genes of the saved prior are not in all samples",
            len(genes) - len(kept),
            len(genes),
        )
    return kept


def choose_genes(
    genes: pd.Index,
    groups: Mapping[Group, GroupVariance],
    n_top: int,
    mode: str,
    min_cells: int,
    saved: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Table of the genes by rank, best first (the contract of features/genes.tsv without gene_id).

    Parameters
    ----------
    genes : genes common to all samples.
    groups : variances of these genes by (role, batch, ...).
    mode : "joint" takes the best over all groups; "intersection" those among the best
        `n_top` both of the reference's and of the query's groups.
    min_cells : genes detected in fewer cells (of all samples) cannot be selected.
    saved : genes to select instead, in this order.

    Raises
    ------
    InputError
        Fewer than 50 genes are in `min_cells` cells or, of mode "intersection", variable in both
        roles.
    """
    whole = added(list(groups.values()))
    # Values of counts, and not mixed with those of log-normalised expression.
    described = added([g for name, g in groups.items() if LOG1P not in name] or [*groups.values()])
    eligible = whole.detected >= max(min_cells, 1)
    if eligible.sum() < MIN_COMMON and saved is None:
        raise InputError(
            f"{eligible.sum()} of the {len(genes)} genes that all samples have are found in "
            f"{min_cells} cells or more (qc.min_cells), expected at least {MIN_COMMON}; look at "
            "qc.tsv for the cells that are left"
        )
    if saved is None and n_top > eligible.sum():
        logger.warning(
            "genes.n_top is %d, but only %d genes are in all samples and in %d or more cells: "
            "all of them are taken",
            n_top,
            eligible.sum(),
            min_cells,
        )
    used = _groups_to_rank(groups)
    ranked = _rank(used, eligible, n_top)
    if saved is not None:
        chosen = genes.isin(saved)
        place = genes.map({gene: i for i, gene in enumerate(saved)}).to_numpy(dtype=float)
        ranked["rank"] = _places(np.where(chosen, place, len(saved) + ranked["rank"]))
    elif mode == "intersection":
        chosen = _in_both_roles(used, eligible, n_top)
    else:
        chosen = eligible & (ranked["rank"].to_numpy() <= n_top)
    table = pd.DataFrame(
        {
            "gene": genes,
            "n_cells": whole.detected,
            "mean": described.mean,
            "variance": described.variance,
            "variance_standardized": ranked["variance_standardized"],
            "n_batches": ranked["n_batches"],
            "rank": ranked["rank"],
            "selected": chosen,
        }
    )
    return table.sort_values("rank", kind="stable").reset_index(drop=True)


def added(groups: Sequence[GroupVariance]) -> Moments:
    """Moments of one group or more together."""
    return sum((g.whole for g in groups[1:]), groups[0].whole)


def _groups_to_rank(groups: Mapping[Group, GroupVariance]) -> dict[Group, GroupVariance]:
    large = {name: g for name, g in groups.items() if g.whole.n >= MIN_GROUP_CELLS}
    if not large:
        logger.warning("all batches have fewer than %d cells: all are used", MIN_GROUP_CELLS)
        return dict(groups)
    for name, group in groups.items():
        if name not in large:
            logger.warning(
                "the batch %s is left out of the ranking of genes: it has %d cells, under %d",
                " ".join(name),
                group.whole.n,
                MIN_GROUP_CELLS,
            )
    return large


def _rank(groups: Mapping[Group, GroupVariance], eligible: np.ndarray, n_top: int) -> pd.DataFrame:
    """`rank_over_batches` of the eligible genes; the others get the last ranks."""
    # A variance below every other keeps a gene out of each batch's best; dispersions may be any.
    variances = [
        np.where(eligible, g.standardized, min(-1.0, g.standardized.min() - 1))
        for g in groups.values()
    ]
    table = rank_over_batches(variances, min(n_top, max(int(eligible.sum()), 1)))
    own = [g.standardized for name, g in groups.items() if LOG1P not in name]
    own = own or [g.standardized for g in groups.values()]
    table["variance_standardized"] = np.median(own, axis=0)
    return table


def _in_both_roles(
    groups: Mapping[Group, GroupVariance], eligible: np.ndarray, n_top: int
) -> np.ndarray:
    best = {}
    for role in ("reference", "query"):
        own = {name: g for name, g in groups.items() if name[0] == role}
        if not own:
            raise InputError(
                f"genes.mode is intersection, but no batch of the {role} has the "
                f"{MIN_GROUP_CELLS} cells that variable genes take (or there is no {role}): set "
                "genes.mode to joint, or loosen the QC limits"
            )
        best[role] = eligible & (_rank(own, eligible, n_top)["rank"].to_numpy() <= n_top)
    both = best["reference"] & best["query"]
    if both.sum() < MIN_COMMON:
        raise InputError(
            f"genes.mode is intersection, but of the {best['reference'].sum()} variable genes of "
            f"the reference and the {best['query'].sum()} of the query only {both.sum()} are the "
            f"same (needed: {MIN_COMMON}): raise genes.n_top or set genes.mode to joint"
        )
    logger.info("%d genes are variable both in the reference and in the query", both.sum())
    return both


def _places(values: np.ndarray) -> np.ndarray:
    places = np.empty(values.size, dtype=np.int64)
    places[np.argsort(values, kind="stable")] = np.arange(1, values.size + 1)
    return places


def select_genes(
    paths: Sequence[str | Path],
    n_top: int,
    mode: str,
    min_cells: int,
    batch_keys: Sequence[str],
    card: str | Path | None = None,
) -> pd.DataFrame:
    """Table of the genes common to all samples (features/genes.tsv), best first.

    Parameters
    ----------
    paths : of the samples after quality control.
    n_top, mode, min_cells : see `choose_genes`.
    batch_keys : columns of obs that make the batches.
    card : of a saved prior, whose genes are selected instead.

    Returns
    -------
    DataFrame
        `gene`, `gene_id`, `n_cells`, `mean`, `variance`, `variance_standardized`, `n_batches`,
        `rank`, `selected`.

    Raises
    ------
    InputError
        Too few genes are common to the samples, found in enough cells, variable in both roles or
        among those of the saved prior, or a batch key is no column of the cells.
    """
    names, gene_ids = read_gene_names(paths)
    genes = common_genes(names)
    saved = None if card is None else saved_genes(card, genes)
    groups = stream_groups(paths, genes, batch_keys)
    table = choose_genes(genes, groups, n_top, mode, min_cells, saved)
    table.insert(1, "gene_id", table["gene"].map(gene_ids).fillna("").astype(str))
    return table
