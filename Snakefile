# dice-atlas: raw single-cell counts -> an annotated atlas with calibrated confidence.
# Every setting is described in config/README.md, every file in workflow_scripts/README.md.
import os

from snakemake.utils import min_version

min_version("9.0")


# The repository's where the folder of the run has none, and below every --configfile: what lies
# there may be another workflow's.
SETTINGS = "config/config.yaml"
if workflow.overwrite_configfiles or not os.path.exists(SETTINGS):
    SETTINGS = workflow.source_path(SETTINGS)
    # Else the first line of each command is about this file of Snakemake's own cache.
    logger.addFilter(
        lambda record: f"{SETTINGS} is extended" not in record.getMessage()
    )


configfile: SETTINGS


include: "rules/common.smk"
include: "rules/common_benchmark.smk"
include: "rules/common_progress.smk"


report: "resources/captions/workflow.rst"


scattergather:
    shards=config["denoise"]["shards"],


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),
    space="|".join(map(re.escape, ALL_SPACES)),
    embedding="|".join(map(re.escape, EMBEDDINGS)),


localrules:
    all,
    benchmark,
    check,
    synthesis,


include: "rules/counts.smk"
include: "rules/features.smk"
include: "rules/prior.smk"
include: "rules/denoise.smk"
include: "rules/augment.smk"
include: "rules/annotate.smk"
include: "rules/cluster.smk"
include: "rules/conditions.smk"
include: "rules/report.smk"
include: "rules/export.smk"
include: "rules/synthesis.smk"
include: "rules/benchmark.smk"


# Snakemake runs these of the main Snakefile only, not of a module.
onstart:
    refuse_a_short_queue()
    refuse_synthesis_without_counts()
    note_read(small_inputs(), INPUTS_READ, forced)
    say_progress()


onsuccess:
    say_results()


onerror:
    print_failures()


rule all:
    default_target: True
    input:
        atlas=out("atlas.h5ad"),
        report=out("report.html"),
        metrics=out("metrics.tsv"),
        qc=out("qc.tsv"),
        exports=[out(EXPORTS[name]) for name in config["export"]],
