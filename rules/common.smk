# What all rules share: validated settings, the sample sheet, paths, resources.
# All functions of the workflow live here (the rule files hold rules only).
import atexit
import importlib.metadata
import os
import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import CliException
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from snakemake.sourcecache import HostingProviderFile

# The clone that this file is part of; none where Snakemake fetches file by file, as it does for
# `snakefile: github(...)`. Not workflow.basedir: in a module that is the user's own folder.
RULES = workflow.current_basedir
CLONE = Path(RULES).parent if isinstance(RULES, os.PathLike) else None


class Refusal(CliException):
    """A sentence for the user, which Snakemake prints alone.

    To other errors it adds the places in the rules where they were raised.
    """

    __traceback__ = property(lambda self: None, lambda self, value: None)


def repository_file(path):
    """A file of this repository, on disk; relative in a clone's own folder, so that it can move."""
    # Not always source_path(): its path is another one in every run.
    if not CLONE:
        return str(workflow.source_path(f"../{path}"))
    return path if CLONE.samefile(os.curdir) else str(CLONE / path)


def prefer_own_library():
    """Let the run and its jobs import the clone's dice_atlas, whatever else is installed."""
    library = str(CLONE / "workflow_scripts")
    searched = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([library, *filter(None, searched)])
    os.environ.update(PYTHONPATH=os.pathsep.join(paths))
    sys.path.insert(0, library)


def require_library():
    """Stop unless dice_atlas is installed, of the version that these rules were written for."""
    text = Path(repository_file("workflow_scripts/dice_atlas/__init__.py")).read_text()
    expected = re.search(r'__version__ = "(.+)"', text)[1]
    try:
        seen = importlib.metadata.version("dice-atlas")
    except importlib.metadata.PackageNotFoundError:
        seen = "none"
    if seen != expected:
        address = "ADDRESS@TAG"
        if isinstance(RULES, HostingProviderFile):
            address = f"https://{RULES.host}/{RULES.repo}@{RULES.ref}"
        raise Refusal(
            f"the package dice-atlas: seen {seen}, expected {expected} where snakemake is installed: "
            f"{RULES} is no clone and has no library; pip install 'dice-atlas @ git+{address}'"
        )


if CLONE:
    prefer_own_library()
else:
    require_library()
from dice_atlas.errors import InputError
from dice_atlas.inputs import note_read, require_same, require_unchanged
from dice_atlas.logs import last_words
from dice_atlas.settings import require_single_keys, validate_config
from dice_atlas.settings_files import (
    require_gene_names,
    require_marker_lists,
    require_saved_generator,
    require_saved_prior,
    require_scvi,
    require_tables,
)
from dice_atlas.sheet_settings import (
    compared_samples,
    limits_as_shares,
    require_augmentable,
    require_batch_keys,
    require_comparable,
    require_counts,
    require_learnable,
    require_roles,
    require_sets,
)
from dice_atlas.conditions.settings import Grouping
from dice_atlas.counts.formats import label_columns, member_files
from dice_atlas.export.targets import TARGETS as EXPORTS
from dice_atlas.export.targets import require_fields
from dice_atlas.names import CELLTYPIST, CONSENSUS, EMBEDDINGS, MISSING
from dice_atlas.names import SPACES as ALL_SPACES
from dice_atlas.sheet import read_sheet, require_files, sheet_warnings
from dice_atlas.synthesis.settings import CellRequest, ModelSettings
from dice_atlas.texts import unusable_path
from dice_atlas.vocabulary import GENES

if CLONE and unusable_path(str(CLONE)):
    raise Refusal(f"the folder of the workflow: {unusable_path(str(CLONE))}")

# Threads that wait must not spin: two jobs of torch on the same cores, or a busy node, would
# slow each other down many times over.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

