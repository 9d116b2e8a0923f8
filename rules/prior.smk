# The prior of the reference's latents: a kernel, a trained network, or taken from an earlier run.


rule train_prior:
    input:
        latents=out("latent/latents.h5ad"),
        loadings=out("latent/loadings.npz"),
        saved=saved_prior_files("prior.safetensors", "card.json", "loss.tsv"),
        # A saved prior stays as it is.
        synthetic=[] if SAVED_PRIOR else augmented("latents.h5ad"),
    output:
        prior=out("prior/prior.safetensors"),
        card=out("prior/card.json"),
        loss=out("prior/loss.tsv"),
    log:
        log_of("train_prior"),
    benchmark:
        benchmark_of("train_prior")
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=mem_mb(3000, 8),
        runtime=runtime(120),
        gpu=config["gpu"],
    params:
        # The calibration cells must be new to the prior.
        calibrated=HAS_LABELS,
        prior={k: v for k, v in config["prior"].items() if k != "path"},
        noise=config["denoise"]["noise"],
        seed=config["seed"],
        device=config["device"],
        normalization=config["normalization"],
    script:
        "../workflow_scripts/train_prior.py"
