"""What a user meets before and after the jobs: messages, odd paths, two runs at once."""

import re
import shutil
import subprocess

import pytest
from waiting import wait_for

pytestmark = pytest.mark.workflow
HEAD = "sample\tpath\trole\tbatch"
# What must stand nowhere around a message for the user.
NOISE = ("Traceback", "InputFunctionException", 'File "', "WorkflowError", "in <module>")


@pytest.fixture(scope="module")
def copy(make_copy):
    return make_copy("front door")  # with a space


def last_lines(output, start):
    """The output from the last line on that begins so."""
    lines = output.rstrip().splitlines()
    first = max(i for i, line in enumerate(lines) if line.startswith(start))
    return lines[first:]


def test_a_wrong_config_or_sheet_ends_with_the_message(copy):
    (copy.folder / "twice.yaml").write_text("atlas: x\nseed: 1\nseed: 2\n")
    (copy.folder / "line.yaml").write_text('atlas: "x\\n"\n')
    (copy.folder / "braces.tsv").write_text(f"{HEAD}\nq\t{{x}}/a.h5ad\tquery\tA\n")
    for arguments, end in {
        ("--configfile", "twice.yaml"): "twice.yaml: the key seed stands twice, in lines 2 and 3",
        ("--config", "samples=braces.tsv"): "Snakemake takes {x} in a path for a wildcard",
        ("--config", "seed=nan"): "seed: seen nan, expected a whole number from 0 to 2147483647",
        ("--configfile", "line.yaml"): "atlas: seen 'x\\n', with the character U+000A",
        ("--config", "samples=none.tsv"): "the sample sheet none.tsv does not exist",
    }.items():
        output = copy.run("-n", *arguments, ok=False)
        assert end in "\n".join(last_lines(output, "Error: "))
        assert not any(text in output for text in NOISE), output


@pytest.mark.parametrize("dry", [True, False])
def test_a_wrong_sheet_of_the_benchmark_ends_with_the_message(copy, dry):
    row = "q\tresources/demo/pbmc_ref.h5ad\tquery\tA"
    (copy.folder / "bad.tsv").write_text(f"{HEAD}\nq\t\tquery\tA\n")
    (copy.folder / "unset.tsv").write_text(f"{HEAD}\n{row}\n")
    (copy.folder / "lonely.tsv").write_text(f"{HEAD}\tlabels\tset\n{row}\tcell_type\ts\n")
    (copy.folder / "absent.tsv").write_text(
        f"{HEAD}\tlabels\tset\nr\tno.h5ad\treference\tA\tx\ts\n"
    )
    for name, end in {
        "bad": "column path: seen ''",
        "unset": "sample q: the column labels is empty or missing",
        "lonely": "set s: no row is a reference",
        "absent": "column path: no such file: no.h5ad",
        "none": "the sample sheet none.tsv does not exist",
    }.items():
        arguments = ("--config", f"benchmark={{samples: {name}.tsv}}", "--", "benchmark")
        output = copy.run(*(["-n"] if dry else []), *arguments, ok=False)
        assert end in "\n".join(last_lines(output, "Error: "))
        assert not any(text in output for text in NOISE), output
    assert not list((copy.folder / ".snakemake/locks").glob("*"))


