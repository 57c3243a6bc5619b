"""Damaged checkpoints: found out, set aside with all they hold, and the one before them used."""

import json
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from train_world import same_end

from kit.config.errors import Problem
from kit.files import write_json
from kit.train.checkpoints import damage, seal, usable_checkpoint


def make_checkpoint(run: Path, step: int) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "parts" / "optimizer.pt").write_bytes(b"moments" * 1000)
    write_json(folder / "trainer_state.json", {"global_step": step})
    seal(folder)
    return folder


def truncate(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def flip(checkpoint: Path) -> None:
    """One bit of one byte."""
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[5000] ^= 1
    weights.write_bytes(bytes(content))


def zero(checkpoint: Path) -> None:
    """What a power cut leaves of a file that was not yet on the disk: its size."""
    weights = checkpoint / "parts" / "optimizer.pt"
    weights.write_bytes(bytes(weights.stat().st_size))


def lose(checkpoint: Path) -> None:
    (checkpoint / "parts" / "optimizer.pt").unlink()


def unseal(checkpoint: Path) -> None:
    (checkpoint / "files.json").unlink()


def cut_seal(checkpoint: Path) -> None:
    (checkpoint / "files.json").write_text('{"schema": 1, "files": {"model.safe')


DAMAGES: dict[Callable[[Path], None], str] = {
    truncate: "model.safetensors has 10,239 bytes, not 10,240",
    flip: "model.safetensors has other content than was written",
    zero: "parts/optimizer.pt has other content than was written",
    lose: "parts/optimizer.pt is missing",
    unseal: "files.json is missing, which is written last",
    cut_seal: "files.json cannot be read",
}


@pytest.mark.parametrize("harm", DAMAGES)
def test_damage_is_found_named_and_the_checkpoint_before_it_used(harm, tmp_path):
    whole, harmed = make_checkpoint(tmp_path, 4), make_checkpoint(tmp_path, 10)
    assert damage(whole) is None and usable_checkpoint(tmp_path, pytest.fail) == harmed
    harm(harmed)
    assert damage(harmed) == DAMAGES[harm]
    told: list[Problem] = []
    assert usable_checkpoint(tmp_path, told.append) == whole
    (said,) = map(str, told)
    assert f"checkpoint-10: is damaged: {DAMAGES[harm]}" in said
    assert "kept as damaged-checkpoint-10; the run goes on from checkpoint-4" in said
    assert sorted(path.name for path in whole.parent.iterdir()) == ["checkpoint-4", "damaged-checkpoint-10"]


def test_a_step_that_is_damaged_twice_is_kept_twice(tmp_path):
    for _ in range(2):
        lose(make_checkpoint(tmp_path, 10))
        usable_checkpoint(tmp_path, lambda problem: None)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["damaged-checkpoint-10", "damaged-checkpoint-10-2"]


def test_where_none_is_whole_it_is_said(tmp_path):
    for step in (4, 10):
        flip(make_checkpoint(tmp_path, step))
    told: list[Problem] = []
    assert usable_checkpoint(tmp_path, told.append) is None
    assert [problem.where.rsplit("/", 1)[-1] for problem in told[:2]] == ["checkpoint-10", "checkpoint-4"]
    assert "none of its checkpoints is whole: it begins again at step 0" in told[2].message


def test_a_run_without_checkpoints_has_nothing_to_tell(tmp_path):
    told: list[Problem] = []
    assert usable_checkpoint(tmp_path, told.append) is None and told == []


@pytest.fixture(scope="module")
def killed(pristine: Path, warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run was killed at its fifth step, with checkpoints at 2 and 4; to be copied."""
    project = shutil.copytree(pristine, tmp_path_factory.mktemp("killed") / "project")
    assert warm.casekit(project, "train", plot=("kill", "step", 5)).code == -signal.SIGKILL
    return project


def only_run(project: Path) -> Path:
    (run,) = (project / "runs").iterdir()
    return run


@pytest.mark.slow
def test_a_run_goes_on_from_the_whole_one_and_from_none_to_the_same_end(killed, warm, tmp_path):
    ends = []
    for harmed in ((), (4,), (2, 4)):
        project = shutil.copytree(killed, tmp_path / str(len(harmed)))
        run = only_run(project)
        for step in harmed:
            flip_in(run / "checkpoints" / f"checkpoint-{step}" / "optimizer.pt")
        done = warm.casekit(project, "train", "--resume")
        assert done.code == 0, done.said
        assert done.said.count("is damaged: optimizer.pt has other content") == len(harmed)
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["sessions"][-1]["from_step"] == 4 - 2 * len(harmed)
        kept = [path.name for path in (run / "checkpoints").glob("damaged-*")]
        assert sorted(kept) == [f"damaged-checkpoint-{step}" for step in harmed]
        ends.append(run)
    assert "begins again at step 0" in done.said
    same_end(ends[0], ends[1])
    same_end(ends[0], ends[2])


def flip_in(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


class Bomb:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        import os

        return os.system, (self.command,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_no_file_of_a_checkpoint_can_run_code_and_weights_are_safetensors(name, killed, warm, tmp_path):
    project = shutil.copytree(killed, tmp_path / "project")
    checkpoint = only_run(project) / "checkpoints" / "checkpoint-4"
    mine = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    pickles = {path.name for path in checkpoint.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")}
    assert pickles == mine and (checkpoint / "adapter_model.safetensors").is_file()
    fell = tmp_path / "fell"
    (checkpoint / name).write_bytes(pickle.dumps(Bomb(f"touch {fell}")))
    seal(checkpoint)  # as an attacker would
    done = warm.casekit(project, "train", "--resume")
    assert not fell.exists()
    assert (done.code == 0) == (name == "training_args.bin"), "the settings in it are not read at all"
