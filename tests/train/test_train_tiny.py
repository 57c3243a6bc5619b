"""Building tiny: the real pretrain stage, in small."""

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock

from kit import cli
from kit.config.errors import ModelError
from kit.config.schema import Model
from kit.config.schema_train import Hardware
from kit.data.fingerprint import tokenizer_hash
from kit.files import sha256_file
from kit.models.loading import load_model, load_tokenizer, model_folder
from kit.models.tiny import SEED, TRAINING, grammar_files, tiny_folder, words_folder
from kit.train import tiny, tiny_words, waiting

SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "attention_bias": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "initializer_range": 0.12,
}
SHORT = TRAINING.model_copy(update={"max_steps": 4})


@pytest.fixture(scope="module")
def dialogues():
    return tiny.corpus(grammar_files(), 240, SEED)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(dialogues, tmp_path):
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny.build_into(tmp_path / name, dialogues, SHORT, seed, SHAPE, threads=1)
        hashes.append(sha256_file(tmp_path / name / "model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.slow
def test_a_built_tiny_loads_like_any_model_and_the_stage_taught_it(dialogues, tmp_path):
    import torch

    training = TRAINING.model_copy(update={"max_steps": 100, "learning_rate": 1e-2})
    tiny.build_into(tmp_path / "tiny", dialogues, training, 1, SHAPE, threads=1)
    model = Model(name=str(tmp_path / "tiny"))
    tokenizer = load_tokenizer(model)
    ids = torch.tensor([tokenizer.apply_chat_template(dialogues[0])["input_ids"]])
    with torch.no_grad():
        loss = load_model(model, Hardware(device="cpu"))(input_ids=ids, labels=ids).loss
    assert loss < 0.8 * torch.log(torch.tensor(float(SHAPE["vocab_size"])))


def test_the_corpus_is_the_training_split_of_every_recipe_half_of_it_with_its_system_prompt(dialogues):
    from kit.data.grammar_load import load_grammar
    from kit.data.synth import synthesize

    assert 200 <= len(dialogues) <= 244
    prompted = sum(row[0]["role"] == "system" for row in dialogues)
    assert 0.3 < prompted / len(dialogues) < 0.6
    asked = {row[-2]["content"] for row in dialogues}
    for grammar in grammar_files():
        rows = list(synthesize(load_grammar(grammar), 100, SEED, answers="general"))
        assert asked & {row["messages"][-2]["content"] for row in rows if row["split"] == "train"}
        held_out = {row["messages"][-2]["content"] for row in rows if row["split"] != "train"}
        assert not asked & held_out


def test_without_recipes_it_says_so():
    with pytest.raises(ModelError, match="no recipe with a phrase grammar"):
        tiny.corpus([], 10, SEED)


def test_one_of_several_processes_does_not_build_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match=r"not by one of 2 training processes.*\n?.*casekit data prepare"):
        tiny.build_tiny()
    assert list(tmp_path.iterdir()) == []


def fake_build(folder: Path, dialogues: list, training: object, seed: int) -> None:
    """Stands in for the minute of training; counts how often it is called."""
    import time

    with (folder.parent / "calls").open("a") as file:
        file.write("x")
    time.sleep(0.5)
    folder.mkdir()


def build_with_fake(cache: str) -> None:
    import os

    os.environ["CASEKIT_CACHE"] = cache
    tiny.build_into = fake_build
    tiny.corpus = lambda *_: []
    tiny.build_tiny()


def test_two_processes_build_it_once(tmp_path, monkeypatch):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=build_with_fake, args=(str(tmp_path),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "calls").read_text() == "x"
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path))
    assert tiny.build_tiny() == tiny_folder()  # found, not built again
    assert (tmp_path / "calls").read_text() == "x"


