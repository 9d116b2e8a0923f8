"""All splits together: their tables and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dice_atlas.benchmark.figures import METRICS, all_figures
from dice_atlas.benchmark.tables import paired_differences, summarize, variant_differences
from dice_atlas.files import atomic_path
from dice_atlas.plots.style import styled

COMPARED = "dice_exact"


def read_all(paths: Sequence[str]) -> pd.DataFrame:
    """Tables of all splits; a set may be called 001."""
    tables = [pd.read_csv(path, sep="\t", dtype={"set": str}) for path in paths]
    return pd.concat(tables, ignore_index=True)


def read_costs(paths: Sequence[str]) -> pd.DataFrame:
    """Seconds and peak memory (MB) of each job: .../<set>/<variant>/<seed>/<what>.tsv."""
    rows = []
    for path in map(Path, paths):
        measured = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        name, variant, seed = path.parts[-4:-1]
        what = path.name.removesuffix(".tsv").removesuffix(".1-of-1")
        rows.append((name, variant, int(seed), what, measured["s"], measured["max_rss"]))
    columns = ["set", "variant", "seed", "what", "seconds", "peak_mb"]
    return pd.DataFrame(rows, columns=columns)


def all_tables(
    scores: Sequence[str], curves: Sequence[str], costs: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Tables by name: `scores`, `curves`, `summary`, `differences`, `variants`, `costs`.

    Parameters
    ----------
    scores, curves, costs : files of all splits.
    """
    all_scores = read_all(scores)
    measured = {"scores": all_scores, "curves": read_all(curves), "costs": read_costs(costs)}
    return measured | tables_of(all_scores)


def tables_of(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables `summary`, `differences` and `variants` of the scores of all splits."""
    base = scores[scores["variant"] == "base"]
    others = [
        method
        for method in dict.fromkeys(base["method"])
        if method != COMPARED and not method.startswith("dice_rho")
    ]
    return {
        "summary": summarize(scores),
        "differences": paired_differences(base, COMPARED, others, list(METRICS)),
        "variants": variant_differences(scores, list(METRICS)),
    }


def read_layouts(paths: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """UMAPs by set and method: .../<set>/<variant>/<seed>/paper/layouts.npz."""
    layouts = {}
    for path in map(Path, paths):
        with np.load(path) as arrays:
            layouts[path.parts[-5]] = dict(arrays)
    return layouts


def write_figures(
    tables: Mapping[str, pd.DataFrame],
    layouts: Mapping[str, Mapping[str, np.ndarray]],
    folder: str | Path,
) -> list[str]:
    """Draw all figures into a new folder; returns their names.

    Parameters
    ----------
    tables : see `all_tables`.
    layouts : see `read_layouts`.
    """
    drawn = []
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        figures = all_figures(tables["scores"], tables["differences"], tables["curves"], layouts)
        for name, figure in figures:
            with styled():
                figure.savefig(temporary / f"{name}.png", dpi=110)
            plt.close(figure)
            drawn.append(name)
    return drawn
