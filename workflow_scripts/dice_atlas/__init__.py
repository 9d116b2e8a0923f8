"""The library of dice-atlas. Nothing in here knows Snakemake."""

__version__ = "0.1.0"
