"""`casekit evaluate` from files to files, with a really small random model."""

import json
import os
import shutil
import weakref

import datasets
import jsonschema
import pytest

from kit.config.errors import ConfigError, DataError, InvalidRunError
from kit.config.schema import Goodput, MetricUse, Sampling
from kit.evaluate.evaluate import evaluate, find_evaluation, run_of, task_scorer
from kit.hooks import Hooks, Metric
from kit.report.contract import json_schema

SLOW = pytest.mark.slow


def lines(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def without_times(records):
    return sorted(
        ({**r, "seconds": None} for r in records), key=lambda r: (r["system"], r["decoding"], r["id"])
    )


@SLOW
def test_an_evaluation_leaves_what_the_report_reads(project):
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    scores = json.loads((folder / "scores.json").read_text())
    jsonschema.validate(scores, json_schema("scores"))
    assert (scores["run"], scores["data"], scores["prompts"]) == ("r1", "fp", 24)
    assert scores["synthetic"] is True
    assert scores["conditions"]["mismatches"] == []
    assert scores["conditions"]["base"]["weights"] != scores["conditions"]["tuned"]["weights"]
    found = {(entry["name"], entry["decoding"]) for entry in scores["metrics"]}
    assert {("violation_rate", "greedy"), ("disclosure_rate", "sampled")} <= found
    unscored = {lost["name"] for lost in scores["unscored"]}
    assert unscored == {"resolution_rate", "response_time"}, "a random model's answers are all cut"
    assert len(lines(folder)) == 24 * 2 * 2
    timed = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    assert len(timed) == 3 * 2
    assert find_evaluation(root) == folder and run_of(root, folder) == run


@SLOW
def test_a_second_call_does_nothing_and_an_interrupted_one_goes_on(project):
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    whole, stamp = lines(folder), (folder / "scores.json").stat().st_mtime_ns
    assert evaluate(config, root, prepared, run, Hooks()) == folder
    assert (folder / "scores.json").stat().st_mtime_ns == stamp

    path = folder / "predictions.jsonl"
    text = path.read_text()
    path.write_text(text[: int(len(text) * 0.6)])  # somewhere in the middle of a line
    (folder / "scores.json").unlink()
    assert evaluate(config, root, prepared, run, Hooks()) == folder
    assert without_times(lines(folder)) == without_times(whole)
    kept = text[: int(len(text) * 0.6)].count("\n")
    assert lines(folder)[:kept] == whole[:kept]  # what was there was not made again


@SLOW
def test_a_changed_policy_scores_the_same_answers_anew(project, policy_file, monkeypatch):
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    answers = (folder / "predictions.jsonl").read_bytes()
    before = json.loads((folder / "scores.json").read_text())
    policy_file.write_text("rules:\n- {id: N, title: n, never: ['[\\s\\S]']}\n")
    monkeypatch.setattr("kit.models.loading.load_model", None)  # no model is needed
    again = evaluate(config, root, prepared, run, Hooks())
    assert again == folder and (folder / "predictions.jsonl").read_bytes() == answers
    after = json.loads((folder / "scores.json").read_text())
    rates = [scores["metrics"][0]["tuned"]["estimate"] for scores in (before, after)]
    assert rates[1] == 1.0 and rates[0] <= 1.0
    assert after["metrics"][0]["details"]["tuned"].get("N", 0) > 0 or rates[0] == 1.0


@SLOW
def test_a_changed_golden_checkpoint_is_another_evaluation(project):
    config, root, prepared, run = project
    first = evaluate(config, root, prepared, run, Hooks())
    (run / "golden" / "golden.json").write_text(json.dumps({"step": 9, "metric": "m", "score": 0.7}))
    second = evaluate(config, root, prepared, run, Hooks())
    assert second != first
    assert find_evaluation(root) == second
    assert find_evaluation(root, first.name) == first


def spy_on_loading(monkeypatch):
    """What is loaded, and how many of the models loaded before were still in memory then."""
    from kit.models import loading

    loaded, alive = [], []
    load = loading.load_model

    def spy(model, *settings, **more):
        alive.append(sum(ref() is not None for ref in loaded))
        found = load(model, *settings, **more)
        loaded.append(weakref.ref(found))
        return found

    monkeypatch.setattr(loading, "load_model", spy)
    return alive


@SLOW
@pytest.mark.parametrize(
    ("method", "held"),
    [("lora", "none"), ("qlora", "4-bit nf4, double"), ("prefix", "none"), ("prompt", "none")],
)
def test_an_adapters_base_is_loaded_once_for_both_systems(method, held, adapted, monkeypatch):
    """72B in 4 bits fits the card it was trained on; twice, or in 16 bits, it does not."""
    from kit.evaluate.generate import generate
    from kit.evaluate.prompts import load_prompts
    from kit.models.loading import load_base, load_tokenizer

    config, root, prepared, run = adapted(method)
    alive = spy_on_loading(monkeypatch)
    folder = evaluate(config, root, prepared, run, Hooks())
    assert alive == [0], "one model, loaded once"

    scores = json.loads((folder / "scores.json").read_text())
    base, tuned = scores["conditions"]["base"], scores["conditions"]["tuned"]
    assert base["quantization"] == tuned["quantization"] == held
    assert base["dtype"] == tuned["dtype"] == "float32"
    assert (base["adapter"], tuned["adapter"]) == ("switched off", "beside the base, not merged")
    timed = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    assert {line["order"] for line in timed} == {"in turn"}

    bare = generate(
        load_base(config),
        load_tokenizer(config.model),
        load_prompts(prepared / "test"),
        decoding="greedy",
        max_new_tokens=12,
        batch_size=5,
        seed=config.seed,
        sampling=config.evaluate.sampling,
    )
    greedy = {
        system: {
            line["id"]: line["output"]
            for line in lines(folder)
            if (line["system"], line["decoding"]) == (system, "greedy")
        }
        for system in ("base", "tuned")
    }
    assert greedy["base"] == {answer.id: answer.output for answer in bare}
    assert greedy["tuned"] != greedy["base"]


@SLOW
def test_two_full_models_of_size_are_never_in_memory_together(project, monkeypatch):
    config, root, prepared, run = project
    monkeypatch.setattr("kit.evaluate.answers.SMALL", 0)
    alive = spy_on_loading(monkeypatch)
    folder = evaluate(config, root, prepared, run, Hooks())
    assert alive == [0, 0], "base is freed before tuned is loaded"
    timed = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    assert [line["system"] for line in timed] == ["base"] * 3 + ["tuned"] * 3
    assert {line["order"] for line in timed} == {"alone"}


@SLOW
def test_two_small_full_models_answer_apart_and_are_timed_in_turn(project, monkeypatch):
    config, root, prepared, run = project
    alive = spy_on_loading(monkeypatch)
    folder = evaluate(config, root, prepared, run, Hooks())
    assert alive == [0, 0, 1], "base, then tuned, then base again beside it"
    scores = json.loads((folder / "scores.json").read_text())
    timed = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    assert {line["order"] for line in timed} == {"in turn"} and scores["latency"] is None


@SLOW
def test_an_evaluation_is_not_finished_in_another_precision(project):
    config, root, prepared, run = project
    folder = evaluate(config, root, prepared, run, Hooks())
    answers = (folder / "predictions.jsonl").read_text().splitlines(keepends=True)
    (folder / "predictions.jsonl").write_text("".join(answers[:-5]))
    (folder / "scores.json").unlink()
    loaded = json.loads((folder / "loaded.json").read_text())
    loaded = {system: facts | {"dtype": "bfloat16"} for system, facts in loaded.items()}
    (folder / "loaded.json").write_text(json.dumps(loaded))
    with pytest.raises(InvalidRunError, match="base answered with bfloat16, tuned would with float32"):
        evaluate(config, root, prepared, run, Hooks())


@SLOW
def test_another_base_than_the_run_started_from_is_refused_even_when_scores_are_there(project, other_weights):
    from kit.models.loading import weights_sha256

    config, root, prepared, run = project
    wanted = weights_sha256(root / "base")
    evaluate(config, root, prepared, run, Hooks())
    other_weights(root / "base")
    with pytest.raises(InvalidRunError) as caught:
        evaluate(config, root, prepared, run, Hooks())
    assert caught.value.exit_code == 4
    told = str(caught.value)
    assert wanted[:16] in told and weights_sha256(root / "base")[:16] in told and "train again" in told


@SLOW
def test_changed_golden_weights_are_another_evaluation(project, other_weights):
    config, root, prepared, run = project
    first = evaluate(config, root, prepared, run, Hooks())
    other_weights(run / "golden")
    assert evaluate(config, root, prepared, run, Hooks()) != first


def test_another_chat_template_is_refused_before_any_answer(project):
    config, root, prepared, run = project
    template = run / "golden" / "chat_template.jinja"
    template.write_text("Answer in rhyme.\n" + template.read_text())
    with pytest.raises(InvalidRunError) as caught:
        evaluate(config, root, prepared, run, Hooks())
    assert caught.value.exit_code == 4
    assert "the chat template differs" in str(caught.value)
    assert not list((root / "evaluations").glob("*/predictions.jsonl"))


def test_other_data_than_the_run_had_is_refused(project):
    config, root, prepared, run = project
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"data": {"fingerprint": "other"}}))
    with pytest.raises(InvalidRunError, match="the prepared data differs"):
        evaluate(config, root, prepared, run, Hooks())


