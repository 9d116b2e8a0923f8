"""Voters that were tried and not taken: DICE's label posterior, and linear models of its space.

    python tests/benchmarks/candidates.py SHEET [--seeds 2] [--sets SET ...]

SHEET, sets and seeds are those of annotation.py. Writes docs/benchmarks/annotation_candidates.tsv:
accuracy and macro F1 of the candidates, of the workflow's voters and of means of several, on the
same cells. Rows of a file that is there are kept, and not measured again.

The label posterior is in closed form: a point of the kernel prior stands for the label of the cell
that it begins with, and the weights of the points, given a cell, add up by label.
"""

import argparse
import logging
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from annotation import Rows, Tables, append, read_cells, read_sets, split, tables_of
from dice_atlas.dice.coordinates import in_coordinates
from dice_atlas.dice.priors import KernelPrior
from dice_atlas.holdout import cell_numbers
from dice_atlas.transfer import linear
from dice_atlas.transfer.consensus import combine
from dice_atlas.transfer.scores import votes_calibration, votes_table
from held_out import denoise_with, project
from levels import known_rows
from transfer import ANNOTATE, DEFAULTS, cells_of, right_labels, trained_cells

TABLE = "annotation_candidates"
# Inverse strengths of the ridge penalty.
STRENGTHS = (0.01, 0.1, 1.0)
MEANS = (
    ("dice", "linear"), ("linear", "posterior"), ("dice", "linear", "posterior"),
    ("linear", "linear in dice, C = 0.1"), ("pca", "dice", "linear"),
    ("pca", "linear", "posterior"), ("pca", "dice", "linear", "posterior"),
)  # fmt: skip


def label_posterior(
    prior: KernelPrior, latents: torch.Tensor, s: float, labels: pd.Series
) -> pd.DataFrame:
    """Probability of each label (cells x labels), given latents (cells x k) with noise s.

    0 for each label where all weight is the background's.

    Parameters
    ----------
    labels : of the prior's cells, by their numbers (`holdout.cell_numbers`).
    """
    kernel = prior.kernel
    own = labels.loc[kernel.number[kernel.member[:, 0]].numpy()].to_numpy()
    one_hot = pd.get_dummies(pd.Series(own), dtype=float)
    weights = torch.cat([prior.weights(part, s)[:, :-1] for part in latents.split(1000)])
    shares = weights.double().numpy() @ one_hot.to_numpy()
    whole = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, whole, out=np.zeros_like(shares), where=whole > 0)
    return pd.DataFrame(shares, columns=one_hot.columns)


def candidates(data: ad.AnnData, reference: np.ndarray, seed: int) -> Tables:
    """Predictions and calibration of each candidate."""
    labels, cells = data.obs["label"].to_numpy(dtype=str), cells_of(data, reference)
    trained = trained_cells(data, reference)
    held = np.flatnonzero(reference & ~trained)
    points, space = project(data, ~trained, seed)
    denoised, prior, latents = denoise_with(points, cells, space, DEFAULTS, seed)
    asked = np.concatenate([held, np.flatnonzero(~reference)])
    moved = in_coordinates(latents, prior.coordinates).obsm["X_harmony"][asked]
    known = pd.Series(labels[reference], index=cell_numbers(cells)[reference])
    noise = float(denoised.uns["dice"]["s"]["query"])
    found = label_posterior(prior, torch.from_numpy(np.float32(moved)), noise, known)
    scores, names = found.to_numpy(), list(found.columns)
    tables = {
        "posterior": (
            votes_table(cells.index[~reference], scores[len(held) :], names),
            votes_calibration(cells.iloc[asked], len(held), labels[asked], scores, names),
        )
    }
    embedding = sp.csr_matrix(np.float32(denoised.obsm["X_dice"]))
    usual = linear.C
    for strength in STRENGTHS:
        linear.C = strength
        tables[f"linear in dice, C = {strength:g}"] = linear.vote(embedding, cells, None, seed)
    linear.C = usual
    return tables


def rows_of(data: ad.AnnData, reference: np.ndarray, seed: int) -> Rows:
    """How good the labels of each voter and of each mean are."""
    tables, _ = tables_of(data, reference, seed)
    tables = {name: own for name, own in tables.items() if name in ANNOTATE["voters"]}
    tables |= candidates(data, reference, seed)
    for names in MEANS:
        both = [{name: tables[name][i] for name in names} for i in (0, 1)]
        tables[f"mean of {', '.join(names)}"] = combine(*both)[:2]
    truth = data.obs["label"].to_numpy(dtype=str)[~reference]
    for voter, (predictions, _) in tables.items():
        best = predictions["predicted"].to_numpy(dtype=str)
        yield {"voter": voter, **right_labels(truth, best)}


def main() -> None:
    """Measure what no row is there of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", nargs="+")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    done = known_rows(TABLE)
    for name, rows in read_sets(given.sheet).items():
        if given.sets and name not in given.sets:
            continue
        cells = read_cells(rows)
        for seed in range(given.seeds):
            if (name, seed) not in done:
                found = rows_of(*split(cells, seed), seed)
                append(TABLE, [{"set": name, "seed": seed} | row for row in found])
                print(name, seed, flush=True)


if __name__ == "__main__":
    main()
