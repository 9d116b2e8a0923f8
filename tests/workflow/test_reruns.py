"""What runs again after a change, what a killed run loses, what the result depends on."""

import anndata as ad
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from waiting import wait_for_text

pytestmark = pytest.mark.workflow


def test_dry_run_plans_every_rule_in_order(make_copy):
    planned = make_copy("dry").planned()
    assert planned["load_counts"] == 3
    assert planned["denoise_shard"] == 4
    assert planned["transfer_labels"] == 2
    assert planned["write_atlas"] == planned["render_report"] == 1


def test_many_samples_and_shards_are_planned(make_copy):
    copy = make_copy("many")
    rows = ["sample,path,role,batch,labels"]
    for i in range(200):
        (copy.folder / f"s{i}.h5ad").touch()
        role = "reference,b,cell_type" if i < 20 else "query,b,"
        rows.append(f"s{i},s{i}.h5ad,{role}")
    (copy.folder / "many.csv").write_text("\n".join(rows) + "\n")
    config = copy.config("many", samples="many.csv", denoise={"shards": 64})
    planned = copy.planned("--configfile", config)
    assert planned["load_counts"] == planned["filter_cells"] == 200
    assert planned["denoise_shard"] == 64
    assert planned["gather_denoised"] == planned["write_atlas"] == 1


def test_second_run_has_nothing_to_do(demo):
    assert "Nothing to be done" in demo.run()


def test_a_finished_folder_can_be_moved(demo, tmp_path):
    assert demo.duplicate(tmp_path / "elsewhere").planned() == {}


def test_changed_resolutions_rerun_clustering_and_what_hangs_on_it_only(demo):
    changed = demo.config("resolutions", cluster={"resolutions": [0.3, 0.9]})
    assert set(demo.planned("--configfile", changed)) == {
        "all",
        "cluster_cells",
        "cluster_query",
        "embed_umap",
        "rank_markers",
        "explain_labels",
        "score_metrics",
        "write_atlas",
        "render_report",
    }


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        ({"annotate": {"coverage": 0.8}}, {"transfer_labels"}),
        ({"annotate": {"consensus": ["pca", "linear"]}}, {"combine_voters"}),
        ({"annotate": {"rename": {"Dendritic": "DC"}}}, {"transfer_labels"}),
        ({"annotate": {"markers": "config/examples/markers_pbmc.csv"}}, {"score_markers"}),
        ({"report": {"genes": ["CD8B"], "max_mb": 5, "max_cells": 5000}}, {"render_report"}),
        ({"figures": {"dpi": 100, "width": 3.5, "names": ["Dendritic"]}}, {"render_report"}),
        ({"denoise": {"samples": 5}}, {"denoise_shard"}),
        ({"annotate": {"nfeatures": 500}}, {"find_anchors"}),
        ({"prior": {"augmentation": "none"}}, {"train_prior"}),
        ({"qc": {"max_mito_percent": 10}}, {"filter_cells"}),
    ],
    ids=[
        "coverage",
        "voters",
        "rename",
        "lists",
        "report",
        "figures",
        "samples",
        "features",
        "augmentation",
        "mito",
    ],
)
def test_a_setting_reruns_the_stage_that_it_belongs_to_and_nothing_before(demo, keys, first):
    order = [
        "load_counts", "filter_cells", "select_genes", "normalize_log1p", "correct_batches",
        "fit_loadings", "train_prior", "denoise_shard", "find_anchors", "transfer_labels",
        "combine_voters", "score_markers", "write_atlas", "render_report",
    ]  # fmt: skip
    planned = set(demo.planned("--configfile", demo.config("changed", **keys)))
    assert first <= planned
    before = order[: order.index(next(iter(first)))]
    assert not planned & set(before)


def test_what_changes_no_cell_reruns_little(demo):
    title = demo.planned("--configfile", demo.config("title", report={"title": "Another"}))
    assert set(title) == {"all", "render_report"}
    exports = demo.planned("--configfile", demo.config("exports", export=["zarr"]))
    assert set(exports) == {"all", "export_zarr"}
    # The atlas holds the colours.
    palette = demo.config("palette", figures={"palette": {"Dendritic": "#123456"}})
    assert set(demo.planned("--configfile", palette)) == {"all", "write_atlas", "render_report"}
    # Length and start of Gibbs chains do not matter to the closed form, but to the provenance.
    gibbs = {"iterations": 7, "repeats": 3, "rho": {"start": 9.0}}
    planned = demo.planned("--configfile", demo.config("chains", denoise=gibbs))
    assert set(planned) == {"all", "write_atlas", "render_report"}
    # The query's own clusters are the same under other names, and whichever clusters are chosen.
    for keys in (
        {"annotate": {"rename": {"Dendritic": "DC"}}},
        {"cluster": {"choose": 0.8}},
        {"cluster": {"embedding": "pca"}},
    ):
        planned = demo.planned("--configfile", demo.config("names", **keys))
        assert planned["score_metrics"] == 1
        assert "cluster_query" not in planned
    # Variable genes are those of the space pca; the denoised space has its own.
    anchors = demo.planned("--configfile", demo.config("genes", annotate={"nfeatures": 500}))
    assert anchors["find_anchors"] == anchors["transfer_labels"] == 1