STARTED = time.time()
MOST_FAILURES = 10
DEMO = "resources/demo/"
# What make_demo_data writes.
DEMO_FILES = {
    "reference": f"{DEMO}pbmc_ref.h5ad",
    "query1": f"{DEMO}pbmc_q1",
    "query2": f"{DEMO}pbmc_q2",
    "truth1": f"{DEMO}pbmc_q1_truth.csv",
    "truth2": f"{DEMO}pbmc_q2_truth.csv",
}
DEMO_SHEETS = ("config/samples.tsv", "config/benchmark/quick.tsv")


def default_file(path):
    """A file that a setting names; the repository's own where the folder of the run has none."""
    if os.path.exists(path) or not path.startswith(
        ("config/", ".venv-scvi/", ".venv-celltypist/")
    ):
        return path
    if CLONE:
        return str(CLONE / path) if (CLONE / path).exists() else path
    return repository_file(path) if path in DEMO_SHEETS else path


def deploys_conda():
    """Whether rules with an environment of their own get it from envs/."""
    return DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def read_samples(path):
    """Rows of a sample sheet. The demo's data are made in the folder of the run."""
    demo = Path(repository_file("config/samples.tsv")).parents[1] / DEMO
    schema = repository_file("config/schemas/samples.schema.json")
    return read_sheet(default_file(path), schema, moved={str(demo): DEMO})


def forced(rule):
    """Whether the command line asks to run a rule again."""
    # Not workflow.dag_settings: it is filled in after this file was read.
    asked = set(sys.argv)
    return bool(asked & {"--forceall", "-F"}) or any(a.endswith(rule) for a in asked)


def gene_names_file():
    """The user's own table of genes, if there is one."""
    names = config["genes"]["names"]
    return [] if not names or names in GENES else names


def marker_lists():
    """The table of marker genes, if there is one."""
    path = config["annotate"]["markers"]
    return default_file(path) if path else None


def small_inputs():
    """Files beside the samples' own: of each, what is made of it first and the rule that does."""
    results, prior = f"results/{config['atlas']}", config["prior"]["path"]
    read = {}
    for name in ("card.json", "prior.safetensors") if prior else ():
        read[f"{prior}/{name}"] = ([f"{results}/features/genes.tsv"], "select_genes")
    if config["synthesis"]["path"]:
        made = [f"{results}/synthesis/model.safetensors"]
        for name in ("card.json", "model.safetensors"):
            read[f"{config['synthesis']['path']}/{name}"] = (made, "train_synthesis")
    if gene_names_file():
        counts = [f"{results}/samples/{name}/counts.h5ad" for name in SHEET]
        read[gene_names_file()] = (counts, "load_counts")
    made = [f"{results}/annotation/label_levels.tsv"]
    if isinstance(config["annotate"]["parents"], str):
        read[config["annotate"]["parents"]] = (made, "relate_labels")
    for voter, table in config["annotate"]["tables"].items():
        made = [f"{results}/annotation/{voter}/predictions.tsv.gz"]
        read[table] = (made, "vote_table")
    if marker_lists():
        made = [f"{results}/annotation/markers/calls.tsv"]
        read[marker_lists()] = (made, "score_markers")
    for row in SHEET.values():
        if row["truth"] and row["truth_source"] != row["path"]:
            read[row["truth_source"]] = ([f"{results}/truth.tsv.gz"], "read_truth")
    return read


