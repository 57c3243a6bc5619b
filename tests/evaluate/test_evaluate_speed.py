"""Response times, throughput and goodput, on timelines that can be worked out by hand."""

import numpy as np
import pytest
import torch

from kit.config.schema import Evaluate, Goodput
from kit.evaluate import latency as clock_room
from kit.evaluate.compare import Settings
from kit.evaluate.generate import generation_config
from kit.evaluate.goodput import summarise_load, with_load
from kit.evaluate.latency import Served, measure_latency, serve_batch
from kit.evaluate.percentiles import least_n, seconds_per_output_token, spread
from kit.evaluate.prompts import Prompt
from kit.evaluate.timing import response_time_entry, summarise_latency

SETTINGS = Settings(confidence=0.95, draws=200, seed=1)
LIMITS = Goodput(time_to_first_token=0.3, time_per_output_token=0.05)


def prompts(count):
    return [
        Prompt(f"{n:04x}", [{"role": "user", "content": f"Question {n}"}], {}, {}, str(n))
        for n in range(count)
    ]


def timeline(first, pace, tokens):
    """Arrivals of an answer of so many tokens: the first after `first` seconds, then one every `pace`."""
    return [first + pace * n for n in range(tokens)]


def timed(answers, count=8, concurrency=(1,), stretch=lambda level: 1.0):
    """Lines of `latency.jsonl`; `answers` maps a system to the arrivals and the end of its n-th prompt."""
    asked = prompts(count)
    places = {prompt.id: place for place, prompt in enumerate(asked)}

    def serve(system, batch):
        slower = stretch(len(batch))
        served = [answers[system](places[prompt.id]) for prompt in batch]
        made = [Served([slower * moment for moment in arrivals], done) for arrivals, done in served]
        return made, max([answer.arrivals[-1] for answer in made if answer.arrivals] or [0.01])

    return measure_latency(["base", "tuned"], serve, asked, concurrency)


def summary(lines, **asked):
    return with_load(summarise_latency(lines, SETTINGS), lines, Evaluate(**asked))


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Scripted:
    """A model whose n-th step takes so many seconds, and gives every row of the batch its next token."""

    def __init__(self, clock, steps, rows):
        self.clock, self.steps, self.rows, self.asked = clock, steps, rows, []

    def parameters(self):
        yield torch.zeros(1)

    def generate(self, input_ids, attention_mask, generation_config, streamer):
        self.asked.append((input_ids, attention_mask))
        streamer.put(input_ids)
        for step, seconds in enumerate(self.steps):
            self.clock.now += seconds
            streamer.put(torch.tensor([row[step] for row in self.rows]))
        self.clock.now += 5.0  # what the library does after the last token is nobody's waiting
        streamer.end()
        return torch.cat([input_ids, torch.tensor(self.rows)], dim=1)


