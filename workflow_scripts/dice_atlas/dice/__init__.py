"""DICE: posterior sampling of clean latents under a diffusion prior."""