def test_a_run_without_golden_is_refused(project):
    config, root, prepared, run = project
    (run / "golden" / "golden.json").unlink()
    with pytest.raises(InvalidRunError, match="no golden checkpoint"):
        evaluate(config, root, prepared, run, Hooks())


def test_every_faulty_metric_is_told_before_anything_is_loaded(project):
    config, root, prepared, run = project
    uses = [MetricUse(name="violation_rte"), MetricUse(name="disclosure_rate")]
    broken = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"metrics": uses})})
    with pytest.raises(ConfigError) as caught:
        evaluate(broken, root, prepared, run, Hooks())
    assert len(caught.value.problems) == 2


def test_an_empty_test_split_is_an_error_that_says_what_to_do(project):
    config, root, prepared, run = project
    empty = datasets.load_from_disk(str(prepared / "valid")).select([])
    shutil.rmtree(prepared / "test")
    empty.save_to_disk(str(prepared / "test"))
    with pytest.raises(DataError, match=r"data\.split\.test"):
        evaluate(config, root, prepared, run, Hooks())


def test_finding_an_evaluation_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="casekit evaluate"):
        find_evaluation(tmp_path)


@SLOW
def test_the_task_score_is_the_golden_metric_with_better_upward(project, model, tokenizer):
    config, root, prepared, _ = project

    def golden(name, hooks=None):
        train = config.train.model_copy(update={"golden_metric": name})
        uses = [*config.evaluate.metrics, MetricUse(name="words"), MetricUse(name="calm")]
        evaluated = config.evaluate.model_copy(update={"metrics": uses})
        changed = config.model_copy(update={"train": train, "evaluate": evaluated})
        return task_scorer(changed, root, prepared, hooks or Hooks())

    hooks = Hooks(
        metrics={
            "words": Metric("Always a half", lambda p, r: [0.5] * len(p)),
            "calm": Metric(
                "Always three", lambda p, r: [3.0] * len(p), higher_is_better=False, invalid_item=3.0
            ),
        }
    )
    model.train()
    assert 0 <= golden("words", hooks)(model, tokenizer) <= 0.5  # a half, or 0 where the answer is invalid
    assert model.training
    model.eval()
    assert golden("calm", hooks)(model, tokenizer) == -3.0
    score = golden(None)  # the first metric of the evaluation, where lower is better
    assert -1.0 <= score(model, tokenizer) < 0  # a random model's cut answers count as violations
    assert score(model, tokenizer) == score(model, tokenizer)


