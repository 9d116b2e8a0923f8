"""collect_benchmark: scores of all splits in tables and figures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from dice_atlas.benchmark.figures import METRICS, all_figures
from dice_atlas.benchmark.tables import paired_differences, summarize, variant_differences

COMPARED = "dice_exact"


def read_all(paths: Sequence[str]) -> pd.DataFrame:
    """Tables of all splits; a set may be called 001."""
    tables = [pd.read_csv(path, sep="\t", dtype={"set": str}) for path in paths]
    return pd.concat(tables, ignore_index=True)


def read_costs(paths: Sequence[str]) -> pd.DataFrame:
    """Seconds and peak memory (MB) of each job: .../<set>/<variant>/<seed>/<what>.tsv."""
    rows = []
    for path in map(Path, paths):
        found = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        name, variant, seed = path.parts[-4:-1]
        what = path.name.removesuffix(".tsv").removesuffix(".1-of-1")
        rows.append((name, variant, int(seed), what, found["s"], found["max_rss"]))
    columns = ["set", "variant", "seed", "what", "seconds", "peak_mb"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    from dice_atlas.files import atomic_path, write_table
    from dice_atlas.logs import job_log

    with job_log(snakemake.log[0]) as log:
        given, made = snakemake.input, snakemake.output
        scores, curves = read_all(given.scores), read_all(given.curves)
        summary = summarize(scores)
        base = scores[scores["variant"] == "base"]
        others = [m for m in dict.fromkeys(base["method"])
                  if m != COMPARED and not m.startswith("dice_rho")]  # fmt: skip
        apart = paired_differences(base, COMPARED, others, list(METRICS))
        variants = variant_differences(scores, list(METRICS))
        costs = read_costs(given.costs)
        for table, path in ((scores, made.scores), (curves, made.curves), (summary, made.summary),
                            (apart, made.differences), (variants, made.variants),
                            (costs, made.costs)):  # fmt: skip
            write_table(table, path)
        layouts = {}
        for path in map(Path, given.layouts):
            with np.load(path) as arrays:
                layouts[path.parts[-5]] = dict(arrays)
        with atomic_path(made.figures) as folder:
            folder.mkdir()
            for name, figure in all_figures(scores, apart, curves, layouts):
                figure.savefig(folder / f"{name}.png", dpi=110)
                plt.close(figure)
                log.info("figure %s", name)
