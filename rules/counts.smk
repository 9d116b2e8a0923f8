# From each sample's own files to filtered raw counts.


rule make_demo_data:
    output:
        reference=DEMO_FILES["reference"],
        query1=directory(DEMO_FILES["query1"]),
        query2=directory(DEMO_FILES["query2"]),
        truth1=DEMO_FILES["truth1"],
        truth2=DEMO_FILES["truth2"],
    log:
        log_of("make_demo_data"),
    benchmark:
        benchmark_of("make_demo_data")
    conda:
        "../envs/analysis.yaml"
    params:
        seed=0,
    script:
        "../workflow_scripts/make_demo_data.py"


rule load_counts:
    input:
        unpack(sample_sources),
        names=gene_names_file(),
    output:
        counts=out("samples/{sample}/counts.h5ad"),
    log:
        log_of("load_counts/{sample}"),
    benchmark:
        benchmark_of("load_counts/{sample}")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 20),
        runtime=runtime(20),
    params:
        row=load_settings,
        names=config["genes"]["names"],
    script:
        "../workflow_scripts/load_counts.py"


rule read_truth:
    input:
        counts=expand(out("samples/{sample}/counts.h5ad"), sample=TRUTHS),
        sources=[SHEET[name]["truth_source"] for name in TRUTHS],
    output:
        truth=out("truth.tsv.gz"),
    log:
        log_of("read_truth"),
    benchmark:
        benchmark_of("read_truth")
    # A wrong file is found before hours are spent on the rest.
    priority: 100
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 1),
        runtime=runtime(20),
    params:
        truth=truth_settings(),
    script:
        "../workflow_scripts/read_truth.py"


# Reads names and some of the counts, where the format allows it.
rule check:
    input:
        sources=[path for row in SHEET.values() for path in all_sources(row)],
        card=saved_prior_files("card.json"),
    log:
        log_of("check"),
    conda:
        "../envs/analysis.yaml"
    params:
        rows=[loaded(row) for row in SHEET.values()],
        names=config["genes"]["names"],
        truth=truth_settings(),
        rename=config["annotate"]["rename"],
        complete=not any(
            config["annotate"][k] for k in ("tables", "celltypist", "parents")
        ),
        markers=config["annotate"]["markers"] is not None,
    script:
        "../workflow_scripts/check.py"


rule filter_cells:
    input:
        counts=out("samples/{sample}/counts.h5ad"),
    output:
        filtered=out("samples/{sample}/filtered.h5ad"),
        cells=out("samples/{sample}/qc_cells.tsv.gz"),
        summary=out("samples/{sample}/qc.tsv"),
    log:
        log_of("filter_cells/{sample}"),
    benchmark:
        benchmark_of("filter_cells/{sample}")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(2000, 20),
        runtime=runtime(30),
    params:
        qc=qc_settings,
        seed=config["seed"],
    script:
        "../workflow_scripts/filter_cells.py"


rule summarize_qc:
    input:
        summaries=every_sample("samples/{sample}/qc.tsv"),
    output:
        table=report(
            out("qc.tsv"),
            caption="../resources/captions/qc.rst",
            category="Quality control",
        ),
    log:
        log_of("summarize_qc"),
    benchmark:
        benchmark_of("summarize_qc")
    conda:
        "../envs/analysis.yaml"
    script:
        "../workflow_scripts/summarize_qc.py"
