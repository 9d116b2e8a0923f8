"""What a reader is told to look at first: all checks, and those of cells, batches and clusters."""

from collections.abc import Iterator

from dice_atlas.holdout import repeated_cells
from dice_atlas.names import UNASSIGNED
from dice_atlas.report import disputes, evidence, islands, lying_apart, marker_lists
from dice_atlas.report.data import ReportData
from dice_atlas.report.finding import GRADES, Finding, graded, listed, pick
from dice_atlas.report.tables import percent

# Where a reader is told. Not tests: places to look at.
MUCH_LOST = 0.5
FEW_COMMON = 0.5
MANY_DOUBLETS = 0.1
LEAST_STABILITY = 0.5


def look_first(data: ReportData) -> list[Finding]:
    """What a reader should look at first, worst first."""
    checks = [
        (repeated, "serious"),
        (labelled, "serious"),
        (quality, "check"),
        (batches, "check"),
        (clusters, "check"),
        (logged, "note"),
        (denoising, "note"),
        (disputes.prior, "note"),
        (disputes.unlabelled, "note"),
        (islands.islands, "note"),
    ]
    if data.marker_calls is not None:
        checks.append((marker_lists.warnings, "check"))
    if data.transferred and len(data.query):
        checks += [
            (lying_apart.entries, "serious"),
            (evidence.outside, "serious"),
            (evidence.against_truth, "serious"),
            (disputes.sure_and_wrong, "serious"),
            (disputes.clusters, "check"),
            (disputes.coverage, "check"),
            (disputes.doubtful, "check"),
            (evidence.unassigned, "check"),
            (evidence.little, "check"),
            (evidence.synthetic, "check"),
        ]
    found = [one for check, grade in checks for one in graded(check(data), grade)]
    return sorted(found, key=lambda one: GRADES.index(one.grade))


def quality(data: ReportData) -> Iterator[str | Finding]:
    """Samples that lost most cells or genes, or have many doublets."""
    common = len(data.genes)
    for row in data.qc.to_dict("records"):
        if common < FEW_COMMON * row["genes_measured"]:
            yield Finding(
                f"Sample {row['sample']}: {common:,} of its {int(row['genes_measured']):,} genes "
                "are in all samples; the others say nothing here.",
                pick=pick(sample=row["sample"]),
                action="Are genes named alike in all files? genes.names turns ids into symbols.",
            )
        if row["cells_kept"] < MUCH_LOST * row["cells_in"]:
            yield Finding(
                f"Sample {row['sample']}: only {int(row['cells_kept']):,} of "
                f"{int(row['cells_in']):,} cells passed quality control.",
                pick=pick(sample=row["sample"]),
                action="See which limit removed them (Quality control); limits are in qc.",
            )
        if row["doublet_rate"] > MANY_DOUBLETS:
            removed = row["doublets"] == "remove"
            yield Finding(
                f"Sample {row['sample']}: {row['doublet_rate']:.0%} of its cells look like doublets"
                f" ({'removed' if removed else 'marked, not removed'}).",
                pick=pick(sample=row["sample"]),
                action="" if removed else "To remove them: qc.doublets: remove.",
            )
    none = data.qc[data.qc["doublet_rate"].isna() & (data.qc["doublets"] != "off")]
    if len(none):
        yield Finding(
            f"No doublet scores could be had for {listed(list(none['sample']))}.",
            pick=pick(sample=list(none["sample"])),
            action="The log of filter_cells says why.",
        )


def labelled(data: ReportData) -> Iterator[Finding]:
    """A reference of which few cells have a label."""
    given = data.reference["cell_type"] != UNASSIGNED
    if data.transferred and given.mean() < MUCH_LOST:
        yield Finding(
            f"Only {int(given.sum()):,} of the {len(given):,} reference cells have a label: is the "
            "label table the right one?",
            "serious",
            pick(role="reference", cell_type=UNASSIGNED),
            "Compare the barcodes of the table with those of the sample.",
        )


def logged(data: ReportData) -> Iterator[Finding]:
    """Samples without counts."""
    if "without_counts" in data.provenance:
        yield Finding(
            f"The atlas has no raw counts ({data.provenance['without_counts']}): these samples "
            "have no doublet scores and no counts per cell.",
            "note",
            action="Give files of raw counts, if there are any.",
        )


def repeated(data: ReportData) -> Iterator[Finding]:
    """Cells that are in the reference and in the query: the same file, or a copy of it."""
    for one, other, n in repeated_cells(data.obs):
        yield Finding(
            f"Samples {one} (reference) and {other} (query) have {n:,} cells with the same barcode "
            "and counts: are they the same data? Labels and accuracies then say nothing.",
            "serious",
            pick(sample=[one, other]),
            "Give each cell in one role only.",
        )


def batches(data: ReportData) -> Iterator[Finding]:
    """What the batch correction could not do, and roles that do not mix."""
    if not data.correction["applied"]:
        if data.obs["batch"].nunique() == 1:
            yield Finding(
                "All cells are of one batch: there was nothing to correct, nor to check.",
                action="If there are several, name them in the sheet's column batch.",
            )
        elif data.correction["scope"] == "none":
            yield Finding(
                "Batches were not corrected (batch.scope is none).",
                action="To correct them within reference and query: batch.scope: within_role.",
            )
        else:
            yield Finding(
                "Reference and query are one batch each, so nothing was corrected: what sets the "
                "two apart may be technical.",
                action="Colour the map by role: of a type that both have, do the cells mix? If "
                "not, try batch.scope: mapped.",
                color="role",
            )
    mixing = data.metric("ilisi_role", data.settings.cluster.embedding, "all")
    if mixing is not None and mixing < 1.1:
        yield Finding(
            f"Reference and query hardly mix in the embedding (iLISI {mixing:.2f}; 1 is not at "
            "all, 2 is evenly): check that they hold the same kind of cells.",
            action="If they do, batch.scope: joint corrects across the two.",
            color="role",
        )


def clusters(data: ReportData) -> Iterator[str | Finding]:
    """Clusters that one sample makes up, and clusters that are not stable."""
    shares = data.obs["sample"].value_counts(normalize=True)
    owned, names = [], []
    for cluster in data.clusters:
        cells = data.obs.loc[data.obs["cluster"] == cluster, "sample"]
        top = cells.value_counts(normalize=True)
        if len(cells) >= disputes.LEAST_CELLS and top.iloc[0] > 0.95 and shares[top.index[0]] < 0.5:
            owned.append(f"{cluster} ({top.index[0]}, {percent(top.iloc[0], len(cells))})")
            names.append(cluster)
    if owned:
        yield Finding(
            f"Clusters that nearly all come from one sample: {listed(owned)}.",
            pick=pick(cluster=names),
            action="Compare their genes with the next cluster's: a batch effect or real cells?",
        )
    chosen = data.resolutions[data.resolutions["chosen"] == "True"]
    if len(chosen) and chosen["stability"].iloc[0] < LEAST_STABILITY:
        yield Finding(
            "The clusters are not stable: on subsamples they come out differently (mean ARI "
            f"{chosen['stability'].iloc[0]:.2f}). The cells may form a continuum.",
            action="Rely on labels and scores of cells; cluster.choose sets another resolution.",
        )


def denoising(data: ReportData) -> Iterator[str]:
    """The fallback of the sampler."""
    if data.dice.get("note"):
        yield f"Denoising: {data.dice['note']}."
