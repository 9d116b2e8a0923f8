"""embed_scvi: latents of scVI on raw counts, in an environment of its own (requirements-scvi.txt).

python embed_scvi.py --input split.h5ad --output scvi.h5ad --seed 0 --threads 2
"""

import argparse

import anndata as ad
from dice_atlas.baselines.scvi import embed
from dice_atlas.files import write_h5ad

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    split = ad.read_h5ad(arguments.input)
    embedding = embed(split, arguments.seed, arguments.threads)
    write_h5ad(ad.AnnData(obs=split.obs, obsm={"X_embedding": embedding}), arguments.output)