try:
    if workflow.is_main_process:
        require_single_keys(workflow.configfiles)
    # A new dict: in a module `config` is the user's own.
    config = validate_config(
        config, repository_file("config/schemas/config.schema.json")
    )
    # Of a config that says no more than it must.
    DEFAULTS = validate_config(
        {key: config[key] for key in ("atlas", "samples")},
        repository_file("config/schemas/config.schema.json"),
    )
    SHEET = read_samples(config["samples"])
    INPUTS_READ = f"results/{config['atlas']}/logs/inputs.json"
    require_files(
        SHEET,
        config["samples"],
        made=DEMO_FILES.values(),
        finished=f"results/{config['atlas']}/samples/{{sample}}/counts.h5ad",
    )
    if workflow.is_main_process and not forced("load_counts"):
        require_unchanged(
            SHEET,
            f"results/{config['atlas']}/samples/{{sample}}/counts.h5ad",
            INPUTS_READ,
        )
    if workflow.is_main_process:
        require_same(
            {p: made for p, made in small_inputs().items() if not forced(made[1])},
            INPUTS_READ,
        )
    require_gene_names(config["genes"]["names"])
    CELLTYPIST_PYTHON = default_file(config["annotate"]["celltypist_python"])
    require_tables(config["annotate"], None if deploys_conda() else CELLTYPIST_PYTHON)
    require_marker_lists(marker_lists())
    require_saved_prior(
        config["prior"]["path"], config["normalization"], workflow.is_main_process
    )
    require_saved_generator(config["synthesis"], workflow.is_main_process)
    require_batch_keys(config["batch"]["keys"], SHEET)
    require_roles(config, SHEET)
    require_counts(config, SHEET)
    require_augmentable(config["augment"], SHEET)
    require_comparable(config["compare"], SHEET)
    if "cellxgene" in config["export"] or "export_cellxgene" in sys.argv:
        require_fields({name: row["extra"] for name, row in SHEET.items()})
except InputError as error:
    raise Refusal(str(error)) from None
if workflow.is_main_process:
    if config["samples"] == DEMO_SHEETS[0] and config["atlas"] != "demo":
        logger.warning(
            f"Warning: the config names no `samples`: {config['atlas']} is made of the demo's cells"
        )
    for sentence in [
        *sheet_warnings(SHEET, default_file(config["samples"])),
        *limits_as_shares(config["qc"], SHEET),
    ]:
        logger.warning(f"Warning: {sentence}")

SAMPLES = list(SHEET)
REFERENCES = [name for name in SAMPLES if SHEET[name]["role"] == "reference"]
QUERIES = [name for name in SAMPLES if SHEET[name]["role"] == "query"]
# Labels are transferred when every reference sample has them and there is a query.
HAS_LABELS = bool(REFERENCES) and all(SHEET[name]["labels"] for name in REFERENCES)
TRANSFER = HAS_LABELS and bool(QUERIES)
# Who gives labels: anchors in spaces, other voters, and the consensus of some.
VOTERS = config["annotate"]["voters"] if TRANSFER else []
SPACES = [voter for voter in VOTERS if voter in ALL_SPACES]
CALLED = [*VOTERS, *({CONSENSUS} & {config["annotate"]["final"]})] if TRANSFER else []
# Voters whose labels come from another tool, and their tables.
TABLES = {
    voter: config["annotate"]["tables"].get(voter)
    or f"results/{config['atlas']}/annotation/{voter}/table.tsv.gz"
    for voter in VOTERS
    if voter == CELLTYPIST or voter in config["annotate"]["tables"]
}
# Labels have several levels, or at least other names after the transfer.
LEVELLED = TRANSFER and bool(
    config["annotate"]["parents"]
    or any(len(label_columns(SHEET[name]["labels"])) > 1 for name in REFERENCES)
)
JOINED = LEVELLED or (TRANSFER and bool(config["annotate"]["rename"]))
# Labels are transferred to all query samples together, or to each by itself.
PER_SAMPLE = config["annotate"]["per"] == "sample"
ONE_TRANSFER = "{space}/by_sample/{sample}" if PER_SAMPLE else "{space}"
OF_CONDITIONS = compared_samples(config["compare"], SHEET)
SAVED_PRIOR = config["prior"]["path"]
TRUTHS = [name for name in SAMPLES if SHEET[name]["truth"]]
PARTS = ("page.css", "macros.html.j2")  # of every page
# Of the report's page alone: its map (resources/report/).
VIEWER_PARTS = tuple(
    f"report/{name}"
    for name in (
        "explore.html.j2",
        "explore.css",
        "data.js",
        "colors.js",
        "map.js",
        "select.js",
        "legend.js",
        "panel.js",
        "pointers.js",
        "export.js",
        "page.js",
        "app.js",
    )
)
# A saved generator has its scores in its own folder.
JUDGED = not config["synthesis"]["path"] and config["synthesis"]["test_share"] > 0
# What each stage of the label transfer depends on, so that nothing else reruns it.
CALL_SETTINGS = ("risk", "unassigned_below", "outside_below", "coverage")
WEIGHT_SETTINGS = ("k.weight", "sd.weight", "seurat_version", "exact_up_to")
ANCHOR_SETTINGS = ("k.anchor", "k.filter", "k.score", "max.features", *WEIGHT_SETTINGS)
REDUCTION_SETTINGS = ("reduction", "nfeatures", "dims")


