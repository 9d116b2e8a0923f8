# What a reader gets: metrics, the atlas, the report.


# Labels under new names are scored without new clusters: this rule knows no name of a label.
rule cluster_query:
    input:
        embedding=lambda wildcards: embedding_of(wildcards.embedding),
        latents=out("latent/latents.h5ad"),
        truth=truth_files(),
    output:
        partitions=out("clusters/query/{embedding}/partitions.tsv.gz"),
        resolutions=out("clusters/query/{embedding}/resolutions.tsv"),
    log:
        log_of("cluster_query/{embedding}"),
    benchmark:
        benchmark_of("cluster_query/{embedding}")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(60),
    params:
        cluster=config["cluster"] | {"choose": "stability", "embedding": ""},
        # Other new names change no cluster.
        without=unnamed(),
        seed=config["seed"],
        sketch=config["scale"]["sketch"],
    script:
        "../workflow_scripts/cluster_query.py"


rule score_metrics:
    input:
        latents=out("latent/latents.h5ad"),
        denoised=out("denoise/denoised.h5ad"),
        clusters=out("clusters/clusters.tsv.gz"),
        partitions=of_query("partitions.tsv.gz"),
        resolutions=of_query("resolutions.tsv"),
        calls=expand(out("annotation/{voter}/calls.tsv.gz"), voter=CALLED),
        truth=truth_files(),
        levels=level_files(),
        markers=marker_file("cells.h5ad"),
    output:
        metrics=report(
            out("metrics.tsv"),
            caption="../resources/captions/metrics.rst",
            category="Metrics",
        ),
        confusion=out("annotation/confusion.tsv"),
    log:
        log_of("score_metrics"),
    benchmark:
        benchmark_of("score_metrics")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(60),
    params:
        embedding=config["cluster"]["embedding"],
        seed=config["seed"],
        sketch=config["scale"]["sketch"],
    script:
        "../workflow_scripts/score_metrics.py"


rule write_atlas:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        genes=out("features/genes.tsv"),
        latents=out("latent/latents.h5ad"),
        denoised=out("denoise/denoised.h5ad"),
        clusters=out("clusters/clusters.tsv.gz"),
        umap=out("clusters/umap.tsv.gz"),
        graph=out("clusters/graph.h5ad"),
        prior=out("prior/prior.safetensors"),
        card=out("prior/card.json"),
        calls=expand(out("annotation/{voter}/calls.tsv.gz"), voter=CALLED),
        predictions=final_annotation("predictions.tsv.gz"),
        levels=level_files(),
        markers=marker_file("cells.h5ad"),
    output:
        atlas=out("atlas.h5ad"),
        cells=out("cells.tsv.gz"),
        doubtful=out("doubtful.tsv.gz"),
    log:
        log_of("write_atlas"),
    benchmark:
        benchmark_of("write_atlas")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 6),
        runtime=runtime(60),
    params:
        config=atlas_settings(),
        target_sum=config["normalization"]["target_sum"],
    script:
        "../workflow_scripts/write_atlas.py"


rule render_report:
    input:
        atlas=out("atlas.h5ad"),
        metrics=out("metrics.tsv"),
        confusion=out("annotation/confusion.tsv"),
        qc=out("qc.tsv"),
        qc_cells=every_sample("samples/{sample}/qc_cells.tsv.gz"),
        genes=out("features/genes.tsv"),
        loadings=out("latent/loadings.npz"),
        corrected=out("features/corrected.h5ad"),
        card=out("prior/card.json"),
        loss=out("prior/loss.tsv"),
        resolutions=out("clusters/resolutions.tsv"),
        markers=out("clusters/markers.tsv.gz"),
        calibration=final_annotation("calibration.tsv.gz"),
        label_genes=annotation_file("label_genes.tsv"),
        shift=annotation_file("shift.tsv"),
        cluster_labels=annotation_file("cluster_labels.tsv"),
        label_levels=level_files(),
        levels=annotation_file("levels.tsv") if LEVELLED else [],
        marker_scores=marker_file("scores.tsv"),
        marker_calls=marker_file("calls.tsv"),
        marker_genes=marker_file("genes.tsv"),
        augmented=augmented("classes.tsv"),
        augment_scores=augmented("scores.tsv"),
        condition_genes=conditions("genes.tsv.gz"),
        condition_shares=conditions("composition.tsv"),
        condition_types=conditions("types.tsv"),
        truth=truth_files(),
        templates=templates("report.html.j2", VIEWER_PARTS),
    output:
        report=report(
            out("report.html"),
            caption="../resources/captions/report.rst",
            category="Report",
        ),
        figures=report(
            directory(out("figures")),
            patterns=["{name}.png"],
            caption="../resources/captions/figures.rst",
            category="Figures",
        ),
    log:
        log_of("render_report"),
    benchmark:
        benchmark_of("render_report")
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=mem_mb(2000, 4),
        runtime=runtime(60),
    params:
        report=config["report"],
        defaults=DEFAULTS,
        figures=config["figures"],
        seed=config["seed"],
        atlas_name=config["atlas"],
        compare=config["compare"],
    script:
        "../workflow_scripts/render_report.py"
