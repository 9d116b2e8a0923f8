"""Synthetic cells as AnnData: shards of them, and all in one file that says what they are."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.numerics.shards import shard_rows
from dice_atlas.synthesis.saved import Generator
from dice_atlas.synthesis.settings import NONE, CellRequest

WARNING = (
    "Synthetic cells. They resemble the cells that the model was trained on and are no new "
    "measurements. They protect no privacy: donors can be inferred from such models."
)


def requested(generator: Generator, request: CellRequest) -> np.ndarray:
    """Class code of each wanted cell (n,) int64, class by class.

    Raises
    ------
    InputError
        See `CellRequest.numbers`.
    """
    numbers = request.numbers(generator.classes)
    return np.repeat(np.arange(len(numbers)), list(numbers.values())).astype(np.int64)


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
    counts = generator.model.sample(codes[rows], rows, seed, request) if len(rows) else None
    n_genes = len(generator.genes)
    values = sp.csr_matrix((0, n_genes), dtype=np.int32) if counts is None else counts[:, :-1]
    names = np.asarray(list(generator.classes), dtype=object)
    library = np.empty(0, int) if counts is None else counts.sum(axis=1, dtype=np.int64).A1
    obs = pd.DataFrame(index=pd.Index([f"synthetic_{row}" for row in rows], dtype=object))
    if generator.card["label"] != NONE:
        obs[generator.card["label"]] = pd.Categorical(names[codes[rows]], categories=names)
    obs["synthetic"] = True
    obs["library"] = library.astype(np.int64)
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
    whole.uns["synthesis"] = {
        "warning": WARNING,
        "card": json.dumps({k: v for k, v in known.items() if k not in ("genes", "held_out")}),
        "request": json.dumps(asdict(request)),
    }
    return whole
