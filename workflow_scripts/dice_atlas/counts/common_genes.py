"""Genes that all samples have, and what is wrong where they have too few in common."""

from collections.abc import Mapping

import pandas as pd

from dice_atlas.counts.genes import is_ensembl
from dice_atlas.errors import InputError
from dice_atlas.tables import common_names

MIN_COMMON = 50
MIN_COMMON_SHARE = 0.2


def common_genes(names: Mapping[str, pd.Index]) -> pd.Index:
    """Genes found in every sample, in the order of the first.

    Raises
    ------
    InputError
        Fewer than 50 genes are common, or less than a fifth of the smallest sample's.
    """
    common = common_names(names.values())
    smallest = min(len(index) for index in names.values())
    if len(common) >= MIN_COMMON and len(common) >= MIN_COMMON_SHARE * smallest:
        return common
    first, second = _least_alike(names)
    raise InputError(
        f"{len(common)} genes are common to the {len(names)} samples, of {smallest} in the "
        f"smallest (needed: {MIN_COMMON} and {MIN_COMMON_SHARE:.0%} of the smallest sample's). "
        f"{first} has genes such as {_examples(names[first], names[second])}, {second} such as "
        f"{_examples(names[second], names[first])}. {_cause(names[first], names[second])}"
    )


def _least_alike(names: Mapping[str, pd.Index]) -> tuple[str, str]:
    samples = list(names)
    if len(samples) == 1:
        return samples[0], samples[0]
    first = samples[0]
    shares = {
        name: names[name].isin(names[first]).sum()
        / max(min(len(names[name]), len(names[first])), 1)
        for name in samples[1:]
    }
    return first, min(shares, key=shares.__getitem__)


def _examples(own: pd.Index, other: pd.Index) -> str:
    lacking = own[~own.isin(other)]
    return ", ".join(map(str, (lacking if len(lacking) else own)[:3])) or "none"


def _cause(first: pd.Index, second: pd.Index) -> str:
    ensembl = [is_ensembl(index).mean() > 0.5 for index in (first, second)]
    if ensembl[0] != ensembl[1]:
        return (
            "One has Ensembl ids and the other gene symbols: give both the same kind "
            "(`genes: {names: human}`, or mouse, gives symbols to samples with ids; genes.names "
            "also takes a table of both, or an h5ad file whose var has both)"
        )
    if first.str.replace("_", "-").isin(second.str.replace("_", "-")).sum() > (
        2 * first.isin(second).sum() + MIN_COMMON
    ):
        return "The names differ in _ and -: Seurat writes - for _, rename the genes of one"
    folded = first.str.upper().isin(second.str.upper()).sum()
    if folded > 2 * first.isin(second).sum() + MIN_COMMON:
        return "The names differ in upper and lower case: are the samples of different species?"
    return "Give all samples the same annotation of genes, or leave out the one that differs"
