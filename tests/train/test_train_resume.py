"""Interrupted runs: what Ctrl-C leaves, and that a continued run ends where an unbroken one does."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from train_world import losses_of, weights_of, write_prepared

from kit.config.errors import ConfigError
from kit.files import write_json
from kit.train.checkpoints import usable_checkpoint
from kit.train.metrics import fluctuation, forget_after, loss_summary, read_metrics
from kit.train.resume import check_resumable, differences, told
from kit.train.runs import find_run, latest_run, latest_unfinished_run
from kit.train.stages import train

RESTORE = "restore these (a run goes on with the words it began with), or start a new run"


class InterruptAt:
    """A task score that presses Ctrl-C while it is asked for the n-th time."""

    def __init__(self, evaluation: int, score: float = 0.5) -> None:
        self.left = evaluation
        self.score = score

    def __call__(self, model: object, tokenizer: object) -> float:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.score


def interrupted(config, root: Path, prepared: Path, evaluation: int) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train(config, root, prepared, InterruptAt(evaluation))
    (run,) = (root / "runs").iterdir()
    return run


def status(run: Path) -> str:
    return json.loads((run / "manifest.json").read_text())["status"]


@pytest.mark.slow
@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_continued_run_equals_an_unbroken_one_bit_for_bit(method, packing, settings, prepared, tmp_path):
    # Two epochs of six steps, stopped within the second: order, dropout and moments must all carry over.
    lasting = {"num_train_epochs": 2, "eval_steps": 4, "save_steps": 100, "early_stopping_patience": 9}
    config = settings(method, packing=packing, **lasting)
    config = config.model_copy(update={"method": config.method.model_copy(update={"dropout": 0.1})})
    unbroken = train(config, tmp_path / "a", prepared, InterruptAt(99))
    run = interrupted(config, tmp_path / "b", prepared, evaluation=2)
    assert (
        usable_checkpoint(run, pytest.fail).name == "checkpoint-8"
    )  # asked during the evaluation at 8, so after it
    assert status(run) == "interrupted"

    continued = train(config, tmp_path / "b", prepared, InterruptAt(99), resume=run)
    assert continued == run and status(run) == "finished"
    assert weights_of(run, "checkpoints/checkpoint-12") == weights_of(unbroken, "checkpoints/checkpoint-12")
    assert losses_of(run) == losses_of(unbroken)
    manifest = json.loads((run / "manifest.json").read_text())
    assert [session["from_step"] for session in manifest["sessions"]] == [0, 8]
    assert weights_of(run, "golden") == weights_of(unbroken, "golden")


@pytest.mark.slow
def test_what_a_killed_run_recorded_after_its_checkpoint_is_done_again(settings, prepared, tmp_path):
    config = settings(num_train_epochs=2, eval_steps=2, save_steps=6, early_stopping_patience=9)
    scores = [0.1, 0.2, 0.3, 0.9, 0.4, 0.5]
    unbroken = train(config, tmp_path / "a", prepared, one_after_another(scores))
    run = tmp_path / "b" / unbroken.name
    shutil.copytree(unbroken, run)
    shutil.rmtree(run / "checkpoints" / "checkpoint-12")
    as_killed(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "kind": "tr')  # the power went

    train(config, tmp_path / "b", prepared, one_after_another(scores[3:]), resume=run)
    assert read_steps(run) == read_steps(unbroken)
    assert losses_of(run) == losses_of(unbroken)
    assert weights_of(run) == weights_of(unbroken)
    assert json.loads((run / "golden" / "golden.json").read_text())["step"] == 8


def as_killed(run: Path) -> None:
    """Let the run look as if the machine had gone down before it could say how it ended."""
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))


@pytest.mark.slow
def test_a_run_killed_after_its_last_checkpoint_only_has_to_be_closed(settings, prepared, tmp_path):
    run = train(settings(), tmp_path, prepared, None)
    before, weights = losses_of(run), weights_of(run)
    as_killed(run)
    train(settings(), tmp_path, prepared, None, resume=run)
    assert status(run) == "finished"
    assert json.loads((run / "manifest.json").read_text())["steps"] == 6
    assert (losses_of(run), weights_of(run)) == (before, weights)


@pytest.mark.slow
def test_a_resume_that_fails_while_the_model_loads_forgets_nothing(settings, prepared, tmp_path, monkeypatch):
    run = train(settings(max_steps=2), tmp_path, prepared, None)
    as_killed(run)
    before = json.loads((run / "manifest.json").read_text())

    def fails(*rest):
        raise OSError("the network is down")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="the network"):
        patch.setattr("kit.train.setup.load_for_training", fails)
        train(settings(max_steps=2), tmp_path, prepared, None, resume=run)
    after = json.loads((run / "manifest.json").read_text())
    assert after["status"] == "failed" and len(after["sessions"]) == 2
    for name in ("steps", "trainable_parameters", "disk", "packing", "probe", "flops_per_token"):
        assert after[name] == before[name], name
    assert after["steps"] == 2 and after["disk"]["all"] > 0 and after["probe"]


@pytest.mark.slow
def test_half_written_checkpoints_do_not_push_out_whole_ones(settings, prepared, tmp_path):
    config = settings(num_train_epochs=2, save_steps=3, save_total_limit=1)
    run = interrupted(config, tmp_path, prepared, evaluation=1)
    assert usable_checkpoint(run, pytest.fail).name == "checkpoint-3"
    half = run / "checkpoints" / "checkpoint-100"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": 1')
    train(config, tmp_path, prepared, None, resume=run)
    sessions = json.loads((run / "manifest.json").read_text())["sessions"]
    assert sessions[-1]["from_step"] == 3
    left = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert left == ["checkpoint-12", "damaged-checkpoint-100"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["missing", "later"])
def test_a_golden_checkpoint_that_got_lost_is_chosen_anew_from_the_rest(lost, settings, prepared, tmp_path):
    config = settings(num_train_epochs=2, eval_steps=3, early_stopping_patience=9)
    run = interrupted(config, tmp_path, prepared, evaluation=1)  # 0.5 at step 3
    record = run / "golden" / "golden.json"
    if lost == "missing":  # killed while it was replaced
        shutil.rmtree(run / "golden")
    else:  # killed after a better one, whose evaluation is now done again
        record.write_text(json.dumps({**json.loads(record.read_text()), "step": 6, "score": 0.9}))
    train(config, tmp_path, prepared, one_after_another([0.3, 0.4, 0.2]), resume=run)
    golden = json.loads(record.read_text())
    assert (golden["step"], golden["score"]) == (9, 0.4)


def one_after_another(scores: list[float]) -> Callable[[object, object], float]:
    left = iter(scores)
    return lambda model, tokenizer: next(left)


def read_steps(run: Path) -> list[tuple[int, str]]:
    return [(line["step"], line["kind"]) for line in read_metrics(run)]


@pytest.mark.slow
def test_patience_counts_over_an_interruption(settings, prepared, tmp_path):
    config = settings(num_train_epochs=5, eval_steps=2)
    run = interrupted(config, tmp_path, prepared, evaluation=3)  # 0.5 at 2, 4 and 6
    train(config, tmp_path, prepared, InterruptAt(99), resume=run)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["stopped_early"] and manifest["steps"] == 8


@pytest.mark.slow
def test_ctrl_c_before_the_first_checkpoint_keeps_the_step_it_stopped_at(settings, prepared, tmp_path):
    run = interrupted(settings(eval_steps=1, save_steps=100), tmp_path, prepared, evaluation=1)
    assert usable_checkpoint(run, pytest.fail).name == "checkpoint-1"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_changed_setting_or_changed_data_is_refused_with_the_difference(settings, prepared, tmp_path):
    run = interrupted(settings(), tmp_path, prepared, evaluation=1)
    changed = settings(learning_rate=1e-3, save_total_limit=1)  # the latter may change
    other = write_prepared(tmp_path / "other", train=40, valid=8)
    with pytest.raises(ConfigError) as caught:
        train(changed, tmp_path, other, None, resume=run)
    texts = [str(problem) for problem in caught.value.problems]
    assert texts[0] == "train.learning_rate: was 0.003 when the run began and is 0.001 now"
    assert texts[1].startswith("data fingerprint: was '48-8' when the run began and is '40-8' now")
    assert "casekit data diff 48-8 40-8" in texts[1]
    assert texts[2:] == [f"{run}: cannot be resumed as it began\n    {RESTORE}"]
    assert status(run) == "interrupted", "a refused resume leaves the run as it was"


def test_differences_in_lists_and_mappings_are_named_by_their_place():
    then = {"train": {"preference": {"loss_type": ["sigmoid"], "beta": 0.1}, "seed_of_old": 1}}
    now = {"train": {"preference": {"loss_type": ["sigmoid", "sft"], "beta": 0.1}, "new": None}}
    found = differences(then, now, ["train"])
    said = [f"{key}: {told('was', before)}, {told('is', after)}" for key, before, after in found]
    assert said == [
        "train.new: was not there, is None",
        "train.preference.loss_type: was ['sigmoid'], is ['sigmoid', 'sft']",
        "train.seed_of_old: was 1, is not there",
    ]


@pytest.mark.slow
def test_a_finished_run_is_not_resumed(settings, prepared, tmp_path):
    run = train(settings(max_steps=1), tmp_path, prepared, None)
    with pytest.raises(ConfigError, match="is finished"):
        train(settings(max_steps=1), tmp_path, prepared, None, resume=run)


def make_run(root: Path, name: str, status: str = "finished") -> Path:
    run = root / "runs" / name
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"status": status}))
    return run


def test_the_latest_run_is_the_newest_finished_one(tmp_path):
    make_run(tmp_path, "20260101-100000-sft-lora")
    newest = make_run(tmp_path, "20260102-100000-sft-full")
    make_run(tmp_path, "20260103-100000-sft-lora", "interrupted")
    assert latest_run(tmp_path) == find_run(tmp_path) == newest


def test_the_run_to_resume_is_the_newest_that_did_not_finish(tmp_path):
    with pytest.raises(ConfigError, match="there is no run"):
        latest_unfinished_run(tmp_path)
    make_run(tmp_path, "20260101-100000-sft-lora")
    with pytest.raises(ConfigError, match="every run is finished"):
        latest_unfinished_run(tmp_path)
    make_run(tmp_path, "20260102-100000-sft-lora", "interrupted")
    killed = make_run(tmp_path, "20260103-100000-sft-lora", "running")
    make_run(tmp_path, "20260104-100000-sft-lora")
    assert latest_unfinished_run(tmp_path) == killed


def test_a_run_is_found_by_its_id_or_by_how_it_begins(tmp_path):
    first = make_run(tmp_path, "20260101-100000-sft-lora")
    make_run(tmp_path, "20260102-100000-sft-lora")
    assert find_run(tmp_path, "20260101") == first
    assert find_run(tmp_path, first.name) == first
    with pytest.raises(ConfigError, match="begins 2 run ids"):
        find_run(tmp_path, "2026")
    with pytest.raises(ConfigError, match="did you mean 20260101-100000-sft-lora"):
        find_run(tmp_path, "20260101-100000-sft-full")


def test_a_run_is_found_by_its_path_as_a_shell_completes_it(tmp_path, monkeypatch):
    project = tmp_path / "project"
    run = make_run(project, "20260101-100000-sft-lora")
    for word in (str(run), f"{run}/", f"runs/{run.name}", "runs/2026"):
        assert find_run(project, word) == run
    monkeypatch.chdir(tmp_path)
    assert find_run(project, f"project/runs/{run.name}/") == run
    make_run(tmp_path, run.name)
    with pytest.raises(ConfigError, match="there is no run"):  # that one is of another project
        find_run(project, str(tmp_path / "runs" / run.name))


def test_no_run_at_all_names_the_command_that_makes_one(tmp_path):
    for find in (latest_run, find_run):
        with pytest.raises(ConfigError, match="casekit train"):
            find(tmp_path)


def test_a_folder_that_is_no_run_says_so(tmp_path, settings):
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        check_resumable(tmp_path, settings(), {"fingerprint": "x", "sha256": "y"}, {})


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ([], 0.0),
        ([3.0], 0.0),
        ([5.0, 4.0, 3.0, 2.0], 0.0),  # a steep fall is no fluctuation
        ([1.0, 1.0, 1.0, 1.0, 1.3], 0.0),  # too few before it to say what is steady
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.3], 0.3),
        ([9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2], 0.2),  # only the five before it count
    ],
)
def test_fluctuation_is_the_largest_rise_over_the_mean_before_it(losses, wanted):
    assert fluctuation(losses) == pytest.approx(wanted)


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path):
    lines = [{"step": step, "kind": "train", "loss": 1 / step} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    write_json(checkpoint / "pending.json", {"validation": False})
    assert forget_after(tmp_path, checkpoint) == lines[:2] == read_metrics(tmp_path)
    assert loss_summary(lines[:2]) == {"first": 1.0, "last": 0.5, "max_fluctuation": None}
    several = [{"step": step, "kind": "train", "loss": 1 / step} for step in range(1, 7)]
    assert loss_summary(several)["max_fluctuation"] == 0.0, "six losses say that it only fell"


def test_a_validation_that_a_checkpoint_owes_is_recorded_once(tmp_path):
    lines = [{"step": step, "kind": kind, "loss": 1.0} for step in (1, 2) for kind in ("train", "eval")]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    write_json(checkpoint / "pending.json", {"validation": True})
    assert forget_after(tmp_path, checkpoint) == lines[:3]


@pytest.mark.slow
def test_a_run_killed_after_it_had_stopped_early_stops_again(settings, prepared, tmp_path):
    config = settings(num_train_epochs=5, eval_steps=2, save_steps=2)
    run = train(config, tmp_path, prepared, lambda model, words: 0.5)
    before = losses_of(run)
    assert json.loads((run / "manifest.json").read_text())["steps"] == 8
    as_killed(run)
    train(config, tmp_path, prepared, lambda model, words: 0.5, resume=run)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["stopped_early"] and manifest["steps"] == 8
    assert losses_of(run) == before


@pytest.mark.slow
def test_a_run_killed_at_its_last_step_within_an_epoch_makes_no_further_step(settings, prepared, tmp_path):
    run = train(settings(max_steps=4), tmp_path, prepared, None)
    before, weights = losses_of(run), weights_of(run)
    as_killed(run)
    train(settings(max_steps=4), tmp_path, prepared, None, resume=run)
    assert usable_checkpoint(run, pytest.fail).name == "checkpoint-4"
    assert (losses_of(run), weights_of(run)) == (before, weights)
