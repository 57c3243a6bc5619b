"""Perplexity of the reference answers: by hand, against the loss of training, and in an evaluation."""

import json
import math
from dataclasses import replace

import jsonschema
import pytest
import torch

from kit.config.errors import ConfigError
from kit.config.schema import MetricUse
from kit.data.render import render
from kit.evaluate.compare import Settings
from kit.evaluate.evaluate import evaluate, task_scorer
from kit.evaluate.likelihood import measure_likelihood
from kit.evaluate.perplexity import perplexity_entry, unscored_perplexity
from kit.evaluate.prompts import Prompt
from kit.hooks import Hooks
from kit.report.contract import json_schema

SETTINGS = Settings(0.95, 500, 0)


def prompt(number, answer="It can fall in value."):
    messages = [{"role": "user", "content": f"Is fund {number} safe?"}]
    return Prompt(str(number), messages, {}, {"half": str(number % 2)}, str(number), answer)


def line(id_, system, nats, tokens, why=""):
    return {"id": id_, "system": system, "nats": nats, "tokens": tokens, "why": why}


def test_alone_every_token_weighs_the_same():
    from kit.evaluate.metrics.answer_perplexity.answer_perplexity import AnswerPerplexity

    records = [{"nats": 3.0, "tokens": 1}, {"nats": 0.0, "tokens": 2}, {"nats": 0.0, "tokens": 0}]
    found = AnswerPerplexity().compute(predictions=records)
    assert found["answer_perplexity"] == pytest.approx(math.e)  # not the mean of e^3 and 1
    assert found["items"] == [pytest.approx(math.exp(3)), 1.0, None] and found["n"] == 2


def test_it_is_the_loss_of_training_on_the_last_turn(model, tokenizer):
    asked = prompt(1)
    (read,) = measure_likelihood(model, tokenizer, [asked], 512, "base")
    (sample,) = render([*asked.messages, {"role": "assistant", "content": asked.answer}], tokenizer, 512)
    with torch.no_grad():
        loss = model(
            input_ids=torch.tensor([sample.input_ids]), labels=torch.tensor([sample.labels])
        ).loss.item()
    assert read["tokens"] == sum(label != -100 for label in sample.labels)
    assert read["nats"] / read["tokens"] == pytest.approx(loss, rel=1e-4)


def test_earlier_answers_of_the_dialogue_are_read_but_not_counted(model, tokenizer):
    short = prompt(1)
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, how can I help?"}]
    long = replace(short, id="2", messages=[*earlier, *short.messages])
    one, two = measure_likelihood(model, tokenizer, [short, long], 512, "base")
    assert one["tokens"] == two["tokens"] and one["nats"] != two["nats"]


def test_an_answer_that_cannot_be_read_says_why(model, tokenizer):
    thinking = replace(prompt(2), thinks=True)
    lines = measure_likelihood(model, tokenizer, [prompt(1), thinking], 20, "base")
    assert [found["tokens"] for found in lines] == [0, 0]
    assert "over the limit of 20" in lines[0]["why"] and "reasoning" in lines[1]["why"]
    assert perplexity_entry(lines, [prompt(1), thinking], SETTINGS) is None
    assert "over the limit" in unscored_perplexity(lines)[0]["why"]
    assert unscored_perplexity([]) == []


def test_systems_are_compared_on_what_both_read_and_slices_have_their_own():
    prompts = [prompt(number) for number in range(40)]
    lines = [line(p.id, "base", 20.0 if int(p.id) % 2 else 10.0, 10) for p in prompts]
    lines += [line(p.id, "tuned", 5.0 + int(p.id) % 3, 10) for p in prompts[1:]]
    lines.append(line("0", "tuned", 0.0, 0, "too long"))
    entry = perplexity_entry(lines, prompts, SETTINGS)
    assert entry is not None and entry["n"] == 39
    assert entry["base"]["estimate"] == pytest.approx(math.exp((20 * 20 + 19 * 10) / 390))
    assert entry["verdict"] == "improved" and not entry["higher_is_better"]
    assert [part["base"]["estimate"] for part in entry["slices"]] == pytest.approx([math.e, math.e**2])
    assert entry["details"]["tuned"] == {"not read: too long": 1}


@pytest.mark.slow
def test_an_evaluation_reads_the_references_once_when_it_is_asked_to(project, monkeypatch):
    config, root, prepared, run = project
    plain = evaluate(config, root, prepared, run, Hooks())
    assert not (plain / "likelihood.jsonl").exists()
    asked = [*config.evaluate.metrics, MetricUse(name="answer_perplexity")]
    evaluation = config.evaluate.model_copy(update={"metrics": asked})
    config = config.model_copy(update={"evaluate": evaluation})
    folder = evaluate(config, root, prepared, run, Hooks())
    lines = [json.loads(text) for text in (folder / "likelihood.jsonl").read_text().splitlines()]
    assert folder == plain and len(lines) == 24 * 2
    scores = json.loads((folder / "scores.json").read_text())
    jsonschema.validate(scores, json_schema("scores"))
    (entry,) = [entry for entry in scores["metrics"] if entry["name"] == "answer_perplexity"]
    sums = {}
    for system in ("base", "tuned"):
        read = [found for found in lines if found["system"] == system]
        sums[system] = [sum(found[key] for found in read) for key in ("nats", "tokens")]
    for system, (nats, tokens) in sums.items():
        assert entry[system]["estimate"] == pytest.approx(math.exp(nats / tokens))
    assert sums["base"][0] != sums["tuned"][0] and entry["slices"]
    (folder / "scores.json").unlink()
    monkeypatch.setattr("kit.models.loading.load_model", None)  # no model is needed
    assert evaluate(config, root, prepared, run, Hooks()) == folder


def test_it_cannot_pick_the_golden_checkpoint_and_takes_no_parameters(project):
    config, root, prepared, _ = project
    for use, golden in (
        (MetricUse(name="answer_perplexity"), "answer_perplexity"),
        (MetricUse(name="answer_perplexity", params={"a": 1}), None),
    ):
        changed = config.model_copy(
            update={
                "evaluate": config.evaluate.model_copy(update={"metrics": [use]}),
                "train": config.train.model_copy(update={"golden_metric": golden}),
            }
        )
        with pytest.raises(ConfigError, match="`answer_perplexity` does not score answers"):
            task_scorer(changed, root, prepared, Hooks())
