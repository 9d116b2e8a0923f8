# Synthetic cells for rare classes of the reference (section `augment` of the config).


rule augment_reference:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        genes=out("features/genes.tsv"),
        loadings=out("latent/loadings.npz"),
        latents=out("latent/latents.h5ad"),
        prior=saved_prior_files("card.json"),
    output:
        cells=out("augment/cells.h5ad"),
        normalized=out("augment/normalized.h5ad"),
        latents=out("augment/latents.h5ad"),
        classes=out("augment/classes.tsv"),
    log:
        log_of("augment_reference"),
    benchmark:
        benchmark_of("augment_reference")
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(3000, 8),
        runtime=runtime(60),
        gpu=config["gpu"],
    params:
        augment=config["augment"],
        target_sum=config["normalization"]["target_sum"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/augment_reference.py"


use rule denoise_shard as denoise_augmented with:
    input:
        latents=out("augment/latents.h5ad"),
        prior=out("prior/prior.safetensors"),
        card=out("prior/card.json"),
        normalized=in_gene_space("augment/normalized.h5ad"),
        loadings=in_gene_space("latent/loadings.npz"),
    output:
        shard=out("augment/denoised.{scatteritem}.h5ad"),
    log:
        log_of("denoise_augmented.{scatteritem}"),
    benchmark:
        benchmark_of("denoise_augmented.{scatteritem}")


rule score_augment:
    input:
        samples=every_sample("samples/{sample}/filtered.h5ad"),
        genes=out("features/genes.tsv"),
    output:
        scores=out("augment/scores.tsv"),
    log:
        log_of("score_augment"),
    benchmark:
        benchmark_of("score_augment")
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=mem_mb(3000, 12),
        runtime=runtime(120),
        gpu=config["gpu"],
    params:
        augment=config["augment"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/score_augment.py"
