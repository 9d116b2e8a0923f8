"""Cells of any number, the whole workflow on them, and what each rule costs.

    python tests/benchmarks/scale.py H5AD FOLDER [--label cell_type] [--reference 20000]
        [--samples 4] [--cells 20000] [--shards 8] [--cores 2] [--memory MIB] [--config JSON]
        [--agreement]

H5AD holds labelled raw counts. A made cell is the sum of two real cells of its type, thinned to the
depth of one: its type is known, no two are alike, and a type is not a Gaussian. The query samples
are shallower than the reference and have shares of types of their own. Cells and results stay in
FOLDER: a run that was stopped goes on there. Writes docs/scale/<number of cells>.tsv: what each
rule took, and the memory that its largest job would ask SLURM for, denoising in 64 shards; and
docs/scale/disk.tsv: what the results take on the disk. With
--agreement a second atlas is made with all limits lowered, so that everything is approximated that
can be, then also each sample labelled by itself; both are compared with the first:
docs/scale/agreement.tsv. Both are one folder: repeated, the labels of both are made again.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from dice_atlas.clustering.leiden import leiden_clusters
from dice_atlas.clustering.settings import FAST
from dice_atlas.names import RESOLUTION
from dice_atlas.tables import read_part
from runs import ROOT, run_workflow
from sklearn.metrics import adjusted_rand_score

OUT = ROOT / "docs" / "scale"
# Cells that are made at once.
BLOCK = 20_000
# Shards of the plan that memory is asked for.
PLANNED_SHARDS = 64
# Depth of a query sample by the reference's; spread of the log depth of cells, and of the log
# shares of the types of a query sample.
QUERY_DEPTH, DEPTH_SPREAD, SHARE_SPREAD = 0.8, 0.3, 0.4


def made_blocks(
    counts: sp.csr_matrix, codes: np.ndarray, wanted: np.ndarray, depth: float, seed: int
) -> Iterator[sp.csr_matrix]:
    """Counts of made cells of the wanted types, block by block.

    Parameters
    ----------
    counts, codes : of real cells, cells x genes, and their types (int64).
    wanted : type of each cell to make.
    depth : of a made cell by that of a real one.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    sizes = np.array([len(rows) for rows in members])
    for start in range(0, len(wanted), BLOCK):
        own = wanted[start : start + BLOCK]
        first, second = (
            np.array([members[c][i] for c, i in zip(own, rng.integers(sizes[own]), strict=True)])
            for _ in range(2)
        )
        both = (counts[first] + counts[second]).tocsr()
        share = np.clip(depth * rng.lognormal(0, DEPTH_SPREAD, len(own)) / 2, 0, 1)
        both.data = rng.binomial(both.data, np.repeat(share, np.diff(both.indptr))).astype(np.int32)
        both.eliminate_zeros()
        yield both


def make_sample(source: ad.AnnData, label: str, n: int, query: bool, seed: int, path: Path) -> None:
    """Write one sample; nothing if it is there."""
    if path.exists():
        return
    rng = np.random.default_rng([seed, 1])
    types, codes = np.unique(source.obs[label].astype(str), return_inverse=True)
    weight = np.bincount(codes) * np.exp(query * SHARE_SPREAD * rng.standard_normal(len(types)))
    wanted = rng.choice(len(types), n, p=weight / weight.sum())
    counts = sp.csr_matrix(source.X).astype(np.int32)
    blocks = made_blocks(counts, codes, wanted, QUERY_DEPTH if query else 1.0, seed)
    obs = pd.DataFrame({label: types[wanted]}, index=[f"{i:07d}-1" for i in range(n)])
    made = ad.AnnData(sp.vstack(list(blocks), format="csr"), obs=obs, var=source.var[[]])
    made.write_h5ad(path, compression="lzf")