def test_a_golden_metric_that_applies_to_nothing_is_told_before_training(project):
    config, root, prepared, _ = project
    changed = config.model_copy(
        update={"train": config.train.model_copy(update={"golden_metric": "resolution_rate"})}
    )
    with pytest.raises(DataError, match="applies to none of the 10 validation rows"):
        task_scorer(changed, root, prepared, Hooks())


@SLOW
def test_requests_are_served_at_every_concurrency_and_limits_need_no_model(project, monkeypatch):
    config, root, prepared, run = project
    asked = {
        "concurrency": [1, 2],
        "latency_prompts": 5,
        "max_prompts": 5,
        "sampling": Sampling(enabled=False),
    }

    def changed(**more):
        return config.model_copy(update={"evaluate": config.evaluate.model_copy(update=asked | more)})

    folder = evaluate(changed(), root, prepared, run, Hooks())
    timed = [json.loads(line) for line in (folder / "latency.jsonl").read_text().splitlines()]
    served = {(line["system"], line["concurrency"]): [] for line in timed}
    for line in timed:
        served[line["system"], line["concurrency"]].append(line["batch"])
    assert served == {
        (system, level): places
        for system in ("base", "tuned")
        for level, places in ((1, [0, 1, 2, 3, 4]), (2, [0, 0, 1, 1]))
    }
    alone = {(line["id"], line["system"]): line for line in timed if line["concurrency"] == 1}
    for line in timed:
        same = alone[line["id"], line["system"]]
        assert (line["new_tokens"], line["finished"]) == (same["new_tokens"], same["finished"])
        assert len(line["inter_token_seconds"]) == max(0, line["new_tokens"] - 1)

    record = json.loads((folder / "evaluation.json").read_text())
    monkeypatch.setattr("kit.models.loading.load_model", None)  # no model is needed
    limits = Goodput(time_to_first_token=100, time_per_output_token=100)
    assert evaluate(changed(goodput=limits), root, prepared, run, Hooks()) == folder
    after = json.loads((folder / "evaluation.json").read_text())
    assert after["generation"] == record["generation"] and after["scoring"] != record["scoring"]


def test_a_reward_model_that_was_evaluated_last_is_not_passed_over_for_an_older_report(tmp_path):
    for name, file, written in (("answers", "scores.json", 100), ("pairs", "reward.json", 200)):
        path = tmp_path / "evaluations" / name / file
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (written, written))
    with pytest.raises(ConfigError, match="is of a reward model"):
        find_evaluation(tmp_path)
    assert find_evaluation(tmp_path, "answers").name == "answers"
    os.utime(tmp_path / "evaluations" / "answers" / "scores.json", (300, 300))
    assert find_evaluation(tmp_path).name == "answers"