def templates(page, parts=()):
    """The template of a page, then what it includes."""
    return [repository_file(f"resources/{name}") for name in (page, *PARTS, *parts)]


def out(path):
    """Path of a result of this atlas."""
    return f"results/{config['atlas']}/{path}"


def log_of(name):
    return out(f"logs/{name}.log")


def benchmark_of(name):
    return out(f"benchmarks/{name}.tsv")


def sources(row):
    """Files that a row's sample is read from: its counts and its label table, if that is a file."""
    table = row["labels_source"]
    # The demo's folders are made whole, as one output, by a rule.
    made = row["path"] in DEMO_FILES.values()
    return {
        "counts": row["path"] if made else member_files(row["path"]),
        **({"labels": table} if table and table != row["path"] else {}),
    }


def all_sources(row):
    """Files that a row names, the truth's too."""
    truth = row["truth_source"] if row["truth"] else ""
    files = [*sources(row).values(), truth]
    each = [
        part for file in files for part in ([file] if isinstance(file, str) else file)
    ]
    return list(dict.fromkeys(filter(None, each)))


def sample_sources(wildcards):
    return sources(SHEET[wildcards.sample])


def loaded(row):
    """What `load_counts` needs of a sample's row. Truth is left out on purpose."""
    kept = (
        "sample",
        "path",
        "role",
        "batch",
        "labels",
        "labels_source",
        "subset",
        "suffix",
        "slot",
        "expression",
        "extra",
    )
    return {key: row[key] for key in kept}


def load_settings(wildcards):
    return loaded(SHEET[wildcards.sample])


def qc_settings(wildcards):
    """QC limits of a sample: those of the config, overridden by its row."""
    limits = {k: v for k, v in config["qc"].items() if k != "min_cells"}
    return {**limits, **SHEET[wildcards.sample]["qc"]}


def every_sample(pattern):
    return expand(out(pattern), sample=SAMPLES)


def transferred_samples(wildcards):
    """Counts that one transfer is made on: those of the reference, and of what it labels."""
    names = [*REFERENCES, wildcards.sample] if PER_SAMPLE else SAMPLES
    return expand(out("samples/{sample}/filtered.h5ad"), sample=names)


def of_transfer(name):
    """A file of one transfer."""
    return out(f"annotation/{ONE_TRANSFER}/{name}")


def of_every_transfer(name):
    """A file of the transfers to each sample, in one space."""
    pattern = out(f"annotation/{{{{space}}}}/by_sample/{{sample}}/{name}")
    return expand(pattern, sample=QUERIES)


def anchor_settings(wildcards):
    """What the anchors of a space depend on; a denoised space has its own reduction and genes."""
    kept = {
        *ANCHOR_SETTINGS,
        *(() if wildcards.space == "dice" else REDUCTION_SETTINGS),
    }
    return {k: v for k, v in config["annotate"].items() if k in kept}


def annotation_file(name):
    """A file of the label transfer; none when no labels are transferred."""
    return [out(f"annotation/{name}")] if TRANSFER else []