def test_changed_truth_reruns_the_metrics_and_the_report_only(demo):
    sheet = (demo.folder / "config/samples.tsv").read_text()
    other = sheet.replace("../resources/demo/pbmc_q1_truth.csv", "")
    (demo.folder / "config/other.tsv").write_text(other)
    config = demo.config("truth", samples="config/other.tsv")
    planned = set(demo.planned("--configfile", config))
    # The atlas holds the sheet, as provenance.
    of_metrics = {"read_truth", "cluster_query", "score_metrics"}
    assert planned == {"all", *of_metrics, "write_atlas", "render_report"}


def test_result_does_not_depend_on_the_number_of_shards(demo, tmp_path):
    # The demo stays as it is: others look at it.
    copy = demo.duplicate(tmp_path / "dice-atlas")
    path = copy.folder / "results/demo/denoise/denoised.h5ad"
    found = {}
    for shards in (1, 7):
        config = copy.config("shards", denoise={"shards": shards})
        output = copy.run("--configfile", config, "--", str(path.relative_to(copy.folder)))
        assert f"denoise_shard ({shards}-of-{shards}): " in output
        found[shards] = ad.read_h5ad(path)
    one, seven = found.values()
    assert one.obs_names.equals(seven.obs_names)
    for name in ("X_dice", "X_dice_sd", "label_posterior"):
        assert np.abs(one.obsm[name] - seven.obsm[name]).max() < 1e-5, name
    apart = np.abs(one.obs["dice_uncertainty"] / seven.obs["dice_uncertainty"] - 1)
    assert apart.max() < 1e-5


@pytest.fixture(scope="module")
def calm(make_user, small):
    """The demo run without a break on one core, as a module in a user's folder."""
    user = make_user("calm")
    user.config("settings", atlas="demo", samples="config/samples.tsv", **small)
    user.snakefile(f'"{user.clone}/workflow/Snakefile"')
    before = files_of(user.clone)
    user.run(cores=1)
    assert files_of(user.clone) == before, "the run wrote into the clone"
    return user


def files_of(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_module_has_done_what_the_clone_would_do(calm):
    assert calm.planned() == {}
    assert calm.planned("-s", f"{calm.clone}/Snakefile", "--configfile", "settings.yaml") == {}
    assert (calm.folder / "results/demo/report.html").stat().st_size > 100_000


def test_a_killed_run_resumes_to_the_result_of_an_undisturbed_one(make_copy, small, calm):
    killed = make_copy("killed")
    name = killed.config("small", **small)
    process = killed.start("--cores", "2", "--configfile", name)
    wait_for_text(killed.folder / "started.log", "fit_loadings: ", 600)
    killed.kill(process)
    killed.run("--unlock")
    done = (killed.folder / "results/demo/features/normalized.h5ad").stat().st_mtime_ns
    killed.run("--configfile", name, "--rerun-incomplete", "--", "results/demo/atlas.h5ad")
    after = (killed.folder / "results/demo/features/normalized.h5ad").stat().st_mtime_ns
    assert after == done, "finished work was done again"
    first, second = (ad.read_h5ad(c.folder / "results/demo/atlas.h5ad") for c in (killed, calm))
    assert first.obs_names.equals(second.obs_names)
    assert (first.layers["counts"] != second.layers["counts"]).nnz == 0
    assert (first.X != second.X).nnz == 0
    scale = np.abs(first.obsm["X_dice"]).max()
    assert np.abs(first.obsm["X_dice"] - second.obsm["X_dice"]).max() < 0.02 * scale
    same = first.obs["cell_type"].astype(str) == second.obs["cell_type"].astype(str)
    assert same.mean() > 0.97
    assert adjusted_rand_score(first.obs["cluster"], second.obs["cluster"]) > 0.8
