# New cells from a model of the reference's counts, and how much they resemble real ones.


rule train_synthesis:
    input:
        **training_inputs(),
        saved=generator_files("model.safetensors", "card.json", "loss.tsv"),
    output:
        model=out("synthesis/model.safetensors"),
        card=out("synthesis/card.json"),
        loss=out("synthesis/loss.tsv"),
    log:
        log_of("train_synthesis"),
    benchmark:
        benchmark_of("train_synthesis")
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(3000, 8),
        runtime=runtime(120),
        gpu=config["gpu"],
    params:
        model=synthesis_settings(ModelSettings),
        test_share=config["synthesis"]["test_share"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/train_synthesis.py"


rule synthesize_cells:
    input:
        model=out("synthesis/model.safetensors"),
        card=out("synthesis/card.json"),
    output:
        shard=temp(out("synthesis/shards/{scatteritem}.h5ad")),
    log:
        log_of("synthesize_cells/{scatteritem}"),
    benchmark:
        benchmark_of("synthesize_cells/{scatteritem}")
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=mem_mb(3000, 8),
        runtime=runtime(60),
        gpu=config["gpu"],
    params:
        # A function: Snakemake looks for wildcards in texts.
        request=lambda wildcards: synthesis_settings(CellRequest),
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/synthesize_cells.py"


rule gather_synthetic:
    input:
        shards=gather.shards(out("synthesis/shards/{scatteritem}.h5ad")),
        card=out("synthesis/card.json"),
    output:
        synthetic=out("synthesis/synthetic.h5ad"),
    log:
        log_of("gather_synthetic"),
    benchmark:
        benchmark_of("gather_synthetic")
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=mem_mb(2000, 12),
        runtime=runtime(20),
    params:
        request=lambda wildcards: synthesis_settings(CellRequest),
    script:
        "../workflow_scripts/gather_synthetic.py"


rule score_synthesis:
    input:
        **training_inputs(),
        model=out("synthesis/model.safetensors"),
        card=out("synthesis/card.json"),
    output:
        table=out("synthesis/fidelity.tsv"),
        by_class=out("synthesis/fidelity_by_class.tsv"),
        memorization=out("synthesis/memorization.tsv"),
        cells=out("synthesis/evaluation.h5ad"),
    log:
        log_of("score_synthesis"),
    benchmark:
        benchmark_of("score_synthesis")
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(4000, 12),
        runtime=runtime(120),
        gpu=config["gpu"],
    params:
        model=synthesis_settings(ModelSettings),
        # Not the numbers and depth of the wanted cells: these change no score.
        guidance=config["synthesis"]["guidance"],
        steps=config["synthesis"]["steps"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/score_synthesis.py"


rule embed_synthetic:
    input:
        cells=out("synthesis/evaluation.h5ad"),
    output:
        umap=out("synthesis/umap.tsv.gz"),
    log:
        log_of("embed_synthetic"),
    benchmark:
        benchmark_of("embed_synthetic")
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=mem_mb(2000, 12),
        runtime=runtime(30),
    params:
        seed=config["seed"],
    script:
        "../workflow_scripts/embed_synthetic.py"


rule render_synthesis:
    input:
        cells=out("synthesis/evaluation.h5ad"),
        umap=out("synthesis/umap.tsv.gz"),
        table=out("synthesis/fidelity.tsv"),
        by_class=out("synthesis/fidelity_by_class.tsv"),
        memorization=out("synthesis/memorization.tsv"),
        card=out("synthesis/card.json"),
        loss=out("synthesis/loss.tsv"),
        templates=templates("synthesis.html.j2"),
    output:
        page=report(
            out("synthesis/report.html"),
            caption="../resources/captions/synthesis.rst",
            category="Synthesis",
        ),
        figures=report(
            directory(out("synthesis/figures")),
            patterns=["{name}.png"],
            caption="../resources/captions/synthesis.rst",
            category="Synthesis",
        ),
    log:
        log_of("render_synthesis"),
    benchmark:
        benchmark_of("render_synthesis")
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=mem_mb(2000, 6),
        runtime=runtime(30),
    params:
        atlas_name=config["atlas"],
        seed=config["seed"],
        palette=config["figures"]["palette"],
    script:
        "../workflow_scripts/render_synthesis.py"


rule synthesis:
    input:
        synthetic=out("synthesis/synthetic.h5ad"),
        judged=out("synthesis/report.html") if JUDGED else [],
