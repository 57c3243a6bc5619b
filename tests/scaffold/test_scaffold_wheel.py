"""The wheel carries the whole scaffold, and a project made from it can be updated like any other.

The wheel records the project's public address and its release tag. Here git is told to take a throwaway
repository in place of that address, so nothing is fetched.
"""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from scaffold_projects import ROOT, SCAFFOLD, commit, contents, copy_scaffold, environment, git

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Source"]
TAG = f"v{PROJECT['version']}"
COMMAND = "import sys; sys.argv[0] = 'casekit'; from kit.cli import main; main()"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkout, tagged as this version's release."""
    names = (*SCAFFOLD, "kit", "README.md", "constraints.txt", ".gitignore")
    folder = copy_scaffold(tmp_path_factory.mktemp("wheel") / "casekit", names)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "Ada Tester")
    git(folder, "config", "user.email", "ada@example.org")
    commit(folder, "Release")
    git(folder, "tag", TAG)
    return folder


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, unpacked as an installer does."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


def redirect(repository: Path) -> dict[str, str]:
    """An environment in which git takes `repository` for the public address."""
    return environment(
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{repository}.insteadOf",
        GIT_CONFIG_VALUE_0=f"{ADDRESS}.git",
    )


def casekit(wheel: Path, repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as installed from the wheel: its folder is where Python looks first."""
    command = [sys.executable, "-c", COMMAND, *words]
    return subprocess.run(
        command, cwd=wheel, env=redirect(repository), capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_every_tracked_file_of_the_scaffold(wheel: Path, repository: Path) -> None:
    tracked = git(repository, "ls-files", "-z", *SCAFFOLD).split("\0")
    carried = wheel / "kit/_scaffold"
    assert set(contents(carried)) == {name for name in tracked if name}
    assert contents(carried) == {name: (repository / name).read_bytes() for name in tracked if name}


def test_a_project_from_the_wheel_has_the_bytes_of_one_from_the_tag(
    wheel: Path, repository: Path, tmp_path: Path
) -> None:
    done = casekit(wheel, repository, "new", str(tmp_path / "new"), "--recipe", "medical", "--defaults")
    assert done.returncode == 0, done.stderr
    copier = ["copier", "copy", ADDRESS, str(tmp_path / "copied/new"), "--defaults", "-d", "recipe=medical"]
    done = subprocess.run(
        [sys.executable, "-m", *copier], env=redirect(repository), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "new") == contents(tmp_path / "copied/new")
    recorded = yaml.safe_load((tmp_path / "new/.copier-answers.yml").read_text())
    assert (recorded["_src_path"], recorded["_commit"]) == (ADDRESS, TAG)


def test_a_project_from_the_wheel_can_be_updated(wheel: Path, repository: Path, tmp_path: Path) -> None:
    project = tmp_path / "new"
    done = casekit(wheel, repository, "new", str(project), "--recipe", "finance", "--defaults")
    assert done.returncode == 0, done.stderr
    git(project, "init", "--quiet")
    commit(project, "Start")
    later = tmp_path / "later"
    git(tmp_path, "clone", "--quiet", str(repository), str(later))
    makefile = later / "template/Makefile"
    makefile.write_text(f"# Later\n{makefile.read_text()}")
    commit(later, "Later")
    git(later, "tag", "v99.0.0")
    done = casekit(wheel, later, "update", "--project", str(project))
    assert done.returncode == 0, done.stderr
    assert (project / "Makefile").read_text().startswith("# Later\n")
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert (recorded["_src_path"], recorded["_commit"]) == (ADDRESS, "v99.0.0")


def test_an_address_that_cannot_be_reached_is_named(wheel: Path, repository: Path, tmp_path: Path) -> None:
    project = tmp_path / "new"
    casekit(wheel, repository, "new", str(project), "--recipe", "blank", "--defaults")
    git(project, "init", "--quiet")
    commit(project, "Start")
    done = casekit(wheel, tmp_path / "nowhere", "update", "--project", str(project))
    assert done.returncode == 2
    assert ADDRESS in done.stderr
    assert "update-a-project.md" in done.stderr
    assert "Traceback" not in done.stderr