def marker_file(name):
    """A file of the marker lists; none unless config names lists."""
    return [out(f"annotation/markers/{name}")] if marker_lists() else []


def of_voters(name):
    """A file of each of the voters of the consensus."""
    return expand(
        out(f"annotation/{{voter}}/{name}"), voter=config["annotate"]["consensus"]
    )


def level_files():
    """The names of each label at each level; none where labels stay as they are given."""
    return [out("annotation/label_levels.tsv")] if JOINED else []


def parents_file():
    """The table of labels and their parents that config names, if it is one."""
    parents = config["annotate"]["parents"]
    return [parents] if isinstance(parents, str) else []


def of_query(name):
    """A file of the query's clusters in each embedding; none where no sample has a truth."""
    return expand(
        out(f"clusters/query/{{embedding}}/{name}"),
        embedding=EMBEDDINGS if TRUTHS else [],
    )


def truth_files():
    """The query's truth; none where no sample has one."""
    return [out("truth.tsv.gz")] if TRUTHS else []


def final_annotation(name):
    """A file of who makes the final label; none when no labels are transferred."""
    return annotation_file(f"{config['annotate']['final']}/{name}")


def truth_settings():
    """Where each sample's truth is read from."""
    kept = ("truth", "truth_source", "subset", "suffix")
    return {name: {key: SHEET[name][key] for key in kept} for name in TRUTHS}


def atlas_settings():
    """Provenance: the sheet as it was read, and the validated config less what changes no result.

    Of the figures the colours alone are part of the atlas.
    """
    without = (
        "gpu",
        "report",
        "figures",
        "export",
        "benchmark",
        "synthesis",
        "compare",
    )
    kept = {key: config[key] for key in sorted(config) if key not in without}
    kept["figures"] = {"palette": config["figures"]["palette"]}
    kept["annotate"] = {
        k: v for k, v in config["annotate"].items() if k != "celltypist_python"
    }
    kept["denoise"] = {k: v for k, v in config["denoise"].items() if k != "shards"}
    return {"config": kept, "samples": SHEET}


def unnamed():
    """Names of the truth that new names leave empty; without a transfer nothing is renamed."""
    pairs = config["annotate"]["rename"].items() if JOINED else ()
    return [str(old) for old, new in pairs if str(new).strip() in MISSING]


def augmented(name):
    """A file of the synthetic cells of rare classes; none unless config asks for them."""
    return [out(f"augment/{name}")] if config["augment"]["below"] else []


def conditions(name):
    """A table of the comparison of conditions; none unless config asks for one."""
    return [out(f"conditions/{name}")] if config["compare"] else []


def grouping_settings():
    """What the pseudobulk sums depend on; the models' settings are not among it."""
    return {key: config["compare"][key] for key in Grouping.__dataclass_fields__}


def saved_prior_files(*names):
    """Files of the saved prior that config names; none when a prior is trained."""
    return [f"{SAVED_PRIOR}/{name}" for name in names] if SAVED_PRIOR else []


def generator_files(*names):
    """Files of the saved generator that config names; none when one is trained."""
    path = config["synthesis"]["path"]
    return [f"{path}/{name}" for name in names] if path else []


def training_inputs():
    """What a generator is trained on and judged by; nothing where a saved one is used."""
    files = {"samples": every_sample("samples/{sample}/filtered.h5ad")}
    files |= {"genes": out("features/genes.tsv"), "clusters": []}
    if config["synthesis"]["label"] == "cluster":
        files["clusters"] = out("clusters/clusters.tsv.gz")
    return {name: [] for name in files} if config["synthesis"]["path"] else files


def synthesis_settings(kind):
    """The part of the section `synthesis` that a stage depends on."""
    return {name: config["synthesis"][name] for name in kind.__dataclass_fields__}


def embedding_of(space):
    """File that holds a space's cell embedding."""
    return out("denoise/denoised.h5ad" if space == "dice" else "latent/latents.h5ad")


