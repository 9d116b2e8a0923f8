"""A sample sheet that says what CELLxGENE asks for."""

# What CELLxGENE asks of a sample, as further columns of the sheet.
CELLXGENE = {
    "organism_ontology_term_id": "NCBITaxon:9606",
    "assay_ontology_term_id": "EFO:0009899",
    "tissue_ontology_term_id": "UBERON:0000178",
    "tissue_type": "tissue",
    "disease_ontology_term_id": "PATO:0000461",
    "sex_ontology_term_id": "unknown",
    "development_stage_ontology_term_id": "unknown",
    "self_reported_ethnicity_ontology_term_id": "unknown",
    "donor_id": "d1",
    "suspension_type": "cell",
}
