"""The disk: what a run will take is told before it starts, and a full one costs no earlier checkpoint."""

import json
import shutil
from pathlib import Path

import pytest
from train_world import same_end

from kit.config.errors import ConfigError, DiskError
from kit.train.checkpoints import set_aside, usable_checkpoint
from kit.train.disk import check_space, folder_bytes, full_disk_told, in_words
from kit.train.stages import train

BUDGET = {"checkpoint": 3_000_000_000, "checkpoints": 12_000_000_000, "golden": 2_000_000_000, "logs": 0}
BUDGET["all"] = sum(BUDGET.values()) - BUDGET["checkpoint"]


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=size)
    monkeypatch.setattr("kit.train.disk.shutil.disk_usage", lambda path: usage)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora", "qlora", "pissa"])
def test_a_checkpoint_takes_what_was_predicted_to_a_few_percent(method, settings, prepared, tmp_path):
    begins = {"init_lora_weights": method} if method == "pissa" else {}
    config = settings("lora" if begins else method, save_steps=2, max_steps=4)
    changed = {"rank": 32 if begins else 64, **begins}
    config = config.model_copy(update={"method": config.method.model_copy(update=changed)})
    run = train(config, tmp_path, prepared, None)
    budget = json.loads((run / "manifest.json").read_text())["disk"]
    assert budget["checkpoint"] == pytest.approx(folder_bytes(run / "checkpoints" / "checkpoint-4"), rel=0.05)
    assert budget["golden"] == pytest.approx(2 * folder_bytes(run / "golden"), rel=0.05)
    assert folder_bytes(run) < budget["all"]


@pytest.mark.slow
def test_a_run_that_would_fill_the_disk_is_refused_with_the_numbers(
    settings, prepared, tmp_path, monkeypatch
):
    free(monkeypatch, 1_000_000)
    with pytest.raises(DiskError) as caught:
        train(settings(num_train_epochs=9), tmp_path, prepared, None)
    assert caught.value.exit_code == 2
    said = str(caught.value)
    assert "which has 1.0 MB free" in said and "3 kept, one in writing" in said
    assert "lower `train.save_total_limit`" in said
    (run,) = (tmp_path / "runs").iterdir()
    assert not list((run / "checkpoints").iterdir()) and not (run / "golden").exists()
    assert json.loads((run / "manifest.json").read_text())["status"] == "failed"


def test_what_a_resumed_run_has_written_is_not_asked_for_again(tmp_path, monkeypatch):
    free(monkeypatch, 13_999_000_000)
    with pytest.raises(DiskError, match=r"takes up to 14\.0 GB more .* which has 14\.0 GB free"):
        check_space(tmp_path, BUDGET, limit=3)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-4").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-4" / "weights").write_bytes(bytes(1_000_000))
    check_space(tmp_path, BUDGET, limit=3)
    set_aside(tmp_path / "checkpoints" / "checkpoint-4")  # nothing takes its place
    with pytest.raises(DiskError):
        check_space(tmp_path, BUDGET, limit=3)


@pytest.fixture(scope="module")
def unbroken(pristine: Path, warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = shutil.copytree(pristine, tmp_path_factory.mktemp("roomy") / "project")
    assert warm.casekit(project, "train").code == 0
    (run,) = (project / "runs").iterdir()
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plot", "stands", "golden"),
    [
        (("limit_files", 20_000, "save", 2), 2, 4),  # the adapter has 33 kB
        (("limit_files", 50_000, "save", 2), 2, 4),  # the optimiser's state 70
        (("limit_files", 2_000, "golden", 2), 2, 2),
        (("fill_disk", 1_000_000, 50_000, "save", 3), 4, 6),
    ],
)
def test_a_disk_that_fills_up_costs_no_earlier_checkpoint(
    plot, stands, golden, pristine, unbroken, warm, tmp_path
):
    project = shutil.copytree(pristine, tmp_path / "project")
    if plot[0] == "fill_disk":
        plot = (plot[0], str(project / "runs"), *plot[1:])
    done = warm.casekit(project, "train", plot=plot)
    if done.code == 77:
        pytest.skip("this system lets no user mount a disk")
    assert done.code == 2, done.said
    assert "the disk is full" in done.said and "`casekit train --resume` goes on" in done.said
    assert "Traceback" not in done.said
    (run,) = (project / "runs").iterdir()
    assert usable_checkpoint(run, pytest.fail).name == f"checkpoint-{stands}"
    assert json.loads((run / "golden" / "golden.json").read_text())["step"] == golden
    assert [path.name for path in (run / "checkpoints").glob(".*")] == [], "what was begun takes no space"

    again = warm.casekit(project, "train", "--resume")
    assert again.code == 0, again.said
    same_end(run, unbroken)


@pytest.mark.slow
def test_a_disk_too_small_for_the_run_is_said_before_it_starts(pristine, warm, tmp_path):
    project = shutil.copytree(pristine, tmp_path / "project")
    done = warm.casekit(project, "train", plot=("fill_disk", str(project / "runs"), 200_000, 0, "save", 99))
    if done.code == 77:
        pytest.skip("this system lets no user mount a disk")
    assert done.code == 2
    assert "more of this disk, which has" in done.said and "train.save_total_limit" in done.said


def test_other_errors_are_not_called_a_full_disk(tmp_path):
    with pytest.raises(PermissionError), full_disk_told(tmp_path):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(ConfigError, match="typing"), full_disk_told(tmp_path):
        raise ConfigError("a typing mistake")


@pytest.mark.parametrize(
    ("size", "said"), [(12, "12 bytes"), (1500, "1.5 kB"), (84e9, "84.0 GB"), (2e13, "20.0 TB")]
)
def test_sizes_are_told_in_units_of_a_thousand(size, said):
    assert in_words(int(size)) == said