def only_dice(files):
    """Files that the transfer reads in the denoised space only."""

    def files_of_space(wildcards):
        return files if wildcards.space == "dice" else []

    return files_of_space


def denoise_settings():
    """The `denoise` section, less what only Gibbs needs where the closed form is sure to hold."""
    # The noise's coordinates are those of the prior.
    kept = {k: v for k, v in config["denoise"].items() if k not in ("shards", "noise")}
    if (
        kept["method"] == "exact"
        and kept["likelihood"] == "gaussian"
        and not SAVED_PRIOR
    ):
        kept = {k: v for k, v in kept.items() if k not in ("iterations", "repeats")}
        kept["rho"] = {"end": kept["rho"]["end"]}
    return kept


def in_gene_space(path):
    """A file that only a likelihood in gene space needs."""
    return [] if config["denoise"]["likelihood"] == "gaussian" else [out(path)]


def mem_mb(base, factor):
    """Memory from the input's size, growing by attempt (MiB)."""

    def memory(wildcards, input, attempt):
        return int((base + factor * input.size_mb) * attempt)

    return memory


def runtime(minutes):
    """Minutes, doubled by every retry."""

    def duration(wildcards, attempt):
        return minutes * 2 ** (attempt - 1)

    return duration


def refuse_a_short_queue():
    """Stop before array jobs would wait for ever.

    Version 2.8.0 of the SLURM plugin drops shards that are ready while others of the array still
    wait for a place among `jobs`: they are never submitted, and the run never ends.
    """
    arrays = getattr(workflow.executor_settings, "array_jobs", None) or ""
    shards = sum(
        job.rule.name == "denoise_shard" for job in workflow.dag.needrun_jobs()
    )
    # Beside them what may be ready at the same time: anchors of each space, clusters and the like.
    transfers = len(SPACES) * (len(QUERIES) if PER_SAMPLE else 1)
    queries = sum(
        job.rule.name == "cluster_query" and job.wildcards.embedding != "dice"
        for job in workflow.dag.needrun_jobs()
    )
    needed = shards + transfers + queries + 7 + bool(marker_lists())
    if re.search(r"\b(denoise_shard|all)\b", arrays) and workflow.nodes < needed:
        raise Refusal(
            f"seen --jobs {workflow.nodes} and {shards} shards to be sent as an array job, expected "
            f"at least {needed} jobs: raise `jobs`, lower denoise.shards, or take slurm-array-jobs "
            "out of the profile"
        )


def refuse_synthesis_without_counts():
    """Stop before quality control and all else that comes before a generator is trained."""
    planned = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if "train_synthesis" in planned and not config["synthesis"]["path"]:
        try:
            require_learnable(SHEET)
        except InputError as error:
            raise Refusal(str(error)) from None


def named(rule, wildcards):
    """A job as people call it."""
    values = ", ".join(wildcards.values())
    return f"{rule} ({values})" if values else rule


def failures():
    """What the jobs that failed in this run said last, a few lines each."""
    said = []
    for job in workflow.dag.needrun_jobs():
        # A log of this run. One of an earlier run is of a job that was not reached.
        logs = [
            log
            for log in map(str, job.log)
            if os.path.exists(log) and os.path.getmtime(log) > STARTED - 1
        ]
        where = named(job.rule.name, job.wildcards_dict)
        said += [f"{where}: {last_words(log)}\n    log: {log}" for log in logs]
    return said


def print_failures():
    """Print what failed once more, when all else is said: Snakemake's own lines say no reason."""
    said = failures()
    if not said:
        return
    more = len(said) - MOST_FAILURES
    rest = [f"and {more} more jobs"] if more > 0 else []
    text = "\n".join([*said[:MOST_FAILURES], *rest])
    atexit.register(print, f"\nWhat failed:\n{text}", file=sys.stderr)
