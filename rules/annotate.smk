# Labels from the reference to the query: Seurat-style transfer in each space, a linear model, and
# the consensus of such voters. Labels of clusters by marker lists need no reference.


rule find_anchors:
    input:
        samples=transferred_samples,
        loadings=only_dice(out("latent/loadings.npz")),
        embedding=only_dice(out("denoise/denoised.h5ad")),
        prior=saved_prior_files("card.json"),
        synthetic=augmented("cells.h5ad"),
        synthetic_embedding=only_dice(augmented("denoised.1-of-1.h5ad")),
    output:
        anchors=of_transfer("anchors.tsv.gz"),
        weights=of_transfer("weight_embedding.h5ad"),
        calibration=of_transfer("calibration.tsv.gz"),
    log:
        log_of(f"find_anchors/{ONE_TRANSFER}"),
    benchmark:
        benchmark_of(f"find_anchors/{ONE_TRANSFER}")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2500, 12),
        runtime=runtime(60),
    params:
        annotate=anchor_settings,
        one_of_several=PER_SAMPLE and len(QUERIES) > 1,
        seed=config["seed"],
    script:
        "../workflow_scripts/find_anchors.py"


rule transfer_labels:
    input:
        anchors=of_transfer("anchors.tsv.gz"),
        weights=of_transfer("weight_embedding.h5ad"),
        calibration=of_transfer("calibration.tsv.gz"),
        levels=level_files(),
    output:
        predictions=of_transfer("predictions.tsv.gz"),
        calls=of_transfer("calls.tsv.gz"),
    log:
        log_of(f"transfer_labels/{ONE_TRANSFER}"),
    benchmark:
        benchmark_of(f"transfer_labels/{ONE_TRANSFER}")
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=mem_mb(1500, 10),
        runtime=runtime(30),
    params:
        annotate={k: config["annotate"][k] for k in CALL_SETTINGS + WEIGHT_SETTINGS},
    script:
        "../workflow_scripts/transfer_labels.py"


if PER_SAMPLE:

    rule gather_annotation:
        input:
            predictions=of_every_transfer("predictions.tsv.gz"),
            calls=of_every_transfer("calls.tsv.gz"),
            calibration=of_every_transfer("calibration.tsv.gz"),
        output:
            predictions=out("annotation/{space}/predictions.tsv.gz"),
            calls=out("annotation/{space}/calls.tsv.gz"),
            calibration=out("annotation/{space}/calibration.tsv.gz"),
        log:
            log_of("gather_annotation/{space}"),
        benchmark:
            benchmark_of("gather_annotation/{space}")
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=mem_mb(1000, 20),
            runtime=runtime(20),
        script:
            "../workflow_scripts/gather_annotation.py"


rule vote_linear:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        prior=saved_prior_files("card.json"),
    output:
        predictions=out("annotation/linear/predictions.tsv.gz"),
        calibration=out("annotation/linear/calibration.tsv.gz"),
    log:
        log_of("vote_linear"),
    benchmark:
        benchmark_of("vote_linear")
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(60),
    params:
        nfeatures=config["annotate"]["nfeatures"],
        seed=config["seed"],
    script:
        "../workflow_scripts/vote_linear.py"


if JOINED:

    rule relate_labels:
        input:
            samples=expand(out("samples/{sample}/filtered.h5ad"), sample=REFERENCES),
            truth=truth_files(),
            tables=list(TABLES.values()),
            parents=parents_file(),
        output:
            levels=out("annotation/label_levels.tsv"),
        log:
            log_of("relate_labels"),
        benchmark:
            benchmark_of("relate_labels")
        # A name that nobody knows is found before hours are spent on the rest.
        priority: 100
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=mem_mb(1500, 1),
            runtime=runtime(20),
        params:
            annotate={k: config["annotate"][k] for k in ("rename", "parents")},
            tables=TABLES,
        script:
            "../workflow_scripts/relate_labels.py"


if CELLTYPIST in TABLES:

    # In an environment of its own, which has the versions that CellTypist wants.
    rule vote_celltypist:
        input:
            samples=every_sample("samples/{sample}/filtered.h5ad"),
            model=config["annotate"]["celltypist"],
        output:
            table=TABLES[CELLTYPIST],
        log:
            log_of("vote_celltypist"),
        benchmark:
            benchmark_of("vote_celltypist")
        conda:
            "../envs/celltypist.yaml"
        resources:
            mem_mb=mem_mb(3000, 30),
            runtime=runtime(60),
        params:
            # Functions: Snakemake looks for wildcards in texts.
            python=lambda wildcards: "python" if deploys_conda() else CELLTYPIST_PYTHON,
            script=lambda wildcards: repository_file(
                "workflow_scripts/vote_celltypist.py"
            ),
        shell:
            "{params.python:q} {params.script:q} --model {input.model:q} --output {output.table:q}"
            " {input.samples:q} > {log:q} 2>&1"


