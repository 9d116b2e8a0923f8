"""The workflow outside of its clone: from any folder, as a module, from a git host."""

import re
import shutil
import subprocess

import anndata as ad
import pytest

pytestmark = pytest.mark.workflow
DEMO = {"atlas": "demo", "samples": "config/samples.tsv"}


@pytest.fixture(scope="module")
def expected(make_copy):
    """Jobs that the demo plans in its clone."""
    planned = make_copy("clone").planned()
    del planned["all"]
    return planned


@pytest.fixture
def user(make_user):
    made = make_user("deployed")
    made.config("settings", **DEMO)
    return made


@pytest.mark.parametrize("file", ["Snakefile", "workflow/Snakefile"])
def test_a_module_plans_every_job(user, expected, file):
    user.snakefile(f'"{user.clone}/{file}"')
    planned = user.planned()
    assert planned.pop("atlas" if "/" in file else "all") == 1
    assert planned == expected


def test_the_rules_of_a_module_can_have_other_names(user, expected):
    user.snakefile(f'"{user.clone}/workflow/Snakefile"', renamed=" as pbmc_*")
    assert user.planned().keys() == {f"pbmc_{name}" for name in [*expected, "atlas"]}
    assert user.planned("pbmc_benchmark")["pbmc_split_benchmark"] > 1


def test_a_wrong_setting_of_a_module_is_named(user):
    user.config("settings", **DEMO, clusters={})
    user.snakefile(f'"{user.clone}/workflow/Snakefile"')
    output = user.run("-n", ok=False)
    assert "unknown key 'clusters'; did you mean 'cluster'?" in output


@pytest.mark.parametrize("file", ["Snakefile", "workflow/Snakefile"])
def test_the_demo_and_its_benchmark_are_planned_from_an_empty_folder(user, expected, file):
    snakefile = ("-s", str(user.clone / file))
    assert expected.items() <= user.planned(*snakefile).items()
    assert user.planned(*snakefile, "benchmark")["load_benchmark"] == 3


def test_a_users_sheet_and_data_lie_in_the_users_folder(user, tmp_path):
    # What is installed, here something broken, is no match for the clone's own library.
    (tmp_path / "dice_atlas").mkdir()
    (tmp_path / "dice_atlas/__init__.py").write_text("raise RuntimeError('not the clone')")
    user.env = {"PYTHONPATH": str(tmp_path)}
    snakefile = ("-s", str(user.clone / "Snakefile"))
    user.run(*snakefile, "--", "resources/demo/pbmc_ref.h5ad")
    assert not (user.clone / "resources/demo").exists()
    (user.folder / "data").mkdir()
    (user.folder / "resources/demo/pbmc_ref.h5ad").rename(user.folder / "data/mine.h5ad")
    rows = "sample\tpath\trole\tbatch\nmine\tmine.h5ad\tquery\tA\n"
    (user.folder / "data/sheet.tsv").write_text(rows)
    config = user.config("my", atlas="mine", samples="data/sheet.tsv")
    target = "results/mine/samples/mine/counts.h5ad"
    user.run(*snakefile, "--configfile", config, "--", target)
    assert ad.read_h5ad(user.folder / target).n_obs == 351


def test_another_workflows_config_in_the_folder_does_not_count_under_a_configfile(user):
    (user.folder / "config").mkdir()
    theirs = user.folder / "config/config.yaml"
    # One key that is ours as well, and one that is not.
    theirs.write_text("atlas: theirs\nsamples: config/samples.tsv\nseed: 7\nunits: units.tsv\n")
    snakefile = ("-s", str(user.clone / "Snakefile"), "-n")
    output = user.run(*snakefile, "--configfile", user.config("my", denoise={"shards": 3}))
    assert "results/demo/atlas.h5ad" in output
    assert re.search(r"^denoise_shard +3$", output, re.MULTILINE)
    assert "results/theirs" not in output
    # Without --configfile the folder's own counts, as that of a copy that snakedeploy made.
    assert "unknown key 'units'" in user.run(*snakefile, ok=False)
    theirs.write_text("atlas: mine\nsamples: config/samples.tsv\n")
    assert "results/mine/atlas.h5ad" in user.run(*snakefile)


def test_a_missing_sheet_is_not_one_of_the_clone(user):
    shutil.copy(user.clone / "config/samples.tsv", user.clone / "my.tsv")
    config = user.config("my", atlas="mine", samples="my.tsv")
    output = user.run("-s", str(user.clone / "Snakefile"), "-n", "--configfile", config, ok=False)
    assert "the sample sheet my.tsv does not exist" in output


@pytest.fixture
def hosted(user, tmp_path):
    """The user's clone as a repository of a git host, which git is told to find on this machine."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "v1"]):
        subprocess.run([*git, *command], cwd=user.clone, check=True)
    host = tmp_path / "host/lab"
    host.mkdir(parents=True)
    user.clone.rename(host / "dice-atlas")
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{tmp_path}/host/"]\n\tinsteadOf = https://github.com/\n'
        "[safe]\n\tdirectory = *\n"
    )
    user.env = {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    user.snakefile('github("lab/dice-atlas", path="workflow/Snakefile", tag="v1")')
    return user


def test_a_module_from_a_git_host_runs_with_the_installed_library(hosted, expected, package):
    output = hosted.run("-n", ok=False)
    assert "pip install 'dice-atlas @ git+https://github.com/lab/dice-atlas@v1'" in output
    hosted.env["PYTHONPATH"] = str(package)
    assert expected.items() <= hosted.planned().items()
    target = "results/demo/samples/pbmc_q1/counts.h5ad"
    hosted.run("--", target)
    assert ad.read_h5ad(hosted.folder / target).n_obs == 174
