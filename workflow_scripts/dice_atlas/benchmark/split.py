"""One comparison: a data set drawn, changed where the variant asks for it, in one feature space."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.counts.logged import is_logged
from dice_atlas.errors import InputError
from dice_atlas.features.correctors import BatchSettings
from dice_atlas.features.latents import (
    LatentSettings,
    compute_latents,
    corrected_components,
    fit_space,
)
from dice_atlas.features.normalize import Normalization
from dice_atlas.features.projection import LatentSpace
from dice_atlas.features.variable_genes import variable_genes
from dice_atlas.holdout import MIN_CLASS, reference_rows
from dice_atlas.numerics.scaling import log1p_normalize

# Share of each label's cells that are held out where the set has no query of its own ...
HELD_OUT = 0.25
# ... and that are drawn where it has one, so that seeds differ in more than the network.
DRAWN = 0.8


class Variant(NamedTuple):
    """What is changed against the base: its `kind`, and the number or name that belongs to it.

    `base`; `k-10`: so many latent dimensions; `missing-1`, `extra-1`: the cells of the most
    frequent label (2: of the second ...) left out of the reference, of the query;
    `scope-joint`: the batch correction.
    """

    kind: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Read a variant's name.

        Raises
        ------
        InputError
            For any other name.
        """
        if re.fullmatch(r"base|k-[1-9]\d*|(missing|extra)-[1-9]\d*|scope-[a-z_]+", text):
            return cls(*text.split("-", 1))
        raise InputError(
            f"seen the variant {text!r}, expected base, k-<number>, missing-<rank>, extra-<rank> "
            "or scope-<batch.scope>"
        )


def gather(samples: Sequence[ad.AnnData], min_genes: Sequence[int]) -> ad.AnnData:
    """Labelled cells with enough genes, of all samples of a set on the genes that they share.

    Parameters
    ----------
    samples : as `load_counts` writes them.
    min_genes : the least number of genes of a cell, of each sample.

    Returns
    -------
    AnnData
        X CSR raw counts; obs `sample`, `role`, `batch`, `label`, `total_counts` (over all genes of
        the sample).

    Raises
    ------
    InputError
        A sample has no counts, no labelled cell with enough genes, or the samples share no gene.
    """
    kept = []
    for sample, least in zip(samples, min_genes, strict=True):
        if is_logged(sample):
            raise InputError(
                f"sample {sample.obs['sample'].iloc[0]}: seen log-normalised expression, expected "
                "raw counts: the benchmark's methods need them; leave the sample out"
            )
        counts = sp.csr_matrix(sample.X)
        obs = sample.obs[["sample", "role", "batch", "label"]].astype(str)
        obs["total_counts"] = np.asarray(counts.sum(axis=1)).ravel()
        rows = (np.diff(counts.indptr) >= least) & (obs["label"] != "").to_numpy()
        # A pair must not become a set whose own cells are held out.
        if not rows.any():
            name = ", ".join(obs["sample"].unique())
            raise InputError(
                f"sample {name}: of {len(rows)} cells none has a label and at least {least} genes: "
                "look at `labels` and `min_genes` of the benchmark's sheet"
            )
        kept.append(ad.AnnData(counts[rows], obs=obs[rows], var=sample.var[[]]))
    cells = ad.concat(kept, join="inner")
    if not cells.n_vars:
        raise InputError(
            f"samples {', '.join(cells.obs['sample'].unique())}: 0 shared genes, expected some: "
            "are all named alike (`genes.names` of the config)?"
        )
    return cells


