# Seurat-style label transfer from the reference to the query, in each space.


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
        mem_mb=mem_mb(2500, 25),
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


rule explain_labels:
    input:
        denoised=out("denoise/denoised.h5ad"),
        loadings=out("latent/loadings.npz"),
        calls=expand(out("annotation/{space}/calls.tsv.gz"), space=SPACES),
        clusters=out("clusters/clusters.tsv.gz"),
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
