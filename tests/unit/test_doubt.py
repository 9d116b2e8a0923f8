"""The first reason for doubt of a cell, and what the report says of disputes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dice_atlas.atlas.doubt import cluster_labels, doubts
from dice_atlas.names import DOUBTS, NO_DOUBT
from dice_atlas.report import answer, disputes, evidence, findings, lying_apart
from dice_atlas.report.data import read_report_data
from dice_atlas.report.finding import GRADES, pick_json
from dice_atlas.report.html import all_tables
from report_files import make_report_files

# Label, set, label of another voter, cluster, anchors -> doubt.
CASES = [
    ("unassigned", "a|b", "a", "0", 9, "unassigned"),
    ("a", "b|c", "b", "0", 9, "own_label_not_in_set"),
    ("a", "", "b", "0", 9, "empty_set"),
    ("a", "a|b", "b", "0", 9, "several_labels"),
    ("a", "a", "b", "0", 9, "voters_disagree"),
    ("a", "a", "unassigned", "0", 9, NO_DOUBT),
    ("b", "b", "b", "0", 1, "cluster_disagrees"),
    ("b", "b", "b", "1", 9, NO_DOUBT),  # no label has 60 % of the cluster
    ("a", "a", "a", "1", 4, "few_anchors"),
    ("a", "a", "a", "1", 5, NO_DOUBT),
]


@pytest.fixture(scope="module")
def obs():
    columns = ["cell_type", "cell_type_set", "cell_type_in_pca", "cluster", "cell_type_n_anchors"]
    # A cell of the reference has no doubt, and no say in what its cluster is.
    reference = pd.DataFrame([("b", "", "b", "0", 0)] * 9, columns=columns).assign(role="reference")
    query = pd.DataFrame([case[:5] for case in CASES], columns=columns).assign(role="query")
    return pd.concat([query, reference], ignore_index=True)


def test_the_first_reason_that_holds_counts(obs):
    assert cluster_labels(obs).to_dict() == {"0": "a", "1": "a"}
    two = obs.copy()
    two.loc[len(CASES) - 2, "cluster"] = "2"
    assert cluster_labels(two).to_dict() == {"0": "a", "2": "a"}
    found = doubts(two, "dice")
    assert found[: len(CASES)].tolist() == [case[5] for case in CASES]
    assert set(found[len(CASES) :]) == {""}
    assert {case[5] for case in CASES} == {*DOUBTS, NO_DOUBT}


def test_marker_lists_have_no_vote(obs):
    listed = obs.rename(columns={"cell_type_in_pca": "cell_type_in_markers"})
    assert "voters_disagree" not in doubts(listed, "dice")


def test_only_labels_by_anchors_need_some(obs):
    assert "few_anchors" not in doubts(obs, "consensus")
    assert "few_anchors" in doubts(obs, "pca")


def test_no_labelled_cell_is_no_label_of_a_cluster(obs):
    assert cluster_labels(obs.assign(cell_type="unassigned")).empty


@pytest.fixture
def data(tmp_path, root):
    return read_report_data(make_report_files(tmp_path, root), 2)


def relabelled(data, cells, label):
    """The data with another label of some query cells; clusters and all else stay."""
    obs = data.obs.copy()
    obs.loc[cells, ["cell_type", "cell_type_set"]] = label
    return replace(data, obs=obs)


def test_a_cluster_with_a_second_label_is_disputed(data):
    assert not list(disputes.clusters(data))
    cells = data.query.index[
        (data.query["cluster"] == "0") & (data.query["cell_type"] != "unassigned")
    ]
    other = next(label for label in data.labels if label != data.obs.loc[cells[0], "cell_type"])
    few = relabelled(data, cells[: len(cells) // 5], other)
    assert not list(disputes.clusters(few))
    (found,) = disputes.clusters(relabelled(data, cells[: len(cells) // 3], other))
    assert found.text.startswith("Cluster 0 is disputed: its labelled query cells are ")
    assert found.pick == (("role", ("query",)), ("cluster", ("0",)))
    (all_other,) = disputes.clusters(relabelled(data, cells, other))
    assert f"not {other}" in all_other.text


def test_sure_labels_that_are_wrong_are_told(data):
    assert not list(disputes.sure_and_wrong(data))
    # The truth of the fixture is the label; now a third of the cells has another label.
    cells = data.query.index[data.query["cell_type"] == "NA"]
    assert len(cells) >= 20
    wrong = relabelled(data, cells, "T cell")
    (found,) = disputes.sure_and_wrong(wrong)
    assert found.text.startswith(f"{len(cells)} cells have a label that is not their given truth")
    assert found.grade == "serious"
    # Of the reasons for doubt those that a cell with one possible label may have.
    sure = ("none", "voters_disagree", "cluster_disagrees", "few_anchors")
    own = {"role": ("query",), "right": ("wrong",), "cell_type_doubt": sure}
    assert dict(found.pick) == {**own, "truth": ("NA",)}
    share, n = disputes.right_of(wrong, (wrong.query["cell_type"] == "T cell").to_numpy())
    of_label = wrong.query["cell_type"] == "T cell"
    assert n == of_label.sum()
    assert share == pytest.approx(1 - len(cells) / n)
    assert not list(disputes.sure_and_wrong(replace(wrong, truth=None)))
    assert disputes.right_of(replace(wrong, truth=None), of_label.to_numpy()) is None


def test_types_whose_coverage_is_short_are_told_beyond_chance(data):
    def with_coverage(value, n):
        row = {"protocol": "blind", "cells": "query", "embedding": "dice", "value": value,
               "metric": "set_coverage:NA", "note": f"{n} cells"}  # fmt: skip
        return replace(data, metrics=pd.concat([data.metrics, pd.DataFrame([row])]))

    assert not list(disputes.coverage(with_coverage(0.76, 19)))  # too few cells
    assert not list(disputes.coverage(with_coverage(0.87, 100)))  # 0.9 - 2 x 0.03
    (found,) = disputes.coverage(with_coverage(0.76, 100))
    assert "NA (76% of 100)" in found.text
    assert disputes.falls_short(with_coverage(0.76, 100))


def test_the_tile_does_not_call_labels_confident_where_sets_fall_short(data):
    def tiles(**changed):
        return {what for _, what, _ in answer.facts(replace(data, **changed))}

    # The fixture's sets hold the truth in 50 %, and its sample q2 lies apart.
    alike = data.shift.assign(apart="False")
    held = data.metrics[data.metrics["metric"] != "set_coverage_known"]
    assert lying_apart.samples(data) == ["q2"]
    assert "one possible label" in tiles(shift=alike)
    assert "one possible label" in tiles(metrics=held)
    assert "confident labels" in tiles(metrics=held, shift=alike)


def test_another_voter_is_better_only_beyond_chance(data):
    query = data.query
    known = query.index[query["cell_type"] != "unassigned"]

    def voter_differs(gained, lost):
        obs = data.obs.assign(cell_type_in_pca=data.obs["cell_type"])
        obs.loc[known[:gained], "cell_type"] = "wrong"
        obs.loc[known[gained : gained + lost], "cell_type_in_pca"] = "wrong"
        return disputes.beyond_chance(replace(data, obs=obs), "pca")

    assert voter_differs(16, 4)  # 12 > 2 sqrt(20)
    assert not voter_differs(12, 5)
    assert not voter_differs(4, 16)
    assert disputes.beyond_chance(replace(data, truth=None), "pca")


def test_clusters_of_reference_cells_without_a_label_are_told(data):
    assert not list(disputes.unlabelled(data))
    cells = data.reference.index[data.reference["cluster"] == "1"]
    assert len(cells) >= 20
    (found,) = disputes.unlabelled(relabelled(data, cells, "unassigned"))
    assert (
        f"Cluster 1: {len(cells)} of its {len(cells)} reference cells have no label" in found.text
    )


def test_a_prior_that_training_did_not_improve_is_told(data):
    assert not list(disputes.prior(data))
    loss = pd.DataFrame({"step": [0, 1], "train_loss": 1.0, "validation_loss": [0.5, 0.6]})
    assert list(disputes.prior(replace(data, loss=loss)))
    assert not list(disputes.prior(replace(data, loss=loss[:1])))  # a kernel: nothing to train
    none = loss.assign(validation_loss=np.nan)
    assert not list(disputes.prior(replace(data, loss=none)))


def test_the_list_begins_with_what_is_serious_and_its_numbers_are_of_its_cells(data):
    found = findings.look_first(data)
    grades = [GRADES.index(one.grade) for one in found]
    assert grades == sorted(grades)
    doubt = next(one for one in found if "have a reason for doubt" in one.text)
    chosen = np.logical_and.reduce([data.obs[name].isin(values) for name, values in doubt.pick])
    assert doubt.text.startswith(f"{chosen.sum()} query cells")
    assert pick_json((("a", ("x\u202ey",)),)) == '[["a", ["x\\\\u202ey"]]]'


def test_more_labels_are_had_by_the_setting_that_keeps_them_back(data):
    assert "lower annotate.unassigned_below" in evidence.more_labels(data)
    by_risk = replace(data, provenance={**data.provenance, "config": {**data.config}})
    by_risk.config["annotate"] = {**data.config["annotate"], "unassigned_below": None}
    assert "raise annotate.risk" in evidence.more_labels(by_risk)
    lost = data.obs["cell_type"] == "unassigned"
    other = data.obs.assign(cell_type_rule=np.where(lost, "p_reference_below_0.01", ""))
    assert evidence.more_labels(replace(data, obs=other)) == ""


def test_the_answer_counts_cells(data):
    text = answer.answer(data)
    query = data.query
    one = (
        (query["cell_type"] != "unassigned") & (query["cell_type_set"] == query["cell_type"])
    ).sum()
    # All of them have a truth.
    assert text.startswith(
        f"{(query['cell_type'] != 'unassigned').sum()} of 140 query cells got one of 3 cell types. "
        f"{one} have one possible label; 100% of these are right"
    )
    doubt = (query["cell_type_doubt"] != NO_DOUBT).sum()
    assert text.endswith(f"{doubt} have a reason for doubt. q2 lies apart from the reference.")


def test_fields_of_the_matrices_select_their_cells(data):
    tables = all_tables(data, 2)
    for name in ("confusion", "clusters", "types", "agreement"):
        assert tables[name].picks
    confusion, obs = tables["confusion"], data.obs.assign(truth=data.truth.reindex(data.obs.index))
    for (i, j), pick in confusion.picks.items():
        chosen = np.logical_and.reduce(
            [obs[name].isin(values) for name, values in json.loads(pick)]
        )
        shown = confusion.rows[i][j] if j else sum(int(n or 0) for n in confusion.rows[i][1:])
        assert int(shown) == chosen.sum()
