"""What the report counts in its summary, and what it names as deserving a look."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dice_atlas.files import write_table
from dice_atlas.report import (
    answer,
    confidence_tables,
    disputes,
    evidence,
    findings,
    lying_apart,
)
from dice_atlas.report import tables as page_tables
from dice_atlas.report.data import read_report_data
from report_files import CONFIG, texts_of


def test_the_summary_is_counted_from_the_cells(make_files):
    data = read_report_data(make_files(), 2)
    text = answer.summary(data)
    assert "240 cells, 100 of 1 reference sample and 140 of 2 query samples, in 3 clusters" in text
    query = data.obs[100:]
    sure = sum(
        kind != "unassigned" and kind == names
        for kind, names in zip(query["cell_type"], query["cell_type_set"], strict=True)
    )
    assert f"{sure / 140:.0%} of the query cells have one possible label" in text
    assert "10% are unassigned" in text
    assert (
        "Of the 126 query cells with a given truth that the reference has, 80% have the right label"
        in text
    )
    boxes = {what: value for value, what, _ in answer.facts(data)}
    assert boxes["cells"] == "240"
    assert boxes["unassigned"] == "10%"


def test_warnings_name_what_deserves_a_look(make_files):
    data = read_report_data(make_files(gibbs=True), 2)
    text = " ".join(texts_of(data))
    for part in (
        "Sample q1: 25% of its cells look like doublets (marked, not removed)",
        "Sample q2: only 60 of 200 cells",
        "Reference and query are one batch each",
        "hardly mix in the embedding (iLISI 1.05",
        "Gibbs in place of exact",
        "Prediction sets hold the truth in 50% of the cells",
        "in the PCA space are right more often: 99.0% against 87.5%",
        "B & <plasma> (0)",
        "around which few find an anchor (cell_type_p_reference below 0.01; 1% are to be "
        "expected), by sample: q2 (23%)",
    ):
        assert part in text
    assert (
        "Sample q2 lies apart from the reference: voters agree in 61% of cases (93%); the mean "
        "score is 0.70 (0.88); the anchor support is 0.41 (0.90). In brackets"
    ) in text
    assert "The coverage of the prediction sets (90%) is not promised there." in text
    assert "Sample q1 lies apart" not in text
    assert "Sample r: only" not in text
    assert "lie apart" not in text
    data.obs.loc[data.obs["sample"] == "q1", "cell_type_p_reference"] = np.nan
    apart = " ".join(texts_of(replace(data)))
    assert "lie apart from the reference as a whole (another technology or quality)" in apart
    assert "promise less: q1." in apart
    # The fixture's truth of these cells is "unassigned".
    assert "14 query cells have a truth that the reference lacks: unassigned." in text


def test_a_voter_is_better_only_if_its_best_labels_are(make_files):
    data = read_report_data(make_files(), 2)
    (told,) = evidence.better_voter(data)
    assert told.action == "To use them: annotate.final: pca."
    final = data.settings.voters.final
    row = {"cells": "query", "metric": "accuracy_top", "note": ""}
    for own, n_told in ((0.99, 0), (0.9, 1)):
        rows = [row | {"embedding": name, "value": v} for name, v in ((final, own), ("pca", 0.99))]
        more = replace(data, metrics=pd.concat([data.metrics, pd.DataFrame(rows)]))
        assert len(list(evidence.better_voter(more))) == n_told


def test_a_sample_that_lies_apart_has_one_entry_that_says_what_to_do(make_files, monkeypatch):
    by_risk = {"unassigned_below": None, "risk": 0.1}
    monkeypatch.setitem(CONFIG, "annotate", {**CONFIG["annotate"], **by_risk})
    data = read_report_data(make_files(), 2)
    (one,) = lying_apart.entries(data)
    assert one.text.endswith(
        "Neither the risk asked for (10%) nor the coverage of the prediction sets (90%) is "
        "promised there."
    )
    assert one.action == (
        "Look at the markers of its labels before you use them. A reference nearer to the sample "
        "helps; asking for surer labels helps little."
    )
    # The fixture's cells that are unassigned have a low score.
    by_score = data.obs["cell_type_rule"]
    some = data.obs.index[data.obs["sample"] == "q2"][:3]
    data.obs["cell_type_rule"] = by_score.where(
        ~data.obs.index.isin(some), "p_reference_below_0.01"
    )
    (told,) = lying_apart.entries(replace(data))
    assert told.text.startswith(one.text)
    assert " 3 of its cells are unassigned by cell_type_p_reference" in told.text
    data.obs["cell_type_rule"] = by_score
    data.obs.loc[data.obs["sample"] == "q2", "cell_type_p_reference"] = np.nan
    (one,) = lying_apart.entries(replace(data))
    assert "the mean score is 0.70" in one.text
    assert "cannot be told there (no p_reference)" in one.text
    data.obs["cell_type_p_reference"] = np.nan
    both = list(lying_apart.entries(replace(data)))
    assert [dict(entry.pick)["sample"] for entry in both] == [("q2",), ("q1",)]
    assert lying_apart.samples(replace(data)) == ["q1", "q2"]


def test_truth_counts_where_the_reference_has_the_type_in_answer_and_tile(make_files):
    data = read_report_data(make_files(), 2)
    assert "have one possible label; 100% of these are right" in answer.answer(data)
    # A third of the cells has a truth by another name, and a fifth of the others a wrong one.
    sure = data.query.index[page_tables.confident(data.query)]
    data.truth[sure[::3]] = "T lymphocyte"
    data.truth[sure[1::3]] = "NA"
    known = data.truth[sure[np.arange(len(sure)) % 3 > 0]]
    right = (data.query["cell_type"][known.index] == known).mean()
    assert (
        f". The reference has the true type of {len(known)} of these; {right:.0%} of them are right"
    ) in answer.answer(data)
    (tile,) = [remark for _, what, remark in answer.facts(data) if what == "labels right"]
    assert tile == "of 126 with a true type that the reference has; 14 have another"
    # Most truths have names of their own: no share is given.
    of_all = data.confusion
    assert not answer.names_differ(data)
    data.confusion = of_all.assign(truth="my " + of_all["truth"])
    assert answer.names_differ(data)
    assert "are right" not in answer.answer(data)
    assert "have the right label" not in answer.summary(data)
    tile = next(tile for tile in answer.facts(data) if tile[1] == "labels right")
    assert tile == ("?", "labels right", "most names of the truth are not the reference's")
    # Many cells of one type that is really missing are no other name.
    data.confusion = pd.concat([of_all, of_all.assign(truth="tumour", cells=10_000).head(1)])
    assert not answer.names_differ(data)
    of_types = {"cells": "query", "embedding": "dice", "value": 0.0, "note": "1180 cell(s)"}
    rows = [{**of_types, "metric": f"set_coverage:{name}"} for name in ("T lymphocyte", "NA")]
    data.metrics = pd.concat([data.metrics, pd.DataFrame(rows)])
    assert disputes.short_types(data) == [("NA", 0.0, 1180)]


def test_odd_references_are_named(make_files):
    data = read_report_data(make_files(), 2)
    assert not [*findings.repeated(data), *findings.labelled(data)]
    copy = data.obs[data.obs["role"] == "reference"].assign(role="query", sample="copy")
    data.obs = pd.concat([data.obs, copy.set_axis([f"copy_{name}" for name in copy.index])])
    # Names are <sample>_<barcode>; these of the test have no sample before them.
    (twice,) = findings.repeated(data)
    assert "Samples r (reference) and copy (query) have 100 cells" in twice.text
    few = data.obs["role"] == "reference"
    data.obs.loc[data.obs.index[few][:80], "cell_type"] = "unassigned"
    del data.__dict__["reference"]
    (few,) = findings.labelled(data)
    assert "Only 20 of the 100 reference cells have a label" in few.text


def test_labels_without_an_id_are_named(make_files):
    data = read_report_data(make_files(), 2)
    n = len(data.labels)
    assert data.ontology == f"1 of {n} labels have an id of the Cell Ontology."
    data.provenance["ontology"] = np.array(["B is ambiguous: x, y", "C is no name"], dtype=object)
    assert data.ontology.endswith(
        "B is ambiguous: x, y; C is no name. Ids can be given in annotate.ontology."
    )


def test_labels_short_of_the_coverage_are_those_that_many_of_their_own_cells_lack():
    rng = np.random.default_rng(1)
    label = np.repeat(["a", "b", "few"], [40, 40, 3])
    scores = pd.DataFrame({"score:a": rng.uniform(0.6, 1, 83), "score:few": 0.0})
    scores["score:b"] = np.where(np.arange(83) % 4 == 0, 0.0, 0.5)
    frame = scores.assign(label=label)
    found = evidence.short_of_coverage(frame, 0.9)
    assert found["b"] == "30 of 40; 10 have no evidence for it"
    assert found["few"] == "0 of 3; 3 have no evidence for it"
    assert set(found) == {"b", "few"}


def test_the_truth_has_the_names_that_the_labels_have(make_files, tmp_path):
    files = make_files()
    table = pd.DataFrame({"label": ["NA", "T cell"], "level_1": ["not available", ""]})
    write_table(table, tmp_path / "names.tsv")
    before = read_report_data(files, 2).truth
    after = read_report_data({**files, "label_levels": [tmp_path / "names.tsv"]}, 2).truth
    assert (before == "T cell").any()
    assert after.index.tolist() == before.index[before != "T cell"].tolist()
    assert (after == before[after.index].replace("NA", "not available")).all()


def test_a_rule_that_cannot_apply_is_not_told_as_one(make_files):
    files = make_files()
    held = len(read_report_data(files, 2).calibration)
    for least, applies in ((1.01 / (1 + held), True), (0.99 / (1 + held), False), (0, False)):
        data = read_report_data(files, 2)
        data.config["annotate"]["outside_below"] = least
        data.__dict__.pop("settings", None)
        data.calibration["support"] = 0.5
        assert bool(data.least_p_reference) == applies
        assert ("p_reference below" in answer.unassigned_rules(data)) == applies
        told = any("is never below" in text for text in texts_of(data))
        assert told == (least > 0 and not applies)


@pytest.mark.parametrize("kind", [{}, {"transfer": False}, {"truth": False}, {"lists": True}])
def test_every_entry_of_the_list_has_cells_or_says_what_to_do(make_files, kind):
    for one in findings.look_first(read_report_data(make_files(**kind), 2)):
        assert one.pick or one.action, one.text


def test_sets_and_samples_are_those_of_the_cells(make_files):
    data = read_report_data(make_files(), 2)
    sets = data.query["cell_type_set"]
    table = confidence_tables.set_table(data)
    shown = {row[0].replace(" | ", "|").replace("(empty)", ""): int(row[1]) for row in table.rows}
    sizes = sets.map(lambda text: len(text.split("|")) if text else 0)
    assert shown == sets[sizes != 1].value_counts().to_dict()
    samples = confidence_tables.sample_table(data)
    assert [row[0] for row in samples.rows] == list(data.query["sample"].unique())
    for row in samples.rows:
        own = data.query["sample"] == row[0]
        assert row[1] == str(own.sum())
        assert row[6] == f"{sizes[own].mean():.2f}"
    data.obs["cell_type_set"] = "NA"
    data.__dict__.pop("query")
    assert confidence_tables.set_table(data) is None


def test_a_mostly_unassigned_cluster_has_no_agreement_and_disputes_are_named(make_files):
    data = read_report_data(make_files(), 2)
    own = data.cluster_labels["space"] == data.settings.voters.final
    first = data.cluster_labels.index[own][0]
    changed = {"label": "unassigned", "agreement": 0.61, "unassigned": 0.61}
    data.cluster_labels.loc[first, list(changed)] = list(changed.values())
    table = page_tables.agreement_table(data, {data.clusters[1]})
    assert table.rows[0][2:6] == ["unassigned", "no", "–", "61%"]
    assert table.rows[1][3] == "yes"
