# What the rules of the benchmark share: its sheet, its variants, its paths.
import functools

from dice_atlas.baselines.methods import ALWAYS, DICE_METHODS, EMBEDDED, PRIORS

BENCHMARK = config["benchmark"]
BENCHMARK_ROOT = f"results/benchmark/{BENCHMARK['name']}"
SCVI_PYTHON = default_file(BENCHMARK["scvi_python"])
# Where a variant differs from the base in its cells or its space, these are enough to see it.
COMPARED = list(ALWAYS)
# Its seeds: of a number n the first n, or those listed.
SEEDS = BENCHMARK["seeds"]
SEEDS = list(range(SEEDS)) if isinstance(SEEDS, int) else SEEDS


def bench(path=""):
    """Path of a file of the benchmark."""
    return f"{BENCHMARK_ROOT}/{path}"


def of_split(path, wildcards=None):
    """Path of a file of one split; a pattern without its wildcards."""
    pattern = bench(f"{{set}}/{{variant}}/{{seed}}/{path}")
    return expand(pattern, **wildcards)[0] if wildcards else pattern


@functools.cache
def benchmark_sheet():
    """Rows of the benchmark's sheet by sample; read only where the benchmark is asked for."""
    path = BENCHMARK["samples"]
    try:
        sheet = read_samples(path)
        require_files(
            sheet,
            path,
            made=DEMO_FILES.values(),
            finished=bench("samples/{sample}.h5ad"),
        )
        require_sets(sheet, path, BENCHMARK["sweeps"]["sets"])
        if "scvi" in BENCHMARK["methods"] and not deploys_conda():
            require_scvi(SCVI_PYTHON)
    except InputError as error:
        # Snakemake wraps every other error of an input function into its own, with a traceback.
        logger.error(f"Error: {error}")
        raise SystemExit(1) from None
    return sheet


def benchmark_sets():
    """Samples of each set, in the order of the sheet."""
    found = {}
    for name, row in benchmark_sheet().items():
        found.setdefault(row["extra"]["set"], []).append(name)
    return found


def benchmark_pairs():
    """Sets that have a query of their own."""
    sheet = benchmark_sheet()
    return [
        name
        for name, samples in benchmark_sets().items()
        if {sheet[s]["role"] for s in samples} == {"reference", "query"}
    ]


def benchmark_row(wildcards):
    return loaded(benchmark_sheet()[wildcards.sample])


def benchmark_sources(wildcards):
    return sources(benchmark_sheet()[wildcards.sample])


def set_counts(wildcards):
    return expand(
        bench("samples/{sample}.h5ad"), sample=benchmark_sets()[wildcards.set]
    )


def set_min_genes(wildcards):
    """The least number of genes of a cell, by sample."""
    sheet = benchmark_sheet()
    least = config["qc"]["min_genes"]
    return [
        sheet[name]["qc"].get("min_genes", least)
        for name in benchmark_sets()[wildcards.set]
    ]


def swept_sets():
    """Sets of the sweeps: those that config names, or all."""
    return BENCHMARK["sweeps"]["sets"] or list(benchmark_sets())


def methods_on(name, variant, seed):
    """Methods that are scored blind on one split."""
    if variant.startswith("missing-"):
        return BENCHMARK["methods"]
    if variant != "base":
        return COMPARED
    sweeps = BENCHMARK["sweeps"]
    swept = name in swept_sets() and int(seed) < sweeps["seeds"]
    rho = [f"dice_rho_{value:g}" for value in sweeps["rho"] if swept]
    return BENCHMARK["methods"] + rho


def methods_of(wildcards):
    return methods_on(wildcards.set, wildcards.variant, wildcards.seed)


def embedding_file(method):
    """Where a method's embedding lies, of one split."""
    if method.startswith("dice_"):
        return of_split(f"dice/{method}/1-of-1.h5ad")
    return of_split(f"embeddings/{method}.h5ad")


