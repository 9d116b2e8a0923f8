"""Scores of all methods on one split, and all splits together."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dice_atlas.baselines.methods import METHODS
from dice_atlas.benchmark import collect, figures
from dice_atlas.benchmark.protocols import blind_scores, novelty_scores, type_scores
from dice_atlas.benchmark.scores import SplitTruth, score_methods
from dice_atlas.errors import InputError
from dice_atlas.files import write_table
from factories import CLUSTER, blobs

KEY = {"set": "001", "variant": "base", "seed": "0"}
TYPES = np.array(["A", "B", "C"])


def split_of(folder, n=150):
    """split.h5ad of three types in two batches, a third of them the query; a point per cell."""
    points, codes = blobs(3, n // 3, 4, seed=0, distance=12.0)
    order = np.random.default_rng(1).permutation(n)
    points, codes = points[order], codes[order]
    obs = pd.DataFrame(
        {
            "role": np.where(np.arange(n) < n // 3, "query", "reference"),
            "batch": np.where(np.arange(n) % 2, "x", "y"),
            "label": TYPES[codes],
        },
        index=[f"c{i}" for i in range(n)],
    )
    path = folder / "split.h5ad"
    ad.AnnData(obs=obs, uns={"label": "B"}).write_h5ad(path)
    return path, points, obs


def write(folder, name, obs, **obsm):
    path = folder / f"{name}.h5ad"
    ad.AnnData(obs=obs[[]], obsm=obsm).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    """The truth, and embeddings: all cells with and without a spread, and the query alone."""
    folder = tmp_path_factory.mktemp("split")
    path, points, obs = split_of(folder)
    query = (obs["role"] == "query").to_numpy()
    sd = np.full_like(points, 0.1)
    noise = np.random.default_rng(2).standard_normal(points.shape).astype(np.float32)
    files = {
        "pca": write(folder, "pca", obs, X_embedding=points, X_embedding_sd=sd),
        "nmf": write(folder, "nmf", obs, X_embedding=noise),
        "dice_exact": write(folder, "dice", obs[query], X_dice=points[query], X_dice_sd=sd[query]),
    }
    return SplitTruth.read(path), files


def values(scores):
    return scores.set_index(["method", "metric"])["value"]


@pytest.fixture(scope="module")
def scored(methods):
    """Scores, curves and layouts by protocol."""
    truth, files = methods
    return {name: score_methods(files, truth, CLUSTER, KEY, name) for name in ("blind", "paper")}


def test_protocol_blind_of_each_method(methods, scored):
    truth, files = methods
    assert truth.label == "B"
    scores, curves, layouts = scored["blind"]
    assert layouts == {}
    assert scores.columns.tolist()[:5] == ["set", "variant", "seed", "protocol", "method"]
    assert set(scores["set"]) == {"001"}
    assert set(scores["protocol"]) == set(curves["protocol"]) == {"blind"}
    assert set(scores["n_cells"]) == {50}
    found = values(scores)
    for method in ("pca", "dice_exact"):
        for metric in ("ari", "type_f1"):
            assert found[method, metric] == 1, metric
    assert found["nmf", "ari"] < 0.2
    # Only what the reference was embedded with can be asked for neighbours in it.
    assert found["pca", "knn_accuracy"] == 1
    assert found["nmf", "knn_accuracy"] < 0.7
    assert ("dice_exact", "knn_accuracy") not in found.index
    assert curves.groupby("method")["chosen"].sum().to_dict() == dict.fromkeys(files, 1)


def test_the_choice_by_stability_takes_the_spread_of_a_method_that_has_one(methods, monkeypatch):
    truth, files = methods
    seen = []

    def spread_of(embedding, names, cluster, seed, sd):
        seen.append(None if sd is None else float(sd.mean()))
        return blind_scores(embedding, names, cluster, seed, sd)

    monkeypatch.setattr("dice_atlas.benchmark.scores.blind_scores", spread_of)
    score_methods(files, truth, CLUSTER, KEY, "blind")
    assert seen == [pytest.approx(0.1), None, pytest.approx(0.1)]


def test_protocol_paper_has_a_layout_of_each_method(methods, scored):
    truth, files = methods
    scores, curves, layouts = scored["paper"]
    query = truth.cells["role"] == "query"
    assert layouts["label"].tolist() == truth.cells["label"][query].tolist()
    shapes = {name: layout.shape for name, layout in layouts.items()}
    assert shapes == {"label": (50,), **dict.fromkeys(files, (50, 2))}
    best = curves[curves["chosen"]].set_index("method")["ari"]
    for method in files:
        assert values(scores)[method, "ari"] == best[method]
        assert best[method] == curves[curves["method"] == method]["ari"].max()


def test_the_centred_silhouette_does_not_depend_on_the_origin():
    points, codes = blobs(3, 60, 4, seed=0, distance=12.0)
    near, far = (
        blind_scores(points + shift, TYPES[codes], CLUSTER, seed=0)[0] for shift in (0.0, 1000.0)
    )
    assert far["silhouette_centred"].value == pytest.approx(near["silhouette_centred"].value)
    assert near["silhouette_centred"].value > 0.8
    assert far["silhouette"].value != pytest.approx(near["silhouette"].value)


def test_purity_of_a_type_that_lies_apart_and_of_one_that_is_mixed():
    points, codes = blobs(2, 100, 3, seed=0, distance=50.0)
    apart = type_scores(points, TYPES[codes], codes, "A")
    assert apart["type_purity"].value == 1
    # Labels by chance: a neighbour is of the type as often as any cell is.
    mixed = np.random.default_rng(0).permutation(codes)
    found = type_scores(points, TYPES[mixed], codes, "A")["type_purity"].value
    assert found == pytest.approx(0.5, abs=0.06)


def test_cells_of_a_missing_type_are_told_by_distance_and_by_background():
    points, codes = blobs(3, 40, 3, seed=1, distance=30.0)
    own = codes == 2
    # In a row of distances that is known, AUROC is the share of pairs in the right order.
    background = np.where(own, 0.9, 0.1)
    background[np.flatnonzero(own)[:10]] = 0.0
    found = novelty_scores(points[~own], points, own, background)
    assert found["type_auc_distance"].value == 1
    assert found["type_auc_background"].value == pytest.approx(0.75)
    assert set(novelty_scores(points[~own], points, own, None)) == {"type_auc_distance"}
    assert novelty_scores(points[~own], points[own], own[own], None) == {}


def test_an_embedding_of_another_split_is_refused(methods, tmp_path):
    truth, files = methods
    other = truth._replace(cells=truth.cells.iloc[:-1])
    with pytest.raises(InputError, match=r"pca.h5ad is of another split: remove "):
        score_methods(files, other, CLUSTER, KEY, "blind")


@pytest.fixture
def finished(scored, tmp_path):
    """Files of two seeds of the set 001, as the rules write them."""
    written = {"scores": [], "curves": [], "layouts": [], "costs": []}
    for seed in ("0", "1"):
        folder = tmp_path / "001/base" / seed
        for protocol, (scores, curves, layouts) in scored.items():
            for name, table in (("scores", scores), ("curves", curves)):
                written[name].append(folder / protocol / f"{name}.tsv")
                write_table(table.assign(seed=seed), written[name][-1])
            if layouts:
                written["layouts"].append(folder / "paper/layouts.npz")
                np.savez(written["layouts"][-1], **layouts)
        for name, seconds in (("pca.tsv", "1.5"), ("dice_exact.1-of-1.tsv", "-")):
            path = tmp_path / "costs/001/base" / seed / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t200.25\n")
            written["costs"].append(path)
    return written


def test_tables_and_figures_of_all_splits(finished, tmp_path):
    tables = collect.all_tables(finished["scores"], finished["curves"], finished["costs"])
    assert set(tables["scores"]["set"]) == {"001"}
    assert len(tables["scores"]) == sum(len(pd.read_csv(p, sep="\t")) for p in finished["scores"])
    assert (tables["summary"]["seeds"] == 2).all()
    blind = tables["differences"].query("protocol == 'blind' and metric == 'ari' and set == '001'")
    found = blind.set_index("other")["difference"]
    ari = tables["scores"].query("protocol == 'blind' and metric == 'ari'")
    mean = ari.groupby("method")["value"].mean()
    assert found.to_dict() == pytest.approx({m: 1 - mean[m] for m in ("pca", "nmf")})
    assert tables["variants"].empty
    costs = tables["costs"]
    assert costs["what"].tolist() == ["pca", "dice_exact"] * 2
    assert costs["seed"].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(costs["seconds"], [1.5, np.nan] * 2)
    assert set(costs["peak_mb"]) == {200.25}
    layouts = collect.read_layouts(finished["layouts"])
    assert set(layouts) == {"001"}
    assert set(layouts["001"]) == {"label", "pca", "nmf", "dice_exact"}
    drawn = collect.write_figures(tables, layouts, tmp_path / "figures")
    assert {f"{name}.png" for name in drawn} == {p.name for p in (tmp_path / "figures").iterdir()}
    assert {"umap_001", "differences_blind", "curves_paper"} <= set(drawn)


def test_curves_are_of_any_method():
    assert set(figures.FIRST) <= set(METHODS)
    assert figures.curve_methods(reversed(METHODS)) == list(figures.FIRST[:4])
    assert figures.curve_methods(["scvi", "nmf", "dice_rho_1", "pca"]) == ["pca", "nmf", "scvi"]
    assert figures.curve_methods(["knn_15", "knn_10"]) == ["knn_10", "knn_15"]


def test_figures_are_there_whole_or_not_at_all(finished, tmp_path, monkeypatch):
    tables = collect.all_tables(finished["scores"], finished["curves"], finished["costs"])

    def broken(*arguments):
        yield from ()
        raise RuntimeError("no more ink")

    monkeypatch.setattr(collect, "all_figures", broken)
    with pytest.raises(RuntimeError, match="no more ink"):
        collect.write_figures(tables, {}, tmp_path / "figures")
    assert not list(tmp_path.glob("*figures*"))
