# What changes between conditions (section `compare` of the config): genes and shares of each type.

if config["compare"]:

    rule sum_pseudobulk:
        input:
            atlas=out("atlas.h5ad"),
            samples=expand(out("samples/{sample}/filtered.h5ad"), sample=OF_CONDITIONS),
        output:
            sums=out("conditions/pseudobulk.h5ad"),
        log:
            log_of("sum_pseudobulk"),
        benchmark:
            benchmark_of("sum_pseudobulk")
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=mem_mb(2000, 6),
            runtime=runtime(60),
        params:
            compare=grouping_settings(),
        script:
            "../workflow_scripts/sum_pseudobulk.py"

    rule compare_conditions:
        input:
            sums=out("conditions/pseudobulk.h5ad"),
        output:
            genes=out("conditions/genes.tsv.gz"),
            composition=out("conditions/composition.tsv"),
            types=out("conditions/types.tsv"),
        log:
            log_of("compare_conditions"),
        benchmark:
            benchmark_of("compare_conditions")
        conda:
            "../envs/conditions.yaml"
        threads: 4
        resources:
            mem_mb=mem_mb(2000, 20),
            runtime=runtime(120),
        params:
            compare=config["compare"],
        script:
            "../workflow_scripts/compare_conditions.py"
