"""SCLD at the paper's number of steps: its spaces, fusions, guidance and post-guidance.

    python tests/benchmarks/scld.py DATA [--set zheng_facs_pbmc] [--spaces ...] [--fusions ...]

Cells are judged in the space that SCLD learnt (`own`), and as counts in log1p CP10k (`counts`),
as in synthesis.py. `decoded` are training cells that went through the autoencoder alone: no
generator behind it can do better. Rows are appended to docs/synthesis/scld.tsv as they come.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from dice_atlas.scoring.fidelity import as_cells, replaced
from dice_atlas.scoring.synthesis import CellSet, SynthesisScorer
from dice_atlas.synthesis.paper_model import PaperModel, train_paper_model
from dice_atlas.synthesis.saved import class_codes
from dice_atlas.synthesis.scld.guidance import KEEP, candidates, keep_best
from dice_atlas.synthesis.scld.spaces import SPACES
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.synthesis.training_cells import CountTable
from synthesis import SETS, read, split

OUT = Path(__file__).resolve().parents[2] / "docs" / "synthesis" / "scld.tsv"
SHOWN = ("rf_auc_pc", "rf_auc_class", "mmd_root", "mmd_squared", "ilisi", "label_kept", "dcr_p5")


def in_space(table: CountTable, space: str) -> CellSet:
    """Cells in the space that SCLD learns."""
    expression = SPACES[space].expression(table.counts[:, :-1].tocsr(), table.libraries)
    return CellSet(expression, table.labels)


def drawn(
    model: PaperModel, numbers: np.ndarray, guidance: float, keep: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression, class codes and numbers of the cells that are kept."""
    codes = np.repeat(np.arange(len(numbers)), candidates(numbers, keep))
    expression = model.model.sample(codes, np.arange(len(codes)), seed, guidance)
    if keep == 1:
        return expression, codes, np.arange(len(codes))
    assert model.scorer is not None
    kept = keep_best(model.scorer.score(expression), codes, keep)
    return expression[kept], codes[kept], kept


def main() -> None:
    """Train and score what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="zheng_facs_pbmc", choices=list(SETS))
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--fusions", nargs="+", default=["add", "concatenate", "attention"])
    parser.add_argument("--guidance", nargs="+", type=float, default=[-1, 0, 1])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = (t.variable_only() for t in split(read(given.data, given.set), given.seed))
    training, held_out = tables
    names, codes = class_codes(training.labels)
    numbers = np.array([(held_out.labels == name).sum() for name in names])
    labels = np.array(list(names), dtype=object)
    columns = np.arange(len(training.genes))
    as_counts = SynthesisScorer(
        as_cells(training, columns), as_cells(held_out, columns), given.seed
    )
    for space in given.spaces:
        own = SynthesisScorer(in_space(training, space), in_space(held_out, space), given.seed)
        for fusion in given.fusions:
            settings = ModelSettings(
                preset="paper", space=space, fusion=fusion, keep=KEEP, training_steps=given.steps
            )
            start = time.process_time()
            model = train_paper_model(training, codes, settings, given.seed, "cpu")
            seconds = time.process_time() - start
            about = {"set": given.set, "seed": given.seed, "space": space, "fusion": fusion,
                     "steps": given.steps, "train_seconds": round(seconds)}  # fmt: skip

            def write(what: str, guidance: float, keep: float, judged: str, cells: CellSet,
                      scorer: SynthesisScorer, about: dict = about) -> None:  # fmt: skip
                scores = scorer.score(cells).set_index("metric")["value"]
                row = about | {"cells": what, "guidance": guidance, "keep": keep, "judged": judged}
                row |= {name: scores.get(name, np.nan) for name in SHOWN}
                OUT.parent.mkdir(parents=True, exist_ok=True)
                frame, new = pd.DataFrame([row]), not OUT.exists()
                frame.to_csv(OUT, sep="\t", index=False, mode="a", float_format="%.6g", header=new)
                print(row, flush=True)

            rng = np.random.default_rng(given.seed)
            picked = np.concatenate(
                [rng.choice(np.flatnonzero(codes == c), n, replace=n > (codes == c).sum())
                 for c, n in enumerate(numbers)]
            )  # fmt: skip
            real = torch.from_numpy(in_space(training, space).expression[picked])
            with torch.no_grad():
                auto = model.model.autoencoder
                decoded = auto.decode(auto.encode(real)).numpy()
            known = CellSet(decoded, training.labels[picked])
            write("decoded", 0, 1, "own", known, own)
            for guidance in given.guidance:
                for keep in (1.0, KEEP):
                    found, chosen, cells = drawn(model, numbers, guidance, keep, given.seed)
                    made = CellSet(found, labels[chosen])
                    write("new", guidance, keep, "own", made, own)
                    if guidance == 0:
                        request = CellRequest(len(chosen), guidance=guidance)
                        plain = replace(model, scorer=None)
                        counts = plain.sample(chosen, cells, given.seed, request)
                        table = replaced(training, counts, labels[chosen])
                        write("new", guidance, keep, "counts", as_cells(table, columns), as_counts)


if __name__ == "__main__":
    main()
