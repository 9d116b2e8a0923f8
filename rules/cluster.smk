# Clusters, UMAP and marker genes, in the embedding that config names.


rule cluster_cells:
    input:
        embedding=embedding_of(config["cluster"]["embedding"]),
    output:
        graph=out("clusters/graph.h5ad"),
        clusters=out("clusters/clusters.tsv.gz"),
        resolutions=out("clusters/resolutions.tsv"),
    log:
        log_of("cluster_cells"),
    benchmark:
        benchmark_of("cluster_cells")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(120),
    params:
        cluster=config["cluster"],
        seed=config["seed"],
    script:
        "../workflow_scripts/cluster_cells.py"


rule embed_umap:
    input:
        graph=out("clusters/graph.h5ad"),
        embedding=embedding_of(config["cluster"]["embedding"]),
    output:
        umap=out("clusters/umap.tsv.gz"),
    log:
        log_of("embed_umap"),
    benchmark:
        benchmark_of("embed_umap")
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(120),
    params:
        embedding=config["cluster"]["embedding"],
        exact_up_to=config["cluster"]["exact_up_to"],
        sketch=config["scale"]["sketch"],
        seed=config["seed"],
    script:
        "../workflow_scripts/embed_umap.py"


rule rank_markers:
    input:
        normalized=out("features/normalized.h5ad"),
        clusters=out("clusters/clusters.tsv.gz"),
    output:
        markers=out("clusters/markers.tsv.gz"),
    log:
        log_of("rank_markers"),
    benchmark:
        benchmark_of("rank_markers")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2500, 15),
        runtime=runtime(60),
    script:
        "../workflow_scripts/rank_markers.py"