def make_samples(
    source: ad.AnnData, label: str, reference: int, samples: int, cells: int, folder: Path
) -> str:
    """Write a reference and query samples of made cells; returns their sheet (csv).

    Parameters
    ----------
    source, label : real cells, and the obs column of their types.
    reference, samples, cells : cells of the reference, query samples, and cells of each.
    """
    lines = ["sample,path,role,batch,labels,truth"]
    for number in range(samples + 1):
        name = f"q{number}" if number else "ref"
        size, path = cells if number else reference, folder / f"{name}.h5ad"
        make_sample(source, label, size, bool(number), number, path)
        role, columns = ("query", f",{label}") if number else ("reference", f"{label},")
        lines.append(f"{name},{path.name},{role},{name},{columns}")
    return "\n".join(lines) + "\n"


def rule_costs(folder: Path) -> pd.DataFrame:
    """Jobs, CPU seconds, seconds and memory (MiB) of the largest job, of each rule."""
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        measured = pd.read_csv(path, sep="\t", na_values="-").iloc[0]
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows.append((rule, measured["cpu_time"], measured["s"], measured["max_rss"]))
    jobs = pd.DataFrame(rows, columns=["rule", "cpu_seconds", "seconds", "mib"])
    found = jobs.groupby("rule").agg(
        jobs=("rule", "size"),
        cpu_seconds=("cpu_seconds", "sum"),
        seconds_all=("seconds", "sum"),
        seconds_longest=("seconds", "max"),
        mib_largest=("mib", "max"),
    )
    return found.sort_values("cpu_seconds", ascending=False).round(1).reset_index()


OTHER_SEEDS = "clusters of the exact run by three other seeds, same resolution: least ARI"
# Files of the results by what they hold.
DISK = {
    "samples as read": "samples/*/counts.h5ad",
    "samples after QC": "samples/*/filtered.h5ad",
    "normalised expression": "features/normalized.h5ad",
    "atlas.h5ad": "atlas.h5ad",
}


def disk_use(results: Path, cells: int) -> pd.DataFrame:
    """MB of the results on the disk, by what they hold."""
    sizes = {path: path.stat().st_size / 1e6 for path in results.rglob("*") if path.is_file()}
    rows = []
    for what, pattern in DISK.items():
        own = [sizes.pop(path) for path in results.glob(pattern)]
        rows.append((cells, what, sum(own)))
    rows.append((cells, "all else", sum(sizes.values())))
    return pd.DataFrame(rows, columns=["cells", "what", "mb"])


def asked_memory(plan: str) -> pd.Series:
    """Memory (MiB) that the largest job of each rule would ask for, from what a dry run prints."""
    jobs = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: .*mem_mib=(\d+)", plan,
                      flags=re.MULTILINE)  # fmt: skip
    table = pd.DataFrame(jobs, columns=["rule", "mib"]).astype({"mib": int})
    return table.groupby("rule")["mib"].max()


def lowered(total: int) -> dict:
    """Settings by which all is approximated that can be, `annotate.per` apart."""
    few = total // 4
    return {
        "annotate": {"exact_up_to": min(few, 15_000)},
        "cluster": {"exact_up_to": few, "flavor": "igraph"},
        "scale": {"sketch": max(few, 1_000)},
    }


def agreement_of_seeds(exact: Path, clusters: pd.Series, resolution: float) -> float:
    """Least ARI of an atlas's clusters with those of its own graph by three other seeds."""
    graph = ad.read_h5ad(exact / "clusters" / "graph.h5ad")
    return min(
        adjusted_rand_score(clusters, leiden_clusters(graph, [resolution], seed, FAST)[resolution])
        for seed in (1, 2, 3)
    )