@pytest.fixture
def scripted(tokenizer, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(clock_room.time, "perf_counter", clock)
    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    yes, no = (
        tokenizer.encode("Yes", add_special_tokens=False),
        tokenizer.encode("No", add_special_tokens=False),
    )
    blank = tokenizer.encode(" ", add_special_tokens=False)

    def ask(rows, steps):
        model = Scripted(clock, steps, rows)
        asked = prompts(len(rows))
        served, seconds = serve_batch(model, tokenizer, asked, generation_config(tokenizer, 8))
        return served, seconds, model

    return ask, stop, pad, yes, no, blank


def test_a_token_is_timed_when_it_comes_and_the_stop_token_ends_the_answer(scripted):
    ask, stop, _, yes, _, _ = scripted
    served, seconds, _ = ask([[*yes, stop]], steps=[0.5, 0.1, 0.2, 0.1])
    assert served[0].arrivals == pytest.approx([0.5, 0.6, 0.8, 0.9]) and served[0].finished
    assert seconds == pytest.approx(0.9 + 5.0), "the batch is over when the library is"


def test_the_answers_of_a_batch_start_together_and_end_one_by_one(scripted):
    """A static batch: the short answer is there early, its place is held until the long one is done."""
    ask, stop, pad, yes, no, _ = scripted
    served, _, model = ask([[*yes, stop], [*no, stop, pad]], steps=[0.5, 0.1, 0.1, 0.1])
    assert served[0].arrivals == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert served[1].arrivals == pytest.approx([0.5, 0.6, 0.7]) and served[1].finished
    (ids, mask) = model.asked[0]
    assert len(ids) == len(mask) == 2, "both were sent at once"


def test_the_first_token_is_the_first_with_text_and_an_empty_answer_has_none(scripted):
    ask, stop, pad, _, no, blank = scripted
    served, _, _ = ask(
        [[*blank, *no, stop], [stop, pad, pad, pad], [*blank, stop, pad, pad]], steps=[0.5, 0.1, 0.1, 0.1]
    )
    assert served[0].arrivals == pytest.approx([0.6, 0.7, 0.8])
    assert served[1].arrivals == served[2].arrivals == []


def test_an_answer_at_the_token_limit_is_not_finished(scripted):
    ask, _, _, yes, _, _ = scripted
    served, _, _ = ask([[*yes, *yes]], steps=[0.5] + [0.1] * 5)
    assert not served[0].finished and len(served[0].arrivals) == 6


def test_systems_take_turns_and_the_first_batch_only_warms_up():
    sent = []

    def serve(system, batch):
        sent.append((system, len(batch)))
        seconds = 9.0 if len(sent) <= 2 else 1.0  # a cold machine
        return [Served([seconds], True) for _ in batch], seconds

    records = measure_latency(["base", "tuned"], serve, prompts(5), [1, 2])
    assert [system for system, _ in sent[:8]] == ["base", "tuned", "tuned", "base"] * 2
    assert [size for _, size in sent] == [1] * 12 + [2] * 6, "the fifth prompt fills no batch of two"
    assert {record["seconds"] for record in records} == {1.0}
    alone = measure_latency(["base"], serve, prompts(2), [1])
    assert {record["order"] for record in alone} == {"alone"}
    pairs = [(r["id"], r["batch"]) for r in records if (r["concurrency"], r["system"]) == (2, "tuned")]
    assert pairs == [("0000", 0), ("0001", 0), ("0002", 1), ("0003", 1)]


def test_a_local_model_serves_a_batch_as_it_serves_each_alone(model, tokenizer):
    """The same tokens, whoever is served beside."""
    settings, asked = generation_config(tokenizer, 8), prompts(4)
    together, seconds = serve_batch(model, tokenizer, asked, settings)
    apart = [serve_batch(model, tokenizer, [prompt], settings)[0][0] for prompt in asked]
    assert [(len(a.arrivals), a.finished) for a in together] == [(len(a.arrivals), a.finished) for a in apart]
    for answer in together:
        assert answer.arrivals == sorted(answer.arrivals) and 0 < answer.arrivals[-1] <= seconds


def test_percentiles_are_numpys_and_wait_for_enough_values():
    """59 and 299: with fewer, the slowest of all may lie below the percentile (evaluation.md, C1)."""
    assert (least_n(95), least_n(99)) == (59, 299)
    values = np.random.default_rng(3).exponential(size=400)
    for n in (1, 16, 58, 59, 298, 299, 400):
        found, seen = spread(list(values[:n])), values[:n]
        assert found["p50"] == pytest.approx(np.median(seen)) and found["max"] == seen.max()
        assert found["p95"] == (pytest.approx(np.percentile(seen, 95)) if n >= 59 else None)
        assert found["p99"] == (pytest.approx(np.percentile(seen, 99)) if n >= 299 else None)
    assert spread([]) == {"p50": None, "p95": None, "p99": None, "max": None}


def test_the_95th_percentile_of_59_is_rarely_above_the_slowest():
    """What `least_n` promises, simulated: the maximum lies beyond the true percentile in 95 of 100."""
    draws = np.random.default_rng(0).uniform(size=(4000, 59))
    assert np.mean(draws.max(axis=1) >= 0.95) == pytest.approx(0.95, abs=0.012)


def test_one_token_has_no_pace():
    record = {"seconds": 0.5, "seconds_to_first_token": 0.5, "new_tokens": 1}
    assert seconds_per_output_token(record) is None
    record = {"seconds": 0.5, "seconds_to_first_token": 0.2, "new_tokens": 4}
    assert seconds_per_output_token(record) == pytest.approx(0.1)


def test_times_of_a_worked_example():
    answers = {
        "base": lambda n: (timeline(0.2, 0.01, 101), True),
        "tuned": lambda n: (timeline(0.1, 0.008, 51), True),
    }
    found = summary(timed(answers))
    base, tuned = found["base"], found["tuned"]
    assert base["seconds_to_first_token"]["p50"] == pytest.approx(0.2)
    assert base["seconds"]["p50"] == pytest.approx(1.2) and tuned["seconds"]["p50"] == pytest.approx(0.5)
    assert base["seconds_per_output_token"]["p50"] == pytest.approx(0.01)
    assert base["tokens_per_second"]["p50"] == pytest.approx(101 / 1.2)
    assert tuned["inter_token_seconds"]["n"] == 8 * 50
    assert tuned["inter_token_seconds"]["p99"] == pytest.approx(0.008)
    assert base["seconds"]["p95"] is None and base["seconds"]["max"] == pytest.approx(1.2)
    assert found["percentiles_need"] == {"p95": 59, "p99": 299}
    assert found["speedup"]["estimate"] == pytest.approx(2.4)
    # 1.2 s / 0.5 s = 100/50 tokens x 0.010/0.008 s a token x (1 - 0.1/0.5) / (1 - 0.2/1.2).
    assert found["decomposition"] == pytest.approx({"length": 2.0, "per_token": 1.25, "first_token": 0.96})


@pytest.mark.parametrize("seed", range(5))
def test_the_decomposition_multiplies_back_to_the_whole(seed):
    dice = np.random.default_rng(seed)

    def answer(n):
        tokens = int(dice.integers(1, 120))
        return timeline(dice.uniform(0.02, 0.4), dice.uniform(0.005, 0.05), tokens), True

    found = summary(timed({"base": answer, "tuned": answer}, count=13))
    parts = found["decomposition"]
    assert set(parts) == {"length", "per_token", "first_token"} and min(parts.values()) > 0
    assert np.prod(list(parts.values())) == pytest.approx(found["speedup"]["estimate"], rel=1e-12)


def test_one_slow_answer_invents_no_pace():
    """Median time and median length may come from different prompts: their quotient is no one's pace."""

    def base(n):
        return timeline(0.01, 0.01, 30 + 10 * n), True

    def tuned(n):
        slow = 1.4 if n == 3 else 1.0
        return timeline(0.01 * slow, 0.01 * slow, 60 + 10 * n), True

    found = summary(timed({"base": base, "tuned": tuned}, count=7))
    assert found["decomposition"]["per_token"] == pytest.approx(1.0)
    assert found["decomposition"]["length"] == pytest.approx(found["speedup"]["estimate"], rel=0.02)


def test_answers_of_one_token_are_taken_apart_no_further():
    answers = {"base": lambda n: ([0.4], True), "tuned": lambda n: ([0.2], True)}
    found = summary(timed(answers))
    assert found["speedup"]["estimate"] == pytest.approx(2.0) and found["decomposition"] is None
    assert found["base"]["seconds_per_output_token"]["p50"] is None


def test_empty_and_cut_answers_are_failures_and_not_fast_ones():
    def tuned(n):
        return ([], True) if n < 2 else (timeline(0.1, 0.01, 11), n != 2)

    lines = timed({"base": lambda n: (timeline(0.1, 0.01, 11), True), "tuned": tuned}, count=8)
    found = summary(lines, goodput=LIMITS)
    assert found["tuned"]["n"] == found["base"]["n"] == 5 and found["left_out"] == 3
    assert found["failed"] == {"base": 0, "tuned": 3}
    (load,) = found["load"]
    assert load["tuned"]["failed"] == 3 and load["tuned"]["good"] == 5 and load["base"]["good"] == 8
    assert response_time_entry(lines, SETTINGS)["verdict"] == "not shown"


def test_goodput_counts_what_meets_both_limits():
    """Two are late with the first token, one with the others, one is empty, one cut: 3 of 8 are good."""
    arrivals = [
        (timeline(0.2, 0.05, 5), True),
        (timeline(0.3, 0.01, 5), True),
        ([0.1], True),  # one token has no pace to miss
        (timeline(0.31, 0.01, 5), True),
        (timeline(0.9, 0.01, 5), True),
        (timeline(0.1, 0.06, 5), True),
        ([], True),
        (timeline(0.1, 0.01, 5), False),
    ]
    answers = {system: lambda n: arrivals[n] for system in ("base", "tuned")}
    (load,) = summary(timed(answers), goodput=LIMITS)["load"]
    busy = sum(times[-1] if times else 0.01 for times, _ in arrivals)
    tuned = load["tuned"]
    assert (load["concurrency"], load["requests"], tuned["failed"], tuned["good"]) == (1, 8, 2, 3)
    assert tuned["busy_seconds"] == pytest.approx(busy)
    assert tuned["goodput"] == pytest.approx(3 / busy)
    assert tuned["requests_per_second"] == pytest.approx(6 / busy)
    assert tuned["tokens_per_second"] == pytest.approx((5 * 6 + 1) / busy)
    without = summary(timed(answers))["load"][0]["tuned"]
    assert without["good"] is None and without["goodput"] is None


def test_the_gain_of_serving_together_is_answers_times_batching():
    """Base takes 1.2 s, tuned 0.5 s; four together take twice as long: 4 in 1.0 s against 1 in 1.2 s."""
    answers = {
        "base": lambda n: (timeline(0.2, 0.01, 101), True),
        "tuned": lambda n: (timeline(0.1, 0.008, 51), True),
    }
    lines = timed(answers, count=10, concurrency=(1, 4), stretch=lambda size: 2.0 if size == 4 else 1.0)
    alone, four = summary(lines, concurrency=[1, 4])["load"]
    assert (alone["requests"], four["requests"]) == (10, 8), "two prompts fill no batch of four"
    assert four["tuned"]["requests_per_second"] == pytest.approx(4.0)
    assert four["tuned"]["batching"] == pytest.approx(2.0) and four["base"]["batching"] == pytest.approx(2.0)
    assert four["tuned"]["seconds_to_first_token"]["p50"] == pytest.approx(0.2)
    assert four["gain"] == pytest.approx({"whole": 4.8, "answers": 2.4, "batching": 2.0})
    assert four["gain"]["whole"] == pytest.approx(
        four["gain"]["answers"] * four["gain"]["batching"], rel=1e-12
    )
    assert alone["gain"]["batching"] == 1.0 and alone["tuned"]["batching"] == 1.0


def test_what_was_not_measured_says_why_and_nothing_complete_has_no_gain():
    answers = {"base": lambda n: ([], True), "tuned": lambda n: ([0.5], True)}
    lines = timed(answers, count=3)
    alone, four = summarise_load(lines, [1, 4], LIMITS)
    assert four["tuned"] is None and four["requests"] == 0 and "fewer test prompts" in four["why"]
    assert alone["base"]["requests_per_second"] == 0 and alone["base"]["batching"] is None
    assert alone["gain"] is None