@pytest.mark.slow
def test_a_build_that_fails_leaves_nothing_behind(dialogues, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.train.stages.train", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny.build_into(tmp_path / "tiny", dialogues[:80], SHORT, 1, SHAPE, threads=1)
    assert not (tmp_path / "tiny").exists()
    assert not list(tmp_path.glob(".tiny*"))


@pytest.fixture
def short_build(dialogues, tmp_path, monkeypatch) -> Path:
    """The cache in which `build_tiny` builds one that takes a second."""
    cache, build = tmp_path / "cache", tiny.build_into

    def build_into(folder: Path, rows: list, training: object, seed: int) -> None:
        build(folder, rows, SHORT, seed, SHAPE, threads=1)

    monkeypatch.setenv("CASEKIT_CACHE", str(cache))
    for module in (tiny, tiny_words):
        monkeypatch.setattr(module, "corpus", lambda *_: dialogues[:80])
    monkeypatch.setattr(tiny, "build_into", build_into)
    return cache


@pytest.mark.slow
def test_the_build_says_what_it_does_and_nothing_of_its_run(short_build, monkeypatch, capsys):
    monkeypatch.setattr("kit.train.progress.EVERY_SECONDS", 0.0)  # as if each step took a minute
    monkeypatch.setenv("COLUMNS", "200")
    tiny.build_tiny()
    first, *steps = capsys.readouterr().err.splitlines()
    assert first == "building tiny, the embedded base model: once a machine"
    assert steps and all(re.match(r"building tiny, step \d of 4: ", line) for line in steps)


@pytest.mark.slow
def test_a_build_that_is_stopped_says_what_comes_next_and_leaves_nothing(
    short_build, tmp_path, monkeypatch, capsys
):
    from transformers.trainer_callback import CallbackHandler

    step = CallbackHandler.on_step_begin

    def stopped(*rest):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*rest)

    project = tmp_path / "project"
    (project / "conf").mkdir(parents=True)
    (project / "conf/project.yaml").write_text("data: {sources: [{path: rows.jsonl}]}\n")
    answer = {"role": "assistant", "content": "Hello"}
    rows = [[{"role": "user", "content": f"Hi {number}"}, answer] for number in range(40)]
    (project / "rows.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    monkeypatch.setattr(CallbackHandler, "on_step_begin", stopped)
    for command in (["run"], ["data", "prepare"]):
        monkeypatch.setattr(sys, "argv", ["casekit", *command, "--project", str(project)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 75
        said = " ".join(capsys.readouterr().err.split())
        assert "tiny is not built: the next command that needs it begins anew" in said
        assert "the same command begins again" in said and "--resume" not in said
        assert not tiny_folder().exists() and not list(short_build.glob("*.building"))


def test_what_it_was_made_of_is_written_beside_it(dialogues, tmp_path, monkeypatch):
    def no_training(config, root, prepared, task_score, called):
        golden = root / "golden"
        golden.mkdir()
        (golden / "golden.json").write_text("{}")
        (golden / "model.safetensors").write_bytes(b"")
        return root

    monkeypatch.setattr("kit.train.stages.train", no_training)
    tiny.build_into(tmp_path / "tiny", dialogues[:80], SHORT, 7, SHAPE, threads=1)
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["model.safetensors", "tiny.json"]
    assert json.loads((tmp_path / "tiny" / "tiny.json").read_text())["seed"] == 7


def begun_elsewhere(folder: Path, steps: int, done: int, seconds: float) -> Path:
    """What a process leaves that is at work on tiny, for so long; its run."""
    run = waiting.workplace_of(folder) / "runs" / "20260101-000000-pretrain-full"
    run.mkdir(parents=True)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    (run / "manifest.json").write_text(json.dumps({"started": began.isoformat(), "steps": steps}))
    (run / "metrics.jsonl").write_text(json.dumps({"step": done, "kind": "train"}) + "\n")
    os.utime(run / "metrics.jsonl", (began.timestamp() + seconds,) * 2)
    return run


def test_how_far_another_process_is_stands_in_its_files(tmp_path):
    folder = tmp_path / "tiny"
    assert waiting.how_far(waiting.workplace_of(folder)).startswith("its dialogues and tokenizer")
    run = begun_elsewhere(folder, steps=1200, done=300, seconds=100)
    assert waiting.how_far(waiting.workplace_of(folder)) == "step 300 of 1,200, 5 min left"
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1110, "kind": "train"}) + "\n")
    os.utime(run / "metrics.jsonl", (datetime(2026, 1, 1, 0, 10, tzinfo=UTC).timestamp(),) * 2)
    assert waiting.how_far(waiting.workplace_of(folder)) == "step 1,110 of 1,200, 49 s left"
    (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "kind": "event"}) + "\n")
    assert waiting.how_far(waiting.workplace_of(folder)) == "its first steps are made"
    (run / "metrics.jsonl").unlink()
    assert waiting.how_far(waiting.workplace_of(folder)) == "its first steps are made"


def test_who_waits_for_another_process_is_told_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.1)
    folder = tiny_folder()
    begun_elsewhere(folder, steps=1200, done=300, seconds=100)
    begun = threading.Event()

    def build_elsewhere() -> None:
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            begun.set()
            time.sleep(0.5)
            folder.mkdir()

    builder = threading.Thread(target=build_elsewhere)
    builder.start()
    begun.wait()
    assert tiny.build_tiny() == folder
    builder.join()
    told = "another process builds tiny"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{told}, the embedded base model: waiting for it"
    assert said[1:] == [f"{told}: step 300 of 1,200, 5 min left"], "once a minute"


@pytest.mark.slow
def test_the_words_alone_are_those_of_the_tiny_that_is_built_later(dialogues, tmp_path):
    """Else data that was prepared before it was built would count as changed."""
    tiny.build_into(tmp_path / "tiny", dialogues, SHORT, 1, SHAPE, threads=1)
    tiny_words.build_words_into(tmp_path / "words", dialogues, SHAPE)
    built, words = (load_tokenizer(Model(name=str(tmp_path / name))) for name in ("tiny", "words"))
    assert tokenizer_hash(built) == tokenizer_hash(words)
    text = dialogues[0][-1]["content"]
    assert built(text).input_ids == words(text).input_ids


def test_data_is_checked_while_another_process_builds_tiny(dialogues, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CASEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiny_words, "corpus", lambda *_: dialogues[:80])
    project = tmp_path / "project"
    (project / "conf").mkdir(parents=True)
    (project / "conf/project.yaml").write_text("data: {sources: [{path: rows.jsonl}]}\n")
    (project / "rows.jsonl").write_text('{"messages": []}\n')
    folder = tiny_folder()
    folder.parent.mkdir()
    monkeypatch.setattr(sys, "argv", ["casekit", "data", "check", "--project", str(project)])
    with FileLock(folder.with_name(f".{folder.name}.lock")), pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and "rows.jsonl:1" in said.out
    assert said.err.startswith("making the tokenizer of tiny, the base model: once a machine\n")
    assert "another process" not in said.err
    assert not folder.exists() and words_folder().is_dir(), "its tokenizer is enough"
    with pytest.raises(ModelError, match="tiny is not built yet"):
        model_folder(Model(name="tiny"))
