"""Which exports there are, and what CELLxGENE asks of the sample sheet."""

from collections.abc import Mapping

from dice_atlas.errors import InputError, bullets
from dice_atlas.names import EMBEDDINGS

# Exports that config can name: what they write under results/<atlas>/.
TARGETS = {
    "seurat": "export/seurat",
    "cellxgene": "export/atlas.cellxgene.h5ad",
    "zarr": "export/atlas.zarr",
}
# Where the atlas has what they write.
COUNTS = "layers/counts"
EMBEDDED = (*EMBEDDINGS.values(), "X_umap")
ORGANISM = "organism_ontology_term_id"
# Columns of the sheet that CELLxGENE's schema (7.1) asks for, and values that they may have.
FIELDS = {
    ORGANISM: "NCBITaxon:9606 (human) or NCBITaxon:10090 (mouse)",
    "assay_ontology_term_id": "an EFO id such as EFO:0009922 (10x 3' v3)",
    "tissue_ontology_term_id": "an UBERON id such as UBERON:0000178 (blood)",
    "tissue_type": "tissue, organoid, cell line or primary cell culture",
    "disease_ontology_term_id": "PATO:0000461 (normal) or a MONDO id",
    "sex_ontology_term_id": "PATO:0000383 (female), PATO:0000384 (male) or unknown",
    "development_stage_ontology_term_id": "an id such as HsapDv:0000258 (mature stage), or unknown",
    "self_reported_ethnicity_ontology_term_id": "an HANCESTRO id or unknown; na if not human",
    "donor_id": "a name of the donor",
    "suspension_type": "cell, nucleus or na",
}


def require_fields(samples: Mapping[str, Mapping[str, str]]) -> None:
    """Check that each sample has what CELLxGENE asks for.

    Parameters
    ----------
    samples : values of the sheet's columns by sample.

    Raises
    ------
    InputError
        For all that is missing at once, or if the samples are of several organisms.
    """
    problems = []
    for field, values in FIELDS.items():
        without = [name for name, row in samples.items() if not row.get(field)]
        if without:
            some = "of every sample" if len(without) == len(samples) else f"of {', '.join(without)}"
            problems.append(f"{field} {some}: expected {values}")
    organisms = sorted({row.get(ORGANISM, "") for row in samples.values()} - {""})
    if len(organisms) > 1:
        problems.append(f"{ORGANISM}: seen {', '.join(organisms)}, expected one for all samples")
    if problems:
        raise InputError(
            "the target export_cellxgene needs more columns of the sample sheet "
            f"(docs/handover.md has an example):\n{bullets(problems)}"
        )
