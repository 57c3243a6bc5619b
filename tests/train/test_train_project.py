"""Runs of a whole project: what binds a run to its base, its settings and its way of scoring."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from train_project import loaded, write_project

from kit import pipeline
from kit.config import Config
from kit.config.errors import CasekitError, ConfigError, InvalidRunError, ModelError, Terminated
from kit.config.yaml_lines import load_yaml
from kit.files import sha256_file, sha256_json
from kit.models.loading import model_folder, weights_sha256
from kit.terminal_rows import Look
from kit.train.recorder import Recorder
from kit.train.runs import resolved_yaml

pytestmark = pytest.mark.slow


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", Path(shutil.copytree(base, tmp_path / "base")))


@pytest.fixture
def interrupted(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the project that Ctrl-C stopped after its third step."""
    original = Recorder.on_step_end

    def press(self, args, state, control, **rest):
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, args, state, control, **rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "on_step_end", press)
        pipeline.train(loaded(project, "train.max_grad_norm=0.9"))
    (run,) = (project / "runs").iterdir()
    return run


SAME = "train.max_grad_norm=0.9"


def manifest_of(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())


def refusal(project: Path, run: Path, *words: str) -> str:
    before = (run / "manifest.json").read_bytes(), (run / "config.yaml").read_bytes()
    with pytest.raises(CasekitError) as caught:
        pipeline.resume(loaded(project, SAME, *words))
    after = (run / "manifest.json").read_bytes(), (run / "config.yaml").read_bytes()
    assert before == after, "a refused resume leaves the run as it was"
    return str(caught.value)


def test_a_run_goes_on_only_with_the_same_scoring(project, interrupted):
    policy = project / "conf" / "policy.yaml"
    text, before = policy.read_text(), sha256_file(policy)
    policy.write_text(text.replace("tomorrow", "order"))
    said = refusal(project, interrupted)
    assert f"golden choice.files.conf/policy.yaml: was '{before}' when the run began" in said
    assert f"is '{sha256_file(policy)}' now" in said
    policy.write_text(text)
    said = refusal(project, interrupted, "evaluate.max_new_tokens=5")
    assert "golden choice.max_new_tokens: was 4 when the run began and is 5 now" in said
    metrics = "evaluate.metrics=[{name: violation_rate, params: {policy: conf/policy.yaml}}, token_f1]"
    said = refusal(project, interrupted, metrics, "train.golden_metric=token_f1")
    was = "train.golden_metric: was 'violation_rate' when the run began and is 'token_f1' now"
    assert f"{was} (command line: train.golden_metric=token_f1)" in said


def test_a_setting_or_file_that_changed_since_the_run_began_is_named(project, interrupted, monkeypatch):
    rows = project / "rows.jsonl"
    text = rows.read_text()
    rows.write_text(text.replace("It is number 3.", "It is no number."))
    began = manifest_of(interrupted)["data"]["fingerprint"]
    for _ in range(2):  # also where the data was prepared anew since
        said = refusal(project, interrupted)
        assert f"{began}: is what the run began on, and this changed since: rows.jsonl has other" in said
        pipeline.prepare(loaded(project, SAME))
    rows.write_text(text)

    monkeypatch.setattr(pipeline, "tokenizer", lambda config: pytest.fail("the model was asked for"))
    said = refusal(project, interrupted, "seed=43", "data.split.column=null", "train.save_total_limit=1")
    first, second, advice = said.splitlines()[:3]
    assert first == "seed: was 42 when the run began and is 43 now (command line: seed=43)"
    named = "(command line: data.split.column=null)"
    assert second == f"data.split.column: was 'split' when the run began and is None now {named}"
    assert advice == f"{interrupted}: cannot be resumed as it began"


def test_what_does_not_shape_a_run_may_change_and_is_recorded(project, interrupted):
    run = pipeline.resume(loaded(project, SAME, "evaluate.latency_prompts=3"))
    assert run == interrupted
    manifest = manifest_of(run)
    began, _ = load_yaml(run / "config.yaml")
    began = Config.model_validate(began).model_dump(mode="json")
    assert manifest["config_sha256"] == sha256_json(began), "the hash belongs to config.yaml"
    first, second = manifest["sessions"]
    assert (first["from_step"], second["from_step"]) == (0, 3)
    assert first["config_sha256"] == manifest["config_sha256"] != second["config_sha256"]
    assert manifest["seconds"] == pytest.approx(first["seconds"] + second["seconds"], abs=0.02)


