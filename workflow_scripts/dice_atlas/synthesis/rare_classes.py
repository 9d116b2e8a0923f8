"""Synthetic cells for the rare classes of a reference (section `augment` of the config).

They help to train the prior and to find anchors. Nothing is measured on them: they are never held
out, and no atlas holds them.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.features.normalize import normalize_samples, selected_genes
from dice_atlas.features.projection import LatentSpace, least_squares_latents
from dice_atlas.holdout import calibration_cells
from dice_atlas.names import SYNTHETIC
from dice_atlas.numerics.exact_neighbors import nearest
from dice_atlas.synthesis.count_model import CountModel
from dice_atlas.synthesis.saved import class_codes
from dice_atlas.synthesis.settings import AugmentSettings, CellRequest, ModelSettings
from dice_atlas.synthesis.training import train_generator
from dice_atlas.synthesis.training_cells import CountTable, read_training_cells, shared_genes
from dice_atlas.tables import sample_role

logger = logging.getLogger(__name__)

# The class's Gaussian, which `spread` narrows, shrunk to what all classes have in common.
MODEL = ModelSettings(prior="gaussian", label="cell_type", genes="all")


@dataclass(frozen=True)
class Augmentation:
    """Synthetic cells of rare classes, and how many of which.

    Attributes
    ----------
    counts : (m, g) int32 CSR.
    genes : (g,) names.
    labels : (m,) classes.
    totals : (m,) counts of each cell, those of genes without a column included.
    classes : `label`, `real_cells`, `learnt_from` and `synthetic_cells` of each class.
    """

    counts: sp.csr_matrix
    genes: np.ndarray
    labels: np.ndarray
    totals: np.ndarray
    classes: pd.DataFrame


def augment(
    table: CountTable,
    held: np.ndarray,
    settings: AugmentSettings,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
) -> Augmentation:
    """Synthetic cells for the classes of fewer than `settings.below` cells.

    Parameters
    ----------
    table : all labelled cells of the reference.
    held : positions of those that judge or calibrate; nothing is learnt from them.
    settings : which classes, how many cells, how far from the mean.
    seed, device : of training and draws.
    checkpoint : beginning of the names of files that an interrupted run goes on from.

    Raises
    ------
    InputError
        Training diverged.
    """
    sizes, _ = class_codes(table.labels)
    learnt = np.ones(len(table.labels), dtype=bool)
    learnt[held] = False
    training = table.rows(learnt)
    known, _ = class_codes(training.labels)
    missing = settings.missing(sizes)
    for name in sorted(set(missing) - set(known)):
        logger.warning("%s: all its cells are held out, so none can be synthesised", name)
    wanted = {name: n for name, n in missing.items() if name in known}
    classes = pd.DataFrame(
        {
            "label": list(sizes),
            "real_cells": list(sizes.values()),
            "learnt_from": [known.get(name, 0) for name in sizes],
            "synthetic_cells": [wanted.get(name, 0) for name in sizes],
        }
    )
    if not sum(wanted.values()):
        logger.info("no class has fewer than %d cells: none is synthesised", settings.below)
        empty = sp.csr_matrix((0, len(table.genes)), dtype=np.int32)
        return Augmentation(empty, table.genes, np.empty(0, object), np.empty(0), classes)
    model = train_generator(training, MODEL, seed, device, checkpoint)
    assert isinstance(model, CountModel)
    numbers = [wanted.get(name, 0) for name in known]
    drawn = np.repeat(np.arange(len(known)), numbers)
    made = replace(model, spread=settings.spread).sample(
        drawn, np.arange(len(drawn)), seed, CellRequest(len(drawn))
    )
    logger.info("%s", {name: n for name, n in wanted.items() if n})
    return Augmentation(
        made[:, :-1].tocsr(),
        table.genes,
        np.asarray(list(known), dtype=object)[drawn],
        np.asarray(made.sum(axis=1), dtype=np.float64).ravel(),
        classes,
    )


def augment_reference(
    samples: Sequence[str | Path],
    genes: str | Path,
    settings: AugmentSettings,
    listed: Collection[str] | None,
    seed: int,
    device: str,
    checkpoint: Path,
) -> tuple[ad.AnnData, pd.DataFrame]:
    """A sample of synthetic reference cells, as a filtered.h5ad, and the table of the classes.

    Parameters
    ----------
    samples, genes : filtered.h5ad of every sample, and genes.tsv.
    settings, seed, device, checkpoint : see `augment`.
    listed : see `holdout.calibration_cells`.

    Raises
    ------
    InputError
        See `read_training_cells`; training diverged.
    """
    table = read_training_cells(samples, genes, MODEL)
    held = calibration_cells(table.keys.tolist(), table.labels.tolist(), listed)
    made = augment(table, held, settings, seed, device, checkpoint)
    references = [path for path in samples if sample_role(path) == "reference"]
    return as_sample(made, shared_genes(references, made.genes.tolist(), "all")), made.classes


def as_sample(made: Augmentation, genes: pd.Index) -> ad.AnnData:
    """The cells as a sample of the reference, on `genes`; genes that were not modelled are 0."""
    columns = genes.get_indexer(pd.Index(made.genes))
    coo = made.counts.tocoo()
    counts = sp.csr_matrix(
        (coo.data, (coo.row, columns[coo.col])), shape=(coo.shape[0], len(genes)), dtype=np.int32
    )
    n = len(made.labels)
    names = pd.Index([f"{SYNTHETIC}{i}" for i in range(n)], dtype=object)
    obs = pd.DataFrame(
        {
            "barcode": names,
            "cell_key": names,
            "sample": "synthetic",
            "role": "reference",
            "batch": "synthetic",
            "label": made.labels,
            "total_counts": made.totals,
        },
        index=names,
    )
    source = {"synthetic": True}
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes), uns={"source": source})


def latents_of(
    made: str | Path, genes: pd.DataFrame, target_sum: float, space: LatentSpace, real: ad.AnnData
) -> tuple[ad.AnnData, ad.AnnData]:
    """Normalised expression and latents of the synthetic cells, as of real ones.

    A synthetic cell has no batch. It is corrected as the real cell of its class that lies nearest.

    Parameters
    ----------
    made : file of `as_sample`.
    genes : rows of genes.tsv, see `selected_genes`.
    target_sum : that expression is normalised to.
    space : of the latents.
    real : latents.h5ad of all real cells.

    Returns
    -------
    normalized, latents : as normalized.h5ad and latents.h5ad.
    """
    normalized = normalize_samples([made], selected_genes(genes), target_sum)
    # A saved prior may have genes that the samples lack.
    present = space.restricted_to(normalized.var_names)
    uncorrected = least_squares_latents(normalized.X, present).astype(np.float32)
    shift = np.zeros_like(uncorrected)
    labels = real.obs["label"].astype(str).to_numpy()
    reference = (real.obs["role"] == "reference").to_numpy()
    for label in normalized.obs["label"].unique():
        own = np.flatnonzero(normalized.obs["label"] == label)
        rows = np.flatnonzero(reference & (labels == label))
        index, _ = nearest(uncorrected[own], real.obsm["X_pca"][rows], 1)
        parents = rows[index[:, 0]]
        shift[own] = real.obsm["X_harmony"][parents] - real.obsm["X_pca"][parents]
    latents = ad.AnnData(
        obs=normalized.obs[["sample", "role", "batch", "label", "cell_key"]],
        obsm={"X_pca": uncorrected, "X_harmony": uncorrected + shift},
        uns={"latent": dict(real.uns["latent"])},
    )
    return normalized, latents
