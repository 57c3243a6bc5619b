"""`casekit new` and `casekit recipes`: the same bytes as `copier copy`, and wrong answers refused kindly."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier import Settings, run_copy
from scaffold_projects import RECIPES, ROOT, contents, environment, git

from kit.config import ConfigError
from kit.scaffold import new
from kit.scaffold.answers import parse_answers
from kit.scaffold.new import new_project
from kit.scaffold.recipes import list_recipes, recipe_text
from kit.scaffold.source import scaffold_root


@pytest.fixture
def from_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if the kit ran from this throwaway checkout."""
    monkeypatch.setattr(new, "scaffold_root", lambda: repository)
    return repository


def copier_copy(source: str, destination: Path, cwd: Path, *words: str, **variables: str) -> dict[str, bytes]:
    command = [sys.executable, "-m", "copier", "copy", source, str(destination), "--defaults", *words]
    done = subprocess.run(
        command, cwd=cwd, env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return contents(destination)


@pytest.mark.parametrize("recipe", RECIPES)
def test_new_gives_the_bytes_of_copier_copy(recipe: str, from_repository: Path, tmp_path: Path) -> None:
    new_project(tmp_path / "new", {"recipe": recipe}, defaults=True)
    copied = copier_copy(str(from_repository), tmp_path / "copied/new", tmp_path, "-d", f"recipe={recipe}")
    assert contents(tmp_path / "new") == copied


def test_a_relative_source_is_recorded_so_that_an_update_finds_it(
    from_repository: Path, tmp_path: Path
) -> None:
    new_project(tmp_path / "new", {"recipe": "blank"}, defaults=True)
    copied = copier_copy("casekit", tmp_path / "copied/new", tmp_path, "-d", "recipe=blank")
    assert contents(tmp_path / "new") == copied
    assert yaml.safe_load(copied[".copier-answers.yml"])["_src_path"] == str(from_repository)


def test_a_person_s_own_copier_settings_change_nothing(
    from_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text("defaults: {ci: gitlab, tier: large, package_name: other}\n")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))
    new_project(tmp_path / "new", {"recipe": "finance"}, defaults=True)
    files = contents(tmp_path / "new")
    assert ".github/workflows/checks.yml" in files
    assert b"tier: tiny" in files["conf/project.yaml"]


