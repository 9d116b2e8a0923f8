# DICE: posterior sampling of every cell, scattered over shards.


rule denoise_shard:
    input:
        latents=out("latent/latents.h5ad"),
        prior=out("prior/prior.safetensors"),
        card=out("prior/card.json"),
        normalized=in_gene_space("features/normalized.h5ad"),
        loadings=in_gene_space("latent/loadings.npz"),
    output:
        shard=temp(out("denoise/shards/{scatteritem}.h5ad")),
    log:
        log_of("denoise_shard/{scatteritem}"),
    benchmark:
        benchmark_of("denoise_shard/{scatteritem}")
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=mem_mb(2000, 8),
        runtime=runtime(60),
        gpu=config["gpu"],
    params:
        denoise=denoise_settings(),
        target_sum=config["normalization"]["target_sum"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../workflow_scripts/denoise_shard.py"


rule gather_denoised:
    input:
        shards=gather.shards(out("denoise/shards/{scatteritem}.h5ad")),
        latents=out("latent/latents.h5ad"),
    output:
        denoised=out("denoise/denoised.h5ad"),
    log:
        log_of("gather_denoised"),
    benchmark:
        benchmark_of("gather_denoised")
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=mem_mb(1500, 6),
        runtime=runtime(20),
    script:
        "../workflow_scripts/gather_denoised.py"