def test_a_resumed_run_keeps_what_it_began_on(project, interrupted, monkeypatch):
    monkeypatch.setattr("kit.train.manifest.platform.platform", lambda: "another machine")
    manifest = manifest_of(pipeline.resume(loaded(project, SAME)))
    first, second = manifest["sessions"]
    assert manifest["environment"] == first["environment"]
    assert manifest["environment"]["platform"] != "another machine"
    assert second["environment"]["platform"] == "another machine"


def test_a_base_that_was_overwritten_ends_the_resume_with_both_hashes(project, interrupted):
    from safetensors.torch import load_file, save_file

    config = loaded(project, SAME).config
    weights = Path(config.model.name) / "model.safetensors"
    before = weights_sha256(model_folder(config.model))
    save_file({name: tensor + 0.01 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    after = weights_sha256(model_folder(config.model))
    with pytest.raises(InvalidRunError) as caught:
        pipeline.resume(loaded(project, SAME))
    assert caught.value.exit_code == 4
    said = str(caught.value)
    assert before in said and after in said and "start a new run" in said
    manifest = manifest_of(interrupted)
    assert manifest["model"]["sha256"] == before and manifest["status"] == "interrupted"


def test_resume_goes_on_with_the_unfinished_run_though_a_newer_one_finished(project, interrupted):
    newer = pipeline.train(loaded(project, "train.max_steps=1"))
    assert newer.name > interrupted.name and manifest_of(newer)["status"] == "finished"
    assert pipeline.resume(loaded(project, SAME)) == interrupted
    assert manifest_of(interrupted)["status"] == "finished"
    with pytest.raises(ConfigError, match="every run is finished"):
        pipeline.resume(loaded(project, SAME))


def test_the_manifest_names_what_chose_golden_and_the_code(project, interrupted):
    manifest = manifest_of(interrupted)
    assert manifest["golden_choice"] == {
        "metric": "violation_rate",
        "params": {"policy": "conf/policy.yaml"},
        "files": {"conf/policy.yaml": sha256_file(project / "conf" / "policy.yaml")},
        "max_new_tokens": 4,
        "languages": ["en"],
    }
    assert len(manifest["environment"]["kit_sha256"]) == 64


def test_the_longest_answers_were_tried_before_the_first_step(interrupted):
    probe = manifest_of(interrupted)["probe"]
    assert probe["answers"]["prompts"] == 4, "golden_prompts: no more are asked at once"
    assert probe["answers"]["tokens"] > 4 + 20, "a prompt and an answer of max_new_tokens"
    assert probe["train"]["rows"] == 8 and probe["validation"]["rows"] == 8


def test_saved_settings_name_their_layers_and_load_as_they_were(project, interrupted):
    text = (interrupted / "config.yaml").read_text()
    lines = [line.split("  #", 1) for line in text.splitlines() if "  #" in line]
    layers = {line.strip(): layer.strip() for line, layer in lines}
    assert layers["learning_rate: 0.003"].startswith("project, conf/project.yaml:")
    assert layers["max_grad_norm: 0.9"] == f"command line: {SAME}"
    assert layers["weight_decay: 0.0"] == "kit default"
    now = loaded(project, SAME)
    assert Config.model_validate(load_yaml(interrupted / "config.yaml")[0]) == now.config
    assert pipeline.as_trained(loaded(project), interrupted).train == now.config.train


def test_any_text_survives_in_saved_settings(project):
    prompt = "Two lines:\n  # no comment, 'quoted' \"twice\": yes\nünï\u2028code " + "long " * 60
    config = loaded(project).config
    config = config.model_copy(update={"data": config.data.model_copy(update={"system_prompt": prompt})})
    path = project / "saved.yaml"
    path.write_text(resolved_yaml(config, loaded(project).origin), encoding="utf-8")
    assert Config.model_validate(load_yaml(path)[0]) == config


def test_data_is_checked_before_any_weights_are_there(project):
    (Path(loaded(project).config.model.name) / "model.safetensors").unlink()
    assert pipeline.check(loaded(project)).summary["rows"]["train"] == 48
    assert "user" in pipeline.show_rows(loaded(project), "0", "train", None, Look(True, False)).plain
    with pytest.raises(ModelError, match=r"no .safetensors file is there"):
        pipeline.train(loaded(project))
    assert not (project / "runs").exists()


def test_sigterm_before_there_is_a_run_ends_in_order(project, monkeypatch):
    def at_once(*rest):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it went on")

    monkeypatch.setattr("kit.train.stages.tokenise", at_once)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # not the default, which would end the tests
    try:
        with pytest.raises(Terminated):
            pipeline.train(loaded(project))
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (project / "runs").exists()