if TABLES:

    rule vote_table:
        input:
            samples=every_sample("samples/{sample}/filtered.h5ad"),
            table=lambda wildcards: TABLES[wildcards.table],
            prior=saved_prior_files("card.json"),
            levels=level_files(),
        output:
            predictions=out("annotation/{table}/predictions.tsv.gz"),
            calibration=out("annotation/{table}/calibration.tsv.gz"),
        log:
            log_of("vote_table/{table}"),
        benchmark:
            benchmark_of("vote_table/{table}")
        wildcard_constraints:
            table="|".join(map(re.escape, TABLES)),
        # A wrong file is found before hours are spent on the rest.
        priority: 100
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=mem_mb(1500, 10),
            runtime=runtime(20),
        params:
            suffixes={name: row["suffix"] for name, row in SHEET.items()},
        script:
            "../workflow_scripts/vote_table.py"


rule combine_voters:
    input:
        predictions=of_voters("predictions.tsv.gz"),
        calibration=of_voters("calibration.tsv.gz"),
        levels=level_files(),
    output:
        predictions=out("annotation/consensus/predictions.tsv.gz"),
        calibration=out("annotation/consensus/calibration.tsv.gz"),
        voters=out("annotation/consensus/voters.tsv"),
    log:
        log_of("combine_voters"),
    benchmark:
        benchmark_of("combine_voters")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 40),
        runtime=runtime(20),
    params:
        tables=list(TABLES),
    script:
        "../workflow_scripts/combine_voters.py"


rule call_labels:
    input:
        predictions=out("annotation/{voter}/predictions.tsv.gz"),
        calibration=out("annotation/{voter}/calibration.tsv.gz"),
        levels=level_files(),
    output:
        calls=out("annotation/{voter}/calls.tsv.gz"),
    log:
        log_of("call_labels/{voter}"),
    benchmark:
        benchmark_of("call_labels/{voter}")
    wildcard_constraints:
        voter="|".join(map(re.escape, ("linear", CONSENSUS, *TABLES))),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 40),
        runtime=runtime(20),
    params:
        annotate={k: config["annotate"][k] for k in CALL_SETTINGS},
        is_table=lambda wildcards: wildcards.voter in TABLES,
    script:
        "../workflow_scripts/call_labels.py"


if LEVELLED:

    rule score_levels:
        input:
            calls=final_annotation("calls.tsv.gz"),
            calibration=final_annotation("calibration.tsv.gz"),
            truth=truth_files(),
            levels=level_files(),
        output:
            levels=out("annotation/levels.tsv"),
        log:
            log_of("score_levels"),
        benchmark:
            benchmark_of("score_levels")
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=mem_mb(1500, 40),
            runtime=runtime(20),
        params:
            annotate={k: config["annotate"][k] for k in CALL_SETTINGS},
        script:
            "../workflow_scripts/score_levels.py"


rule explain_labels:
    input:
        denoised=out("denoise/denoised.h5ad"),
        loadings=out("latent/loadings.npz"),
        calls=expand(out("annotation/{voter}/calls.tsv.gz"), voter=CALLED),
        clusters=out("clusters/clusters.tsv.gz"),
        levels=level_files(),
    output:
        genes=out("annotation/label_genes.tsv"),
        clusters=out("annotation/cluster_labels.tsv"),
    log:
        log_of("explain_labels"),
    benchmark:
        benchmark_of("explain_labels")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 6),
        runtime=runtime(20),
    script:
        "../workflow_scripts/explain_labels.py"


rule estimate_shift:
    input:
        calibration=expand(out("annotation/{voter}/calibration.tsv.gz"), voter=CALLED),
    output:
        shift=out("annotation/shift.tsv"),
    log:
        log_of("estimate_shift"),
    benchmark:
        benchmark_of("estimate_shift")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 40),
        runtime=runtime(20),
    params:
        final=config["annotate"]["final"],
    script:
        "../workflow_scripts/estimate_shift.py"


rule score_markers:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        clusters=out("clusters/clusters.tsv.gz"),
        lists=marker_lists() or [],
    output:
        cells=out("annotation/markers/cells.h5ad"),
        scores=out("annotation/markers/scores.tsv"),
        calls=out("annotation/markers/calls.tsv"),
        genes=out("annotation/markers/genes.tsv"),
    log:
        log_of("score_markers"),
    benchmark:
        benchmark_of("score_markers")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 6),
        runtime=runtime(60),
    params:
        seed=config["seed"],
    script:
        "../workflow_scripts/score_markers.py"
