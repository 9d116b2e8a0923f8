# The atlas for other tools, on request: by target, or by `export` of the config.


rule export_seurat:
    input:
        atlas=out("atlas.h5ad"),
        script=repository_file("resources/import_seurat.R"),
    output:
        folder=directory(out(EXPORTS["seurat"])),
    log:
        log_of("export_seurat"),
    benchmark:
        benchmark_of("export_seurat")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 1),
        runtime=runtime(120),
    script:
        "../workflow_scripts/export_seurat.py"


rule export_cellxgene:
    input:
        atlas=out("atlas.h5ad"),
    output:
        atlas=out(EXPORTS["cellxgene"]),
    log:
        log_of("export_cellxgene"),
    benchmark:
        benchmark_of("export_cellxgene")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 1),
        runtime=runtime(60),
    params:
        title=config["report"]["title"] or config["atlas"],
    script:
        "../workflow_scripts/export_cellxgene.py"


rule export_zarr:
    input:
        atlas=out("atlas.h5ad"),
    output:
        store=directory(out(EXPORTS["zarr"])),
    log:
        log_of("export_zarr"),
    benchmark:
        benchmark_of("export_zarr")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 2),
        runtime=runtime(60),
    script:
        "../workflow_scripts/export_zarr.py"
