"""SCLD, the single-cell latent diffusion model of Wang et al. 2023 (arXiv 2312.14220)."""
