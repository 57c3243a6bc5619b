"""`casekit update`: improvements arrive, edits stay, and what needs a hand is listed.

There is no older release to update from, so one is made up: this checkout's scaffold with an older
Makefile, recipe and version, and a page that the new version no longer has.
"""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from scaffold_projects import ROOT, commit, contents, copy_scaffold, git, render

from kit.config import ConfigError
from kit.scaffold.update import update_project

Edit = Callable[[Path], None]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
OLD_LINE = "CASEKIT = $(VENV)/bin/casekit\n"
NEW_LINE = "CASEKIT := $(VENV)/bin/casekit\n"


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {old!r} stands there {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A repository that stands at the older release, v0.0.9."""
    folder = copy_scaffold(tmp_path / "casekit")
    replace(
        folder / "template/Makefile", "CASEKIT := $(VENV)/bin/casekit\n", "CASEKIT = $(VENV)/bin/casekit\n"
    )
    replace(folder / "pyproject.toml", 'version = "0.1.0"', 'version = "0.0.9"')
    for recipe in ("finance", "medical"):
        replace(folder / f"recipes/{recipe}/recipe.yaml", "learning_rate: 3e-5", "learning_rate: 9e-5")
    (folder / "template/NOTES.md").write_text("# Notes of the older version\n")
    (folder / "template/HISTORY.md").write_text("# History\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "Older release")
    git(folder, "tag", "v0.0.9")
    return folder


def release(folder: Path, *more: Edit) -> None:
    """Bring the repository to this checkout's scaffold, with further changes, as its release."""
    git(folder, "rm", "-r", "--quiet", ".")
    copy_scaffold(folder)
    for edit in more:
        edit(folder)
    commit(folder, "Newer release")
    git(folder, "tag", f"v{VERSION}")


def start(releases: Path, project: Path, *edits: Edit, recipe: str = "finance") -> Path:
    """A project of the older release, with a person's edits, in git."""
    render(releases, project, recipe=recipe)
    git(project, "init", "--quiet", "--initial-branch", "main")
    commit(project, "Start")
    for edit in edits:
        edit(project)
    if edits:
        commit(project, "Edits")
    return project


def casekit_update(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from kit.cli import main; main()", "update", "--project", str(project)]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False)


def usual_edits(project: Path) -> None:
    """What people do in the first weeks: a dependency, deltas, a README section, hooks, tests, rules."""
    ours = "  # Yours below; the line above belongs to the template, and an update may change it.\n"
    replace(project / "pyproject.toml", ours, f'{ours}  "pandas>=2",\n')
    append(project / "conf/project.yaml", "\ntrain:\n  num_train_epochs: 3\n")
    append(project / "README.md", "\n## Who answers for it\n\nThe compliance desk.\n")
    replace(project / "README.md", "## The first hour\n", "## The first hour, on our machines\n")
    hooks = project / "src/finance_assistant/hooks.py"
    append(hooks, "\n\ndef shout(row):\n    return row\n\n\ncleaners['shout'] = shout\n")
    (project / "src/finance_assistant/extra.py").write_text("LIMIT = 3\n")
    (project / "tests/test_extra.py").write_text("def test_extra():\n    assert True\n")
    (project / "tests/test_hooks.py").unlink()
    replace(
        project / "conf/policy.yaml",
        "refusals:\n",
        "refusals:\n  - 'not (a matter|something) for this chat'\n",
    )
    append(project / ".gitignore", "\n/notebooks/\n")
    (project / "NOTES-OF-OURS.md").write_text("# Ours\n")


def test_nothing_is_lost_and_the_result_is_a_fresh_copy_with_the_same_edits(
    releases: Path, tmp_path: Path
) -> None:
    project = start(releases, tmp_path / "project", usual_edits)
    release(releases)
    result = update_project(project)
    assert (result.conflicts, result.lost_edits) == ([], [])
    fresh = render(releases, tmp_path / "fresh", recipe="finance")
    usual_edits(fresh)
    assert contents(project) == contents(fresh)
    assert f"casekit~={VERSION}" in (project / "pyproject.toml").read_text()
    assert "CASEKIT := " in (project / "Makefile").read_text()
    assert "learning_rate: 3e-5" in (project / "conf/recipe.yaml").read_text()
    assert not (project / "NOTES.md").exists()


def test_a_second_update_changes_nothing(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project", usual_edits)
    release(releases)
    update_project(project)
    commit(project, "Update")
    update_project(project)
    assert git(project, "status", "--porcelain") == ""


def test_files_of_the_user_s_own_are_never_rewritten_deleted_or_brought_back(
    releases: Path, tmp_path: Path
) -> None:
    def newer_skeleton(folder: Path) -> None:
        append(folder / "template/README.md.jinja", "\nA better README.\n")
        append(folder / "template/conf/project.yaml.jinja", "\n# A better comment.\n")
        append(folder / "template/_cases/finance/hooks.py", "\nBETTER = True\n")
        (folder / "template/tests/test_more.py").write_text("def test_more():\n    assert True\n")
        (folder / "template/tests/test_project.py").unlink()

    project = start(releases, tmp_path / "project", lambda root: (root / "tests/test_hooks.py").unlink())
    own = ("README.md", "conf/project.yaml", "src/", "tests/")
    before = {name: text for name, text in contents(project).items() if name.startswith(own)}
    release(releases, newer_skeleton)
    result = update_project(project)
    assert (result.conflicts, result.lost_edits) == ([], [])
    assert {name: text for name, text in contents(project).items() if name.startswith(own)} == before


def test_a_line_changed_on_both_sides_is_a_conflict(releases: Path, tmp_path: Path) -> None:
    def other_shell(project: Path) -> None:
        replace(project / "Makefile", OLD_LINE, "CASEKIT = uv run casekit\n")

    project = start(releases, tmp_path / "project", other_shell)
    release(releases)
    result = update_project(project)
    assert (result.conflicts, result.lost_edits) == (["Makefile"], [])
    assert "<<<<<<< before updating" in (project / "Makefile").read_text()


def test_edits_to_files_that_the_template_drops_are_reported(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project", lambda root: append(root / "NOTES.md", "Ours\n"))
    release(releases)
    result = update_project(project)
    assert (result.conflicts, result.lost_edits) == ([], ["NOTES.md"])  # HISTORY.md held no edit
    assert not (project / "HISTORY.md").exists()
    assert git(project, "show", "HEAD:NOTES.md").endswith("Ours\n")


def test_edits_to_files_that_the_template_renames_are_reported(releases: Path, tmp_path: Path) -> None:
    def renamed(folder: Path) -> None:
        (folder / "template/NOTEBOOK.md").write_text("# Notes of the older version\n")

    project = start(releases, tmp_path / "project", lambda root: append(root / "NOTES.md", "Ours\n"))
    release(releases, renamed)
    assert update_project(project).lost_edits == ["NOTES.md"]
    assert (project / "NOTEBOOK.md").exists()


def test_the_command_exits_1_and_names_what_needs_a_hand(releases: Path, tmp_path: Path) -> None:
    def both(project: Path) -> None:
        replace(project / "Makefile", OLD_LINE, "CASEKIT = uv run casekit\n")
        append(project / "NOTES.md", "Ours\n")

    project = start(releases, tmp_path / "project", both)
    release(releases)
    done = casekit_update(project)
    assert done.returncode == 1, done.stderr
    assert "conflict" in done.stderr
    assert "Makefile" in done.stderr
    assert "lost edit" in done.stderr
    assert "NOTES.md" in done.stderr


def test_a_project_below_the_top_of_its_repository_is_updated(releases: Path, tmp_path: Path) -> None:
    top = tmp_path / "monorepo"
    project = render(releases, top / "apps/bank", recipe="finance")
    git(top, "init", "--quiet")
    replace(project / "Makefile", OLD_LINE, "CASEKIT = uv run casekit\n")
    commit(top, "Start")
    release(releases)
    assert update_project(project).conflicts == ["Makefile"]
    assert f"casekit~={VERSION}" in (project / "pyproject.toml").read_text()


@pytest.mark.parametrize(("before", "after"), [("finance", "medical"), ("ecommerce", "finance")])
def test_the_recipe_can_be_switched(before: str, after: str, releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project", recipe=before)
    own = (project / "README.md").read_bytes()
    release(releases)
    result = update_project(project, {"recipe": after})
    assert (result.conflicts, result.lost_edits) == ([], [])
    fresh = contents(render(releases, tmp_path / "fresh", recipe=after, project_name=f"{before}-assistant"))
    updated = contents(project)
    for name in ("conf/recipe.yaml", "conf/policy.yaml", "conf/dialogues.yaml", "data/README.md"):
        assert updated[name] == fresh[name], name
    assert updated["pyproject.toml"] == fresh["pyproject.toml"]
    assert updated[".copier-answers.yml"] == fresh[".copier-answers.yml"]
    assert updated["README.md"] == own


def test_a_change_of_ci_moves_its_file(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project")
    release(releases)
    update_project(project, {"ci": "gitlab"})
    assert (project / ".gitlab-ci.yml").is_file()
    assert not (project / ".github/workflows/checks.yml").exists()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"hardware": "gpu-80gb"}, "an update cannot change this answer"),
        ({"project_name": "other"}, "an update cannot change this answer"),
        ({"recipe": "financee"}, "did you mean `finance`"),
    ],
)
def test_answers_that_an_update_cannot_change_are_refused(
    answers: dict[str, object], expected: str, releases: Path, tmp_path: Path
) -> None:
    project = start(releases, tmp_path / "project")
    with pytest.raises(ConfigError, match=expected):
        update_project(project, answers)
    assert git(project, "status", "--porcelain") == ""


def test_the_command_changes_an_answer_and_says_which_settings_no_longer_fit(
    releases: Path, tmp_path: Path
) -> None:
    """A shop in English and French becomes a bank that speaks English only."""
    project = render(releases, tmp_path / "project", recipe="ecommerce", languages=["en", "fr"])
    git(project, "init", "--quiet")
    commit(project, "Start")
    release(releases)
    done = casekit_update(project, "--answer", "recipe=finance", "-d", "ci=gitlab")
    assert done.returncode == 1, done.stderr
    assert "conf/project.yaml:8 `project.languages[1]`: unknown language 'fr'" in done.stderr
    assert "allowed: en" in done.stderr
    assert "Traceback" not in done.stderr
    assert "name: finance" in (project / "conf/recipe.yaml").read_text()
    assert (project / ".gitlab-ci.yml").is_file()
    replace(project / "conf/project.yaml", "  languages: [en, fr]\n", "")
    commit(project, "English only")
    done = casekit_update(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing lost" in done.stdout


def test_the_command_updates_to_the_version_that_is_named(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project")
    release(releases)
    append(releases / "template/Makefile", "\n# Later still\n")
    commit(releases, "Unreleased")
    done = casekit_update(project, "--version", f"v{VERSION}")
    assert done.returncode == 0, done.stderr
    assert "# Later still" not in (project / "Makefile").read_text()
    assert "CASEKIT := " in (project / "Makefile").read_text()
    commit(project, "Update")
    done = casekit_update(project, "--version", "v7.7.7")
    assert done.returncode == 2
    assert "v7.7.7" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_refuses_words_that_are_no_answers(releases: Path, tmp_path: Path) -> None:
    done = casekit_update(start(releases, tmp_path / "project"), "-d", "recipe")
    assert done.returncode == 2
    assert "expected key=value" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "_commit: v1\n<<<<<<< before updating\nci: github\n=======\nci: none\n>>>>>>> after\n",
            ".copier-answers.yml:3: not valid YAML",
        ),
        ("- recipe: finance\n", ".copier-answers.yml:1: expected `question: answer` lines"),
        ("1: finance\n", ".copier-answers.yml:1: expected `question: answer` lines"),
        ("_commit: [\n", "not valid YAML"),
        ("just a text\n", "expected `question: answer` lines"),
        ("", "does not say which version"),
    ],
)
def test_a_broken_record_is_told_and_nothing_is_touched(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / ".copier-answers.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        update_project(tmp_path)
    assert expected in str(caught.value)
    assert caught.value.exit_code == 2


def test_uncommitted_changes_are_refused_on_both_sides(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "project")
    append(project / "README.md", "\nmore\n")
    with pytest.raises(ConfigError, match=r"project: has uncommitted changes \(M README.md"):
        update_project(project)
    commit(project, "More")
    append(releases / "template/Makefile", "\n# half done\n")
    with pytest.raises(ConfigError, match="casekit: has uncommitted changes"):
        update_project(project)


def test_what_cannot_be_updated_says_why(releases: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="go to a project's folder"):
        update_project(tmp_path)
    project = start(releases, tmp_path / "project")
    answers = project / ".copier-answers.yml"
    recorded = yaml.safe_load(answers.read_text())

    def record(**changed: str | None) -> None:
        kept = {name: value for name, value in {**recorded, **changed}.items() if value is not None}
        answers.write_text(yaml.safe_dump(kept))
        commit(project, "Change the record")

    record(_commit="v9.9.9")
    with pytest.raises(ConfigError, match=r"version v9\.9\.9"):
        update_project(project)
    record(_src_path=str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="gone"):
        update_project(project)
    record(_commit=None)
    with pytest.raises(ConfigError, match="which version the project was made from"):
        update_project(project)
    plain = render(releases, tmp_path / "plain", recipe="blank")
    with pytest.raises(ConfigError, match="not a git repository"):
        update_project(plain)