def agreement(exact: Path, approximate: Path) -> pd.DataFrame:
    """How far two atlases of the same cells agree."""
    one, other = (read_part(path / "atlas.h5ad", "obs") for path in (exact, approximate))
    query = (one["role"] == "query").to_numpy()
    rows = []
    for column in ("cell_type", "cell_type_in_pca", "cell_type_in_dice", "cell_type_in_linear"):
        same = one[column].astype(str).to_numpy() == other[column].astype(str).to_numpy()
        rows.append((f"{column}: equal", same[query].mean()))
    gap = (one["cell_type_score"] - other["cell_type_score"]).abs()
    rows.append(("cell_type_score: mean absolute difference", gap[query].mean()))
    rows.append(("clusters: ARI", adjusted_rand_score(one["cluster"], other["cluster"])))
    scan = pd.read_csv(exact / "clusters/resolutions.tsv", sep="\t")
    resolution = scan["resolution"][scan["chosen"]].item()
    column = f"{RESOLUTION}{resolution:g}"
    same = adjusted_rand_score(one[column], other[column])
    rows.append(("clusters at the exact run's resolution: ARI", same))
    rows.append((OTHER_SEEDS, agreement_of_seeds(exact, one[column], resolution)))
    metrics = [
        pd.read_csv(path / "metrics.tsv", sep="\t").set_index(["cells", "embedding", "metric"])
        for path in (exact, approximate)
    ]
    for metric in ("accuracy", "macro_f1"):
        values = [table["value"]["query", "consensus", metric] for table in metrics]
        rows += [(f"{metric}, exact", values[0]), (f"{metric}, approximate", values[1])]
    gaps = [
        abs(metrics[0]["value"][key] - metrics[1]["value"][key])
        for key in metrics[0].index
        if key[2] in ("silhouette", "clisi", "knn_accuracy", "ari_reference")
    ]
    rows.append(("metrics of embeddings: largest difference", max(gaps)))
    return pd.DataFrame(rows, columns=["what", "value"])


def main() -> None:
    """Make the cells, run the workflow, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--label", default="cell_type")
    parser.add_argument("--reference", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", type=int, default=0, help="MiB that jobs at once may ask for")
    parser.add_argument("--config", type=json.loads, default={}, help="more of it, as JSON")
    parser.add_argument("--agreement", action="store_true")
    given = parser.parse_args()
    total = given.reference + given.samples * given.cells
    # Cells that are there are not made again: what they are is in the name.
    made_as = (given.source.stem, given.label, given.reference, given.samples, given.cells)
    folder = given.folder / "-".join(map(str, made_as))
    folder.mkdir(parents=True, exist_ok=True)
    source = ad.read_h5ad(given.source)
    source = source[source.obs[given.label].notna()].copy()
    sheet = make_samples(source, given.label, given.reference, given.samples, given.cells, folder)
    config = {
        "atlas": "scale",
        "qc": {"min_genes": 100, "doublets": "off"},
        "denoise": {"shards": given.shards},
        **given.config,
    }
    memory = ("--resources", f"mem_mb={given.memory}") if given.memory else ()
    run_workflow(folder, sheet, config, given.cores, *memory)
    results = folder / "results/scale"
    costs = rule_costs(results / "benchmarks")
    planned = {**config, "denoise": {**config["denoise"], "shards": PLANNED_SHARDS}}
    plan = run_workflow(folder, sheet, planned, given.cores, "--dry-run", "--forceall")
    costs["mib_asked"] = costs["rule"].map(asked_memory(plan)).astype("Int64")
    OUT.mkdir(exist_ok=True)
    costs.to_csv(OUT / f"{total}.tsv", sep="\t", index=False)
    path, disk = OUT / "disk.tsv", disk_use(results, total)
    if path.exists():
        disk = pd.concat([pd.read_csv(path, sep="\t").query("cells != @total"), disk])
    disk = disk.sort_values("cells", kind="stable")
    disk.to_csv(path, sep="\t", index=False, float_format="%.4g")
    print(costs.to_string(index=False))
    print(f"all: {costs['cpu_seconds'].sum():,.0f} CPU seconds")
    print(pd.read_csv(results / "metrics.tsv", sep="\t").to_string(index=False))
    if given.agreement:
        config = {**config, **lowered(total), "atlas": "approximate"}
        found = []
        # In one folder: the second run redoes the labels alone.
        for per in ("all", "sample"):
            config["annotate"] = {**config["annotate"], "per": per}
            run_workflow(folder, sheet, config, given.cores)
            same = agreement(results, folder / "results/approximate")
            found.append(same.assign(cells=total, per=per))
            table = pd.concat(found)
            table.to_csv(OUT / "agreement.tsv", sep="\t", index=False, float_format="%.5g")
            print(found[-1].to_string(index=False))


if __name__ == "__main__":
    main()