def test_a_new_study_is_filled_in_and_checked(copy, root):
    shutil.copy(root / "Makefile", copy.folder)
    make = ["make", "new", "NAME=my_study"]
    subprocess.run(make, cwd=copy.folder, check=True)
    output = copy.run("-n", "--configfile", "config/my_study.yaml", "--", "check", ok=False)
    assert "column path: no such file: /path/to/reference.h5ad" in output
    sheet = copy.folder / "config/my_study.csv"
    (copy.folder / "config/mine.h5ad").touch()
    sheet.write_text(re.sub(r"/path/to/[^,]+", "mine.h5ad", sheet.read_text()))
    planned = copy.planned("--configfile", "config/my_study.yaml", "--", "check")
    assert planned == {"check": 1}
    again = subprocess.run(make, cwd=copy.folder, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "config/my_study.yaml is there already" in again.stdout


def test_what_failed_is_said_last(copy):
    (copy.folder / "tpm.csv").write_text("gene,c1,c2\nA,0.5,1.5\nB,1.5,2.5\n")
    (copy.folder / "odd{.csv").write_text("gene,c1,c2\nA,1,-1\nB,1,2\n")
    (copy.folder / "two.tsv").write_text(
        f"{HEAD}\nq1\ttpm.csv\tquery\tA\nq2\todd{{.csv\tquery\tA\n"
    )
    output = copy.run("-k", "--config", "atlas=two", "samples=two.tsv", ok=False)
    said = last_lines(output, "What failed:")
    assert len(said) == 5
    # Snakemake starts the two jobs in either order.
    (first, first_log), (second, second_log) = sorted([said[1:3], said[3:5]])
    assert first.startswith("load_counts (q1): tpm.csv")
    assert first_log == "    log: results/two/logs/load_counts/q1.log"
    assert second.startswith("load_counts (q2): odd{.csv")
    assert second_log == "    log: results/two/logs/load_counts/q2.log"


def test_fields_that_no_step_looks_at_are_said_once(copy):
    (copy.folder / "a.h5ad").touch()
    (copy.folder / "more.tsv").write_text(f"{HEAD}\tlabels\nq\ta.h5ad\tquery\tA\tcell_type")
    output = copy.run("-n", "--config", "samples=more.tsv")
    assert output.count("Warning: more.tsv: the column labels of the query sample(s) q is not") == 1
    assert output.count("Warning: more.tsv: its last line has no end") == 1


def test_parameters_of_the_shell_are_quoted(copy):
    folder = copy.folder / "py {x}; touch injected; :"
    folder.mkdir()
    (folder / "python").touch()
    target = "results/benchmark/quick/pbmc/base/0/embeddings/scvi.h5ad"
    chosen = f'benchmark={{methods: [pca, dice_exact, scvi], scvi_python: "{folder.name}/python"}}'
    output = copy.run("-n", "-p", "--config", chosen, "--", target)
    assert f"'{folder.name}/python' workflow_scripts/embed_scvi.py --input " in output


def test_a_clone_with_a_space_runs_from_elsewhere(copy, tmp_path):
    user = type(copy)(tmp_path, copy.folder)
    snakefile = str(copy.folder / "Snakefile")
    user.run("-s", snakefile, "--", "resources/demo/pbmc_ref.h5ad")
    clone = tmp_path / "cl{one}"
    shutil.copytree(copy.folder, clone, ignore=shutil.ignore_patterns(".snakemake", "results"))
    output = user.run("-s", str(clone / "Snakefile"), "-n", ok=False)
    assert "the folder of the workflow: seen" in last_lines(output, "Error: ")[-1]


def test_two_atlases_at_once_in_one_folder(copy):
    """As docs/cluster.md says: locks are on files, and atlases share none but the demo's data."""
    copy.run("--", "resources/demo/pbmc_ref.h5ad")
    target = "results/first/denoise/denoised.h5ad"
    first = copy.start("--cores", "1", "--config", "atlas=first", "--", target)
    locks = copy.folder / ".snakemake/locks"
    try:
        wait_for(lambda: list(locks.glob("*.output.lock")), 60, copy.folder / "started.log")
        again = copy.run("--config", "atlas=first", "--", target, ok=False)
        # By the lock, or since a file that is being written looks as if it had been cut off.
        assert "Directory cannot be locked" in again or "IncompleteFilesException" in again
        output = copy.run("--config", "atlas=second", "--", "check")
        assert first.poll() is None, "the first run ended before the second"
        assert re.search(
            r"^ *pbmc_q1 +query +10x mtx v3 +- +174 +765 +100% +-$", output, re.MULTILINE
        )
        assert "765 genes are in all samples." in output
        assert not (copy.folder / "results/second/samples").exists()
        output = copy.run("-n", "--config", "atlas=second")
        assert re.search(
            r"^Plan: \d+ jobs for 3 samples .*, 700 cells; a guess", output, re.MULTILINE
        )
        assert "    Look at labels with under 40 cells" in output
        # A sheet of its own: the cells of this one say nothing.
        assert re.search(r"^Plan: \d+ jobs\.$", copy.run("-n", "--", "benchmark"), re.MULTILINE)
        assert first.wait(timeout=300) == 0
    finally:
        if first.poll() is None:
            copy.kill(first)
    assert (copy.folder / target).exists()
