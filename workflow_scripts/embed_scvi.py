"""embed_scvi: latents of scVI on raw counts, in an environment of its own (requirements-scvi.txt).

python embed_scvi.py --input split.h5ad --output scvi.h5ad --seed 0 --threads 2

The labels that scANVI gives from the same model are the column `scanvi` of the output.
"""

import argparse

import anndata as ad
from dice_atlas.baselines.scvi import embed_and_label
from dice_atlas.files import write_h5ad

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    split = ad.read_h5ad(arguments.input)
    embedding, labels = embed_and_label(split, arguments.seed, arguments.threads)
    cells = split.obs.assign(scanvi=labels)
    write_h5ad(ad.AnnData(obs=cells, obsm={"X_embedding": embedding}), arguments.output)
