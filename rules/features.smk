# One feature space for all samples: genes, normalisation, batch correction, loadings.


rule select_genes:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        prior=saved_prior_files("prior.safetensors", "card.json"),
    output:
        genes=out("features/genes.tsv"),
    log:
        log_of("select_genes"),
    benchmark:
        benchmark_of("select_genes")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 6),
        runtime=runtime(30),
    params:
        genes=config["genes"],
        min_cells=config["qc"]["min_cells"],
        # A function: Snakemake looks for wildcards in texts.
        batch_keys=lambda wildcards: config["batch"]["keys"],
    script:
        "../workflow_scripts/select_genes.py"


rule normalize_log1p:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        genes=out("features/genes.tsv"),
    output:
        normalized=out("features/normalized.h5ad"),
    log:
        log_of("normalize_log1p"),
    benchmark:
        benchmark_of("normalize_log1p")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 12),
        runtime=runtime(20),
    params:
        target_sum=config["normalization"]["target_sum"],
    script:
        "../workflow_scripts/normalize_log1p.py"


rule correct_batches:
    input:
        normalized=out("features/normalized.h5ad"),
        prior=saved_prior_files("prior.safetensors", "card.json"),
    output:
        corrected=out("features/corrected.h5ad"),
    log:
        log_of("correct_batches"),
    benchmark:
        benchmark_of("correct_batches")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2000, 12),
        runtime=runtime(60),
    params:
        batch=config["batch"],
        max_value=config["normalization"]["max_value"],
        seed=config["seed"],
    script:
        "../workflow_scripts/correct_batches.py"


rule fit_loadings:
    input:
        normalized=out("features/normalized.h5ad"),
        corrected=out("features/corrected.h5ad"),
        prior=saved_prior_files("prior.safetensors", "card.json"),
    output:
        loadings=out("latent/loadings.npz"),
        latents=out("latent/latents.h5ad"),
    log:
        log_of("fit_loadings"),
    benchmark:
        benchmark_of("fit_loadings")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2000, 12),
        runtime=runtime(60),
    params:
        # The calibration cells must be new to the loadings.
        calibrated=HAS_LABELS,
        latent=config["latent"],
        target_sum=config["normalization"]["target_sum"],
        max_value=config["normalization"]["max_value"],
        seed=config["seed"],
    script:
        "../workflow_scripts/fit_loadings.py"
