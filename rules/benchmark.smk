# The benchmark (target `benchmark`): several methods on labelled data, scored alike.
# DICE runs by the workflow's own rules.


use rule load_counts as load_benchmark with:
    input:
        unpack(benchmark_sources),
    output:
        counts=bench("samples/{sample}.h5ad"),
    log:
        bench("logs/load/{sample}.log"),
    benchmark:
        bench("benchmarks/load/{sample}.tsv")
    wildcard_constraints:
        sample="[^/]+",
    params:
        row=benchmark_row,
        names=config["genes"]["names"],


rule split_benchmark:
    input:
        counts=set_counts,
    output:
        split=of_split("split.h5ad"),
        latents=of_split("latents.h5ad"),
        query=of_split("query.h5ad"),
        loadings=of_split("loadings.npz"),
    log:
        bench("logs/{set}/{variant}/{seed}/split.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/split.tsv")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 30),
        runtime=runtime(30),
    params:
        min_genes=set_min_genes,
        n_top=config["genes"]["n_top"],
        settings={name: config[name] for name in ("batch", "latent", "normalization")},
    script:
        "../workflow_scripts/split_benchmark.py"


use rule train_prior as train_benchmark with:
    input:
        latents=of_split("latents.h5ad"),
        loadings=of_split("loadings.npz"),
        saved=[],
        synthetic=[],
    output:
        prior=of_split("prior-{kind}/prior.safetensors"),
        card=of_split("prior-{kind}/card.json"),
        loss=of_split("prior-{kind}/loss.tsv"),
    log:
        bench("logs/{set}/{variant}/{seed}/prior-{kind}.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/prior-{kind}.tsv")
    # Many small ones: side by side they are done sooner than one after the other.
    threads: 1
    params:
        calibrated=False,
        prior=prior_settings,
        noise=prior_noise,
        seed=lambda wildcards: int(wildcards.seed),
        device=config["device"],
        normalization=config["normalization"],


use rule denoise_shard as denoise_benchmark with:
    input:
        latents=denoised_cells,
        prior=prior_of_method("prior.safetensors"),
        card=prior_of_method("card.json"),
        normalized=[],
        loadings=[],
    output:
        shard=of_split("dice/{method}/{scatteritem}.h5ad"),
    log:
        bench("logs/{set}/{variant}/{seed}/{method}.{scatteritem}.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/{method}.{scatteritem}.tsv")
    threads: 1
    params:
        denoise=dice_settings,
        target_sum=config["normalization"]["target_sum"],
        seed=lambda wildcards: int(wildcards.seed),
        device=config["device"],


rule embed_benchmark:
    input:
        split=of_split("split.h5ad"),
        latents=of_split("latents.h5ad"),
    output:
        embedding=of_split("embeddings/{method}.h5ad"),
    log:
        bench("logs/{set}/{variant}/{seed}/{method}.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/{method}.tsv")
    wildcard_constraints:
        method="|".join(EMBEDDED),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 100),
        runtime=runtime(60),
    params:
        denoise=config["denoise"],
    script:
        "../workflow_scripts/embed_benchmark.py"


# In an environment of its own: scvi-tools wants other versions than the workflow.
rule embed_scvi:
    input:
        split=of_split("split.h5ad"),
    output:
        embedding=of_split("embeddings/scvi.h5ad"),
    log:
        bench("logs/{set}/{variant}/{seed}/scvi.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/scvi.tsv")
    conda:
        "../envs/scvi.yaml"
    resources:
        mem_mb=mem_mb(4000, 30),
        runtime=runtime(120),
        gpu=config["gpu"],
    params:
        # Functions: Snakemake looks for wildcards in texts.
        python=lambda wildcards: "python" if deploys_conda() else SCVI_PYTHON,
        # Not workflow.source_path(): its path is another one in every run.
        script=lambda wildcards: repository_file("workflow_scripts/embed_scvi.py"),
    shell:
        "{params.python:q} {params.script:q} --input {input.split:q} --output {output.embedding:q}"
        " --seed {wildcards.seed:q} --threads {threads} > {log:q} 2>&1"


rule score_benchmark:
    input:
        split=of_split("split.h5ad"),
        embeddings=embeddings_scored,
    output:
        scores=of_split("blind/scores.tsv"),
        curves=of_split("blind/curves.tsv"),
    log:
        bench("logs/{set}/{variant}/{seed}/score_blind.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/score_blind.tsv")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 20),
        runtime=runtime(60),
    params:
        protocol="blind",
        methods=methods_of,
        cluster=config["cluster"],
    script:
        "../workflow_scripts/score_benchmark.py"


use rule score_benchmark as score_benchmark_paper with:
    input:
        split=of_split("split.h5ad"),
        embeddings=[embedding_file(method) for method in BENCHMARK["methods"]],
    output:
        scores=of_split("paper/scores.tsv"),
        curves=of_split("paper/curves.tsv"),
        layouts=of_split("paper/layouts.npz"),
    log:
        bench("logs/{set}/{variant}/{seed}/score_paper.log"),
    benchmark:
        bench("benchmarks/{set}/{variant}/{seed}/score_paper.tsv")
    params:
        protocol="paper",
        methods=BENCHMARK["methods"],
        cluster=config["cluster"],


rule collect_benchmark:
    input:
        scores=benchmark_tables("scores.tsv", BENCHMARK["protocols"]),
        curves=benchmark_tables("curves.tsv", BENCHMARK["protocols"]),
        layouts=base_layouts,
        costs=benchmark_costs,
    output:
        scores=bench("scores.tsv.gz"),
        curves=bench("curves.tsv.gz"),
        costs=bench("costs.tsv"),
        summary=bench("summary.tsv"),
        differences=bench("differences.tsv"),
        variants=bench("variants.tsv"),
        figures=directory(bench("figures")),
    log:
        bench("logs/collect.log"),
    benchmark:
        bench("benchmarks/collect.tsv")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=2000,
        runtime=runtime(30),
    script:
        "../workflow_scripts/collect_benchmark.py"


rule benchmark:
    input:
        rules.collect_benchmark.output,