def draw(cells: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of this seed's cells, in order, and which of them are the query.

    A set without a query has a quarter of each label held out; one with a query has four fifths of
    each label and role drawn.

    Parameters
    ----------
    cells : `role` and `label`.

    Returns
    -------
    rows : positions of the cells, rising.
    query : mask of these.
    """
    rng = np.random.default_rng([seed, 17])
    held_out = not (cells["role"] == "query").any()
    parts, held = [], []
    for (role, _), members in sorted(cells.groupby(["role", "label"]).indices.items()):
        order = rng.permutation(members)
        if held_out:
            n = int(len(order) * HELD_OUT) if len(order) >= MIN_CLASS else 0
            parts.append(order)
            held.append(np.arange(len(order)) < n)
        else:
            parts.append(order[: max(round(len(order) * DRAWN), 1)])
            held.append(np.full(len(parts[-1]), role == "query"))
    rows, query = np.concatenate(parts), np.concatenate(held)
    order = np.argsort(rows, kind="stable")
    return rows[order], query[order]


def changed(cells: pd.DataFrame, query: np.ndarray, variant: Variant) -> tuple[np.ndarray, str]:
    """Mask of the cells that the variant keeps, and the label that it is about ("" = none).

    Raises
    ------
    InputError
        The query has too few labels for one of the variant's rank to be left out.
    """
    if variant.kind not in ("missing", "extra"):
        return np.ones(len(cells), dtype=bool), ""
    sizes = cells["label"][query].value_counts()
    # Ties by name.
    names = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    rank = int(variant.value)
    if rank >= len(names):
        raise InputError(
            f"seen the variant {variant.kind}-{rank}, but the set has {len(names)} labels and must "
            "keep one; lower benchmark.sweeps.types"
        )
    label = names[rank - 1]
    side = ~query if variant.kind == "missing" else query
    return ~(side & (cells["label"] == label).to_numpy()), label


def split(
    cells: ad.AnnData, variant: Variant, seed: int, n_top: int, normalization: Normalization
) -> ad.AnnData:
    """The cells of a variant and a seed on the variable genes of their reference.

    Parameters
    ----------
    cells : see `gather`.
    n_top : variable genes.

    Returns
    -------
    AnnData
        X CSR log1p-normalised expression, layer `counts`; obs as in `gather`, `role` that of this
        split; uns `label`: which the variant is about.

    Raises
    ------
    InputError
        Query or reference has no cell, the query has fewer than two labels or none of the
        reference's, or the variant leaves out a label that is not there.
    """
    rows, query = draw(cells.obs, seed)
    keep, label = changed(cells.obs.iloc[rows], query, variant)
    rows, query = rows[keep], query[keep]
    drawn = cells[rows].copy()
    drawn.obs["role"] = np.where(query, "query", "reference")
    if not query.any() or query.all():
        raise InputError(
            f"the split has {int(query.sum())} query and {int((~query).sum())} reference cells, "
            f"expected some of both: a label needs {MIN_CLASS} cells to be split"
        )
    labels = drawn.obs["label"][query].unique()
    if len(labels) < 2:
        raise InputError(
            f"the query has the label {labels[0]} alone, expected two or more: nothing is separated"
        )
    of_reference = drawn.obs["label"][~query].unique()
    if not set(labels) & set(of_reference):
        raise InputError(
            f"no label is shared: seen {', '.join(sorted(of_reference))} in the reference and "
            f"{', '.join(sorted(labels))} in the query, expected the same names for the same types"
        )
    counts = sp.csr_matrix(drawn.X)
    chosen = np.sort(variable_genes(counts[~query], n_top)[0])
    counts = counts[:, chosen]
    totals = drawn.obs["total_counts"].to_numpy()
    return ad.AnnData(
        log1p_normalize(counts, totals, normalization.target_sum),
        obs=drawn.obs,
        var=drawn.var.iloc[chosen],
        layers={"counts": counts},
        uns={"label": label},
    )


def latents_of(
    normalized: ad.AnnData,
    variant: Variant,
    batch: BatchSettings,
    latent: LatentSettings,
    normalization: Normalization,
    seed: int,
) -> tuple[ad.AnnData, LatentSpace]:
    """latents.h5ad and the space, by the workflow's own steps.

    Parameters
    ----------
    normalized : see `split`.
    variant : may set the scope of the batch correction, or the number of dimensions.
    batch, latent, normalization : settings of the config for all else.
    seed : of every step.
    """
    scope = variant.value if variant.kind == "scope" else "none"
    if variant.kind == "k":
        latent = LatentSettings(int(variant.value), max(int(variant.value), latent.max_k))
    # The split's cells have no other column of batches.
    batch = replace(batch, scope=scope, keys=("batch",))
    max_value = normalization.max_value
    corrected = corrected_components(normalized, None, batch, max_value, seed, threads=1)
    rows = reference_rows(normalized.obs)
    space = fit_space(normalized, corrected, rows, latent, max_value, seed)
    return compute_latents(normalized, corrected, space, normalization.target_sum), space
