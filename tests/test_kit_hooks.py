"""Hooks are the project's own: found by its declaration, apart from other projects, refused with a place."""

from pathlib import Path

import pytest

from kit.config import ConfigError
from kit.hooks import load_hooks

DECLARATION = '[project]\nname = "p"\n[project.entry-points."casekit.hooks"]\np = "shop.hooks"\n'


def project(root: Path, hooks: str, declaration: str = DECLARATION) -> Path:
    (root / "src/shop").mkdir(parents=True)
    (root / "pyproject.toml").write_text(declaration)
    (root / "src/shop/__init__.py").write_text("")
    (root / "src/shop/hooks.py").write_text(hooks)
    return root


def test_a_project_without_a_declaration_has_no_hooks(tmp_path: Path) -> None:
    assert load_hooks(tmp_path).readers == {}


def test_two_projects_with_a_package_of_one_name_do_not_meet(tmp_path: Path) -> None:
    first = project(tmp_path / "one", "readers = {'one': dict}\n")
    second = project(tmp_path / "two", "readers = {'two': dict}\n")
    assert [list(load_hooks(root).readers) for root in (first, second, first)] == [["one"], ["two"], ["one"]]


def test_every_file_of_the_package_belongs_to_the_hooks(tmp_path: Path) -> None:
    root = project(tmp_path, "readers = {}\n")
    (root / "src/shop/words.py").write_text("WORDS = ()\n")
    assert [path.name for path in load_hooks(root).files] == ["__init__.py", "hooks.py", "words.py"]


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ("import nowhere_at_all", "cannot import 'shop.hooks': ModuleNotFoundError"),
        ("readers = {'a': 1 / 0}", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
        ("readers = ['a']", "`readers` is no mapping of names to functions"),
        ("metrics = {'a': len}", "`metrics` is no mapping of names to casekit metrics"),
    ],
)
def test_hooks_that_do_not_work_are_refused_with_place_and_reason(
    tmp_path: Path, hooks: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_hooks(project(tmp_path, hooks))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert str(tmp_path) in problem.where


def test_a_broken_declaration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_hooks(project(tmp_path, "", "[project\n"))