def test_it_says_what_to_do_next(
    from_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_project(tmp_path / "my-bank", {"recipe": "finance", "project_name": "my-bank"}, defaults=True)
    said = capsys.readouterr().err
    assert "my-bank is ready" in said
    assert f"cd {tmp_path / 'my-bank'}" in said
    assert "make setup" in said
    assert "cannot be updated" not in said


def test_what_to_do_next_can_be_typed_whatever_the_folder_is_called(
    from_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, and by Copier itself."""
    new_project(tmp_path / "My Bank!", {"recipe": "finance"}, defaults=True)
    assert f"cd '{tmp_path / 'My Bank!'}'" in capsys.readouterr().err
    other, answers = tmp_path / "Its Copy", {"recipe": "finance"}
    run_copy(str(from_repository), other, data=answers, defaults=True, vcs_ref="HEAD", settings=Settings())
    assert f"cd '{other}'" in capsys.readouterr().err


def test_it_says_when_the_project_cannot_be_updated_later(
    from_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (from_repository / "template/Makefile").write_text("all:\n")
    new_project(tmp_path / "new", {"recipe": "finance"}, defaults=True)
    assert (tmp_path / "new/Makefile").read_text() == "all:\n"
    assert "cannot be updated later" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"recipe": "finence"}, ["recipe: 'finence' is no recipe", "did you mean `finance`?"]),
        ({}, ["recipe: needs an answer", "--recipe finance"]),
        (
            {"recipe": "finance", "hardwear": "cpu"},
            ["hardwear: no such question", "did you mean `hardware`?"],
        ),
        ({"recipe": "finance", "tier": "large"}, ["tier: no such question"]),
        ({"recipe": "finance", "ci": "jenkins"}, ["ci: 'jenkins' is no ci", "github, gitlab, none"]),
        ({"recipe": "finance", "project_name": "My Bank"}, ["project_name: My Bank is no project name"]),
        ({"recipe": "finance", "project_name": "torch"}, ["project_name: torch is the name of a"]),
        ({"recipe": "finance", "project_name": "re"}, ["project_name: re is the name of a", "re-assistant"]),
        (
            {"recipe": "ecommerce", "languages": "en,de"},
            ["languages: the recipe ecommerce", "'de'", "fr, es"],
        ),
        ({"recipe": "ecommerce", "languages": ""}, ["languages: choose at least one"]),
        ({"recipe": "finance", "languages": "fr"}, ["languages: the recipe finance", "it has en"]),
        ({"recipe": "x", "ci": "y", "zone": "z"}, ["recipe: 'x'", "ci: 'y'", "zone: no such question"]),
    ],
)
def test_wrong_answers_are_refused_together_and_nothing_is_made(
    answers: dict[str, object], expected: list[str], from_repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        new_project(tmp_path / "new", answers, defaults=True)
    assert caught.value.exit_code == 2
    assert [text for text in expected if text not in str(caught.value)] == []
    assert not (tmp_path / "new").exists()


def test_some_languages_can_be_chosen_as_text(from_repository: Path, tmp_path: Path) -> None:
    answers = parse_answers(["recipe=ecommerce", "languages=fr, es", "ci=none"])
    new_project(tmp_path / "new", answers, defaults=True)
    settings = yaml.safe_load((tmp_path / "new/conf/project.yaml").read_text())
    assert settings["project"]["languages"] == ["fr", "es"]
    assert not (tmp_path / "new/.github").exists()


def test_every_word_that_is_no_answer_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_answers(["recipe", "ci=none", "=finance"])
    assert [problem.where for problem in caught.value.problems] == ["--answer recipe", "--answer =finance"]


def test_a_folder_in_use_is_left_alone(from_repository: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        new_project(tmp_path / "used", {"recipe": "finance"}, defaults=True)
    assert set(contents(tmp_path / "used")) == {"notes.txt"}
    with pytest.raises(ConfigError, match="is a file"):
        new_project(tmp_path / "used/notes.txt", {"recipe": "finance"}, defaults=True)


def test_the_command_prints_errors_without_a_traceback(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from kit.cli import main; main()",
        "new",
        str(tmp_path / "x"),
        "--defaults",
    ]
    done = subprocess.run([*command, "--recipe", "bank"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'bank' is no recipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_recipes_are_listed_and_shown() -> None:
    listed = {recipe.name: recipe for recipe in list_recipes()}
    assert list(listed) == RECIPES
    assert listed["ecommerce"].languages == ["en", "fr", "es"]
    assert "violation_rate" in listed["finance"].metrics
    for recipe in listed.values():
        assert {"startup", "medium", "large"} <= set(recipe.tiers), recipe.name
        assert recipe.title
        assert recipe_text(recipe.name) == (ROOT / "recipes" / recipe.name / "recipe.yaml").read_text()
    with pytest.raises(ConfigError, match="did you mean `medical`"):
        recipe_text("medicine")


def test_the_scaffold_is_found_in_a_checkout() -> None:
    assert scaffold_root() == ROOT
    assert git(ROOT, "ls-files", "copier.yml").strip() == "copier.yml"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-x", "my-x"),
        ("My Bank (2)", "my-bank-2"),
        ("7up", "blank-assistant"),  # no project can be called so
        ("json", "blank-assistant"),
    ],
)
def test_a_project_is_called_as_its_folder(
    folder: str, name: str, from_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    new_project(Path(), {"recipe": "blank"}, defaults=True)
    recorded = yaml.safe_load(Path(".copier-answers.yml").read_text())
    assert recorded["project_name"] == name
    assert Path("src", name.replace("-", "_")).is_dir()


def test_what_to_do_next_can_be_left_unsaid(
    from_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_project(tmp_path / "loud", {"recipe": "blank"}, defaults=True)
    assert "Next:" in capsys.readouterr().err
    new_project(tmp_path / "quiet", {"recipe": "blank"}, defaults=True, quiet=True)
    assert "Next:" not in capsys.readouterr().err