def embeddings_scored(wildcards):
    return expand(
        [embedding_file(method) for method in methods_of(wildcards)], **wildcards
    )


def prior_of_method(name):
    """A file of the prior that a DICE method takes."""

    def file_of_prior(wildcards):
        method = DICE_METHODS.get(wildcards.method, DICE_METHODS["dice_exact"])
        return of_split(f"prior-{method.prior}/{name}", wildcards)

    return file_of_prior


def denoised_cells(wildcards):
    """The cells that a DICE method denoises; Gibbs has no time for the reference's."""
    name = "query" if wildcards.method == "dice_gibbs" else "latents"
    return of_split(f"{name}.h5ad", wildcards)


def dice_settings(wildcards):
    """The `denoise` section of a DICE method."""
    kept = {k: v for k, v in config["denoise"].items() if k not in ("shards", "noise")}
    # The only likelihood with an exact mode.
    kept["likelihood"] = "gaussian"
    if wildcards.method in DICE_METHODS:
        return {**kept, **DICE_METHODS[wildcards.method].denoise}
    rho = float(wildcards.method.removeprefix("dice_rho_"))
    return {**kept, "method": "exact", "rho": {**kept["rho"], "end": rho}}


def prior_settings(wildcards):
    kept = {k: v for k, v in config["prior"].items() if k != "path"}
    variant = PRIORS[wildcards.kind]
    overrides = variant.overrides(kept["preset"], kept["overrides"])
    return {**kept, **variant.settings, "overrides": overrides}


def prior_noise(wildcards):
    return PRIORS[wildcards.kind].noise or config["denoise"]["noise"]


def benchmark_splits():
    """(set, variant, seeds) of all splits."""
    sweeps = BENCHMARK["sweeps"]
    few = [seed for seed in SEEDS if seed < sweeps["seeds"]]
    for name in benchmark_sets():
        yield name, "base", SEEDS
    for name in swept_sets():
        for k in sweeps["k"]:
            yield name, f"k-{k}", few
        for rank in range(1, sweeps["types"] + 1):
            yield name, f"missing-{rank}", few
            yield name, f"extra-{rank}", few
    for name in benchmark_pairs():
        for scope in BENCHMARK["scopes"]:
            yield name, f"scope-{scope}", few


def benchmark_tables(name, protocols):
    """Tables of all splits and protocols; protocol `paper` for the base alone."""

    def tables(wildcards):
        return [
            bench(f"{set_}/{variant}/{seed}/{protocol}/{name}")
            for protocol in protocols
            for set_, variant, seeds in benchmark_splits()
            for seed in seeds
            if protocol == "blind" or variant == "base"
        ]

    return tables


def base_layouts(wildcards):
    """UMAPs of the first seed, where protocol `paper` makes them."""
    names = benchmark_sets() if "paper" in BENCHMARK["protocols"] else []
    return [bench(f"{name}/base/{SEEDS[0]}/paper/layouts.npz") for name in names]


def benchmark_costs(wildcards):
    """Benchmark files of all jobs on splits."""
    return [
        bench(f"benchmarks/{name}/{variant}/{seed}/{what}.tsv")
        for name, variant, seeds in benchmark_splits()
        for seed in seeds
        for what in jobs_of(name, variant, seed)
    ]


def jobs_of(name, variant, seed):
    """Names of the benchmark files: each method's, those of the priors, and the rest."""
    methods = methods_on(name, variant, seed)
    protocols = BENCHMARK["protocols"] if variant == "base" else ["blind"]
    dice = [m for m in methods if m.startswith("dice_")]
    priors = {DICE_METHODS[m].prior for m in dice if m in DICE_METHODS}
    jobs = [f"{m}.1-of-1" if m in dice else m for m in methods]
    scores = [f"score_{protocol}" for protocol in protocols]
    return [*jobs, *(f"prior-{kind}" for kind in sorted(priors)), "split", *scores]
