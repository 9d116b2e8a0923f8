"""Synthetic cells as AnnData: shards of them, and all in one file that says what they are."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.numerics.shards import shard_rows
from dice_atlas.synthesis.saved import Generator
from dice_atlas.synthesis.scld.guidance import candidates, keep_best
from dice_atlas.synthesis.settings import NONE, CellRequest

logger = logging.getLogger(__name__)

# Columns of the shards alone: class code, and how real post-guidance finds the cell.
CODE, SCORE = "_code", "_score"
WARNING = (
    "Synthetic cells. They resemble the cells that the model was trained on and are no new "
    "measurements. They protect no privacy: donors can be inferred from such models."
)


def used_request(request: CellRequest, preset: str, prior: str) -> dict[str, Any]:
    """What of a request matters to a generator; a guidance that does not is a warning."""
    used = asdict(request)
    if preset == "paper":
        del used["steps"]
    elif prior != "diffusion":
        del used["steps"], used["guidance"]
        if request.guidance:
            logger.warning(
                "synthesis.guidance is for the prior diffusion; this generator has the prior %s: "
                "not used", prior,
            )  # fmt: skip
    return used


def requested(generator: Generator, request: CellRequest) -> np.ndarray:
    """Class code of each cell to draw (n,) int64, class by class; see `candidates`.

    Raises
    ------
    InputError
        See `CellRequest.numbers`.
    """
    numbers = np.array(list(request.numbers(generator.classes).values()))
    numbers = candidates(numbers, keep_of(generator))
    return np.repeat(np.arange(len(numbers)), numbers).astype(np.int64)


def keep_of(generator: Generator) -> float:
    """Share of the drawn cells that post-guidance keeps."""
    return float(generator.card["settings"]["keep"]) if generator.card["preset"] == "paper" else 1.0


def draw_kept(
    generator: Generator, request: CellRequest, seed: int
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts and class codes of the wanted cells, those that post-guidance keeps."""
    codes, keep = requested(generator, request), keep_of(generator)
    counts, scores = generator.model.sample_scored(codes, np.arange(len(codes)), seed, request)
    if keep < 1:
        kept = keep_best(scores, codes, keep)
        counts, codes = counts[kept], codes[kept]
    return counts, codes


def synthesize_shard(
    generator: Generator, request: CellRequest, seed: int, shard: tuple[int, int]
) -> ad.AnnData:
    """The cells of one shard.

    Parameters
    ----------
    request : of all shards together.
    seed : a cell depends on it, its number and its class alone.
    shard : number of the shard, from 1, and how many there are.

    Returns
    -------
    AnnData of int32 counts (CSR); obs has the class, `synthetic` and `library`, the counts of all
    genes, those that are no column included.
    """
    codes = requested(generator, request)
    rows = shard_rows(len(codes), *shard)
    counts, scores = None, np.zeros(0)
    if len(rows):
        counts, scores = generator.model.sample_scored(codes[rows], rows, seed, request)
    n_genes = len(generator.genes)
    values = sp.csr_matrix((0, n_genes), dtype=np.int32) if counts is None else counts[:, :-1]
    names = np.asarray(list(generator.classes), dtype=object)
    library = np.empty(0, int) if counts is None else counts.sum(axis=1, dtype=np.int64).A1
    obs = pd.DataFrame(index=pd.Index([f"synthetic_{row}" for row in rows], dtype=object))
    if generator.card["label"] != NONE:
        obs[generator.card["label"]] = pd.Categorical(names[codes[rows]], categories=names)
    obs["synthetic"] = True
    obs["library"] = library.astype(np.int64)
    if keep_of(generator) < 1:
        obs[CODE], obs[SCORE] = codes[rows], scores
    var = pd.DataFrame(index=pd.Index(generator.genes, dtype=object))
    return ad.AnnData(sp.csr_matrix(values), obs=obs, var=var)


def gather_synthetic(
    shards: Sequence[str | Path], card: str | Path, request: CellRequest
) -> ad.AnnData:
    """All shards in order, with the generator's card.

    Parameters
    ----------
    shards : files of `synthesize_shard`, in order.
    card : card.json of the generator.
    request : what was asked for.
    """
    whole = ad.concat([ad.read_h5ad(shard) for shard in shards], merge="same")
    known = json.loads(Path(card).read_text())
    if SCORE in whole.obs:
        # Of all shards together: which cells are kept must not depend on how they were shared out.
        kept = keep_best(
            whole.obs[SCORE].to_numpy(), whole.obs[CODE].to_numpy(), known["settings"]["keep"]
        )
        whole = whole[kept].copy()
        whole.obs = whole.obs.drop(columns=[SCORE, CODE])
    whole.uns["synthesis"] = {
        "warning": WARNING,
        "card": json.dumps({k: v for k, v in known.items() if k not in ("genes", "held_out")}),
        "request": json.dumps(used_request(request, known["preset"], known["prior"])),
    }
    if known["label"] in whole.obs:
        column = whole.obs[known["label"]]
        whole.obs[known["label"]] = column.cat.remove_unused_categories()
    return whole
