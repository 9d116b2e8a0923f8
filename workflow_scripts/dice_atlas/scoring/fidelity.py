"""How much the cells of a generator resemble real ones, beside a control and simple generators."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from dice_atlas.errors import InputError
from dice_atlas.scoring.synthesis import CellSet, SynthesisScorer, cell_set
from dice_atlas.synthesis.baselines import BASELINES
from dice_atlas.synthesis.names import LEAST_HELD_OUT, OWN
from dice_atlas.synthesis.saved import Generator
from dice_atlas.synthesis.settings import CellRequest
from dice_atlas.synthesis.synthetic import draw_kept
from dice_atlas.synthesis.training_cells import CountTable

logger = logging.getLogger(__name__)

# Of more held-out cells so many judge: the discrepancy takes memory by their square.
MOST_HELD_OUT = 3_000
MEMORIZATION = ("dcr_p5", "closer_to_training")


@dataclass(frozen=True)
class Fidelity:
    """Scores of a generator and of what it is compared with.

    Attributes
    ----------
    table : `generator`, `metric`, `value`; the generator itself is `synthetic`.
    by_class : the same with `label`.
    memorization : `generator`, `dcr_p5`, `closer_to_training`, `copies` (synthetic cells whose
        counts are those of a training cell).
    cells : held-out and synthetic cells with log1p expression; obs `set`, `label`, `library`,
        `distance` (to the nearest training cell); obsm `X_pca` of both together.
    """

    table: pd.DataFrame
    by_class: pd.DataFrame
    memorization: pd.DataFrame
    cells: ad.AnnData


def score_generator(
    generator: Generator, training: CountTable, held_out: CountTable, seed: int,
    guidance: float,
    steps: int,
) -> Fidelity:  # fmt: skip
    """Score as many new cells of each class as are held out.

    They are drawn anew at the depth of the real cells, whatever numbers and depth the user asked
    for.

    Parameters
    ----------
    training, held_out : the cells that it was trained on, and real cells that it has not seen.
    seed : of the draws and the scores.
    guidance, steps : see `CellRequest`.

    Raises
    ------
    InputError
        Too few cells are held out.
    """
    if len(held_out.labels) < LEAST_HELD_OUT:
        raise InputError(
            f"synthesis: {len(held_out.labels)} cells are held out, expected at least "
            f"{LEAST_HELD_OUT} to judge the generator by; raise synthesis.test_share, or set it to "
            "0 for cells without a judgement"
        )
    if len(held_out.labels) > MOST_HELD_OUT:
        rng = np.random.default_rng(seed)
        held_out = held_out.rows(np.sort(rng.permutation(len(held_out.labels))[:MOST_HELD_OUT]))
    columns = np.flatnonzero(training.variable)
    real = as_cells(held_out, columns)
    scorer = SynthesisScorer(as_cells(training, columns), real, seed)
    tables, classes, memorized, own = [], [], [], None
    for name, made in made_cells(generator, training, held_out, seed, guidance, steps):
        cells = as_cells(made, columns)
        scores = scorer.score(cells)
        tables.append(scores.assign(generator=name))
        classes.append(scorer.score_by_class(cells).assign(generator=name))
        values = dict(zip(scores["metric"], scores["value"], strict=True))
        row = {metric: values.get(metric, np.nan) for metric in MEMORIZATION}
        memorized.append({"generator": name, **row, "copies": copies(made, training)})
        logger.info("%s is scored", name)
        if name == OWN:
            own = cells
    assert own is not None  # made_cells begins with it
    return Fidelity(
        pd.concat(tables)[["generator", "metric", "value"]],
        pd.concat(classes)[["generator", "label", "metric", "value"]],
        pd.DataFrame(memorized),
        both(real, own, training.genes[training.variable], scorer),
    )


def made_cells(
    generator: Generator, training: CountTable, held_out: CountTable, seed: int,
    guidance: float,
    steps: int,
) -> Iterator[tuple[str, CountTable]]:  # fmt: skip
    """Cells of the generator itself, then of the control and the simple generators."""
    names = list(generator.classes)
    sizes = {name: int((held_out.labels == name).sum()) for name in names}
    plain = CellRequest(sizes, 1.0, guidance, steps)
    counts, codes = draw_kept(generator, plain, seed)
    yield OWN, replaced(training, counts, np.asarray(names, dtype=object)[codes])
    for name, baseline in BASELINES.items():
        found, labels = baseline(training.counts, training.labels, sizes, seed)
        yield name, replaced(training, sp.csr_matrix(found), labels)


def replaced(table: CountTable, counts: sp.csr_matrix, labels: np.ndarray) -> CountTable:
    """Other cells on the genes of a table."""
    keys = np.full(len(labels), "", dtype=object)
    return CountTable(
        counts.astype(np.float32), table.genes, table.variable, labels.astype(object), keys
    )


def as_cells(table: CountTable, columns: np.ndarray) -> CellSet:
    """The cells in the space in which they are scored."""
    return cell_set(table.counts, columns, table.labels, table.libraries)


def copies(made: CountTable, training: CountTable) -> int:
    """Cells of `made` whose counts of all genes are those of a training cell."""

    def rows(counts: sp.csr_matrix) -> list[bytes]:
        ordered = counts.sorted_indices()
        return [
            ordered.indices[a:b].tobytes() + ordered.data[a:b].astype(np.float32).tobytes()
            for a, b in zip(ordered.indptr[:-1], ordered.indptr[1:], strict=True)
        ]

    known = set(rows(training.counts))
    return sum(row in known for row in rows(made.counts))


def both(real: CellSet, made: CellSet, genes: np.ndarray, scorer: SynthesisScorer) -> ad.AnnData:
    """Held-out and synthetic cells in one table, for the figures."""
    sets = (real, made)
    parts = [
        pd.DataFrame({
            "set": name, "label": cells.labels.astype(str), "library": cells.libraries,
            "distance": scorer.distance_to_training(cells),
        })
        for name, cells in zip(("held out", OWN), sets, strict=True)
    ]  # fmt: skip
    obs = pd.concat(parts, ignore_index=True)
    obs.index = obs.index.astype(str)
    points = np.vstack(scorer.joint_components(made))
    return ad.AnnData(
        sp.csr_matrix(np.vstack([cells.expression for cells in sets])),
        obs=obs,
        var=pd.DataFrame(index=pd.Index(genes.astype(str), dtype=object)),
        obsm={"X_pca": points.astype(np.float32)},
    )
