"""A generated project as its user meets it: its own tests, its Makefile, where it gets casekit from."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scaffold_projects import RECIPES, SCAFFOLD, Render, copy_scaffold, environment, git, render

TARGETS = ["setup", "data", "train", "evaluate", "report", "all", "chat", "test"]


def run_make(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=project,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_own_tests_pass_with_this_kit(recipe: str, make: Render) -> None:
    done = run_make(make(recipe=recipe), "test", f"VENV={sys.prefix}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"all \d+ hold on \d+ examples", done.stdout)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 10
    assert "failed" not in done.stdout


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_own_tests_fail_where_the_project_is_broken(recipe: str, make: Render) -> None:
    project = make(recipe=recipe)
    settings = project / "conf/project.yaml"
    settings.write_text(settings.read_text() + "\ndata:\n  cleaners: [no_such_cleaner]\n")
    done = run_make(project, "test", f"VENV={sys.prefix}")
    assert done.returncode != 0
    assert "test_readers_and_cleaners_named_in_the_settings_exist" in done.stdout


def test_every_target_says_what_it_runs(make: Render) -> None:
    project = make(recipe="finance")
    asked = {target: run_make(project, "--dry-run", target, f"VENV={sys.prefix}") for target in TARGETS}
    assert {target: done.returncode for target, done in asked.items()} == dict.fromkeys(TARGETS, 0)
    commands = {"data": "data prepare", "train": "train", "evaluate": "evaluate", "report": "report"}
    for target, words in {**commands, "all": "run", "chat": "chat"}.items():
        assert asked[target].stdout.strip() == f"{sys.prefix}/bin/casekit {words}"
    listed = run_make(project).stdout
    assert [target for target in TARGETS if f"make {target}" not in listed] == []


def test_without_an_environment_it_says_what_to_do(make: Render) -> None:
    done = run_make(make(recipe="finance"), "train")
    assert done.returncode == 2
    assert "run 'make setup' first" in done.stdout


def installs(project: Path, **variables: str) -> list[list[str]]:
    """The `pip install` commands of `make setup`, as words."""
    done = run_make(project, "--dry-run", "setup", **variables)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    return [words[words.index("install") + 1 :] for words in commands if "install" in words]


def record(project: Path, source: str, version: str | None) -> None:
    answers = project / ".copier-answers.yml"
    recorded = yaml.safe_load(answers.read_text())
    recorded["_src_path"] = source
    if version:
        recorded["_commit"] = version
    answers.write_text(yaml.safe_dump(recorded))


@pytest.mark.parametrize(
    "name", ["casekit", "a folder with a name so long that YAML would break the line/my casekit"]
)
def test_made_from_a_folder_it_installs_casekit_from_there_with_its_constraints(
    name: str, tmp_path: Path
) -> None:
    folder = copy_scaffold(tmp_path / name, (*SCAFFOLD, "constraints.txt"))
    first, second = installs(render(folder, tmp_path / "project", recipe="finance"))
    constraint = ["--constraint", f"{folder}/constraints.txt"]
    assert first[-3:] == [*constraint, str(folder)]
    assert second[-4:] == [*constraint, "--editable", ".[dev]"]


@pytest.mark.parametrize(
    ("source", "version", "expected"),
    [
        ("https://github.com/casekit/casekit", "v1.2.3", "git+https://github.com/casekit/casekit@v1.2.3"),
        ("gh:casekit/casekit", "1234567", "git+https://github.com/casekit/casekit@1234567"),
        ("gh:casekit/casekit", "v1.2.3", "git+https://github.com/casekit/casekit@v1.2.3"),
        ("git@example.org:ai/casekit.git", "a1b2c3d", "git+ssh://git@example.org/ai/casekit.git@a1b2c3d"),
        ("git+https://example.org/casekit", "v1.2.3", "git+https://example.org/casekit@v1.2.3"),
        ("/srv/git/casekit.git", "v1.2.3", "git+file:///srv/git/casekit.git@v1.2.3"),
        ("https://github.com/casekit/casekit", None, "git+https://github.com/casekit/casekit"),
    ],
)
def test_made_from_a_repository_it_installs_the_recorded_version(
    source: str, version: str | None, expected: str, make: Render
) -> None:
    project = make(recipe="finance")
    record(project, source, version)
    first, second = installs(project)
    assert first[-1] == f"casekit @ {expected}"
    assert "--constraint" not in first
    assert second[-2:] == ["--editable", ".[dev]"]


def test_the_image_installs_before_it_copies_what_changes_often(make: Render, tmp_path: Path) -> None:
    """What the layers before `COPY . .` hold is enough for `make setup`, down to the package's metadata."""
    project = make(recipe="finance")
    text = (project / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    before, copied, after = text.partition("COPY . .\n")
    assert copied and "make setup" in before and "RUN" not in after
    (names,) = re.findall(r"(?m)^COPY (.+) \./$", before)
    for name in names.split():
        shutil.copy(project / name, tmp_path / name)
    (step,) = re.findall(r"(?m)^RUN (mkdir .+)$", before)
    prepare = step.partition("&& make setup")[0]
    subprocess.run(prepare, shell=True, cwd=tmp_path, check=True)
    assert installs(tmp_path) == installs(project)
    build = "from hatchling.build import build_wheel; print(build_wheel('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "src/finance_assistant/__init__.py").is_file()


def test_casekit_can_be_taken_from_elsewhere(make: Render) -> None:
    project = make(recipe="finance")
    assert installs(project, CASEKIT_FROM="casekit")[0][-1] == "casekit"
    record(project, "https://github.com/casekit/casekit", "v1.2.3")
    assert installs(project, CASEKIT_FROM="/wheels/casekit.whl")[0][-1] == "/wheels/casekit.whl"
    assert installs(project, CASEKIT_FROM="")[0][-1].startswith("casekit @ git+https://github.com/")


def test_git_keeps_data_and_results_out_and_the_contract_in(make: Render) -> None:
    project = make(recipe="medical")
    for name in (
        "data/raw/visits.jsonl",
        "data/prepared/x/data.json",
        "runs/1/golden/a",
        "reports/1/report.html",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("private")
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    tracked = git(project, "ls-files").split()
    assert "data/README.md" in tracked
    assert [name for name in tracked if (project / name).read_text() == "private"] == []
