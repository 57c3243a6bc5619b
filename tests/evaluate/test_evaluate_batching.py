"""How many prompts are answered at once, on a device whose memory is made up."""

from types import SimpleNamespace

import pytest
import torch

from kit.config.errors import ConfigError, ModelError
from kit.config.schema import Config, Evaluate
from kit.evaluate import batching
from kit.evaluate.batching import BatchSize, in_batches
from kit.evaluate.continuous import Row
from kit.evaluate.task_score import TaskScorer

PROMPTS = [Row(f"p{i}", [0] * (i % 7 + 1)) for i in range(100)]


def device(most: int, error: RuntimeError, seen: list[int]):
    """A device that holds `most` tokens of prompts padded to the longest."""

    def answer(rows: list[Row]) -> list[Row]:
        size = len(rows) * max(row.length for row in rows)
        if size > most:
            raise error
        seen.append(len(rows))
        return rows

    return answer


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_costs_speed_and_no_answer(error: RuntimeError) -> None:
    told, seen = [], []
    made = list(in_batches(PROMPTS, BatchSize.of(32), device(100, error, seen), told.append))
    answered = [row for batch in made for row in batch]
    assert sorted(row.id for row in answered) == sorted(row.id for row in PROMPTS)
    assert told == [
        "memory does not hold 32 prompts at once; going on with 16",
        "memory does not hold 16 prompts at once; going on with 8",
    ]
    assert max(seen) == 8
    lengths = [row.length for row in answered]
    assert lengths == sorted(lengths, reverse=True)


def test_another_error_is_no_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        list(in_batches(PROMPTS, BatchSize.of(4), device(1, RuntimeError("shape mismatch"), []), print))


def test_one_prompt_that_does_not_fit_is_told_with_what_to_do() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(ModelError, match=r"(?s)one prompt of 7 tokens.*max_new_tokens"):
        list(in_batches(PROMPTS, BatchSize.of(4), device(1, error, []), lambda said: None))


def test_auto_grows_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.1, 0.3, 0.9, 0.9, 0.9])
    monkeypatch.setattr(batching, "memory_share", lambda: next(shares))
    many = [Row(f"p{i}", [0]) for i in range(500)]
    seen: list[int] = []
    list(in_batches(many, BatchSize.of("auto"), device(10**9, RuntimeError(), seen), print))
    assert seen == [32, 64, 128, 128, 128, 20]


def test_auto_stays_where_nobody_knows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    seen: list[int] = []
    list(in_batches(PROMPTS, BatchSize.of("auto"), device(10**9, RuntimeError(), seen), print))
    assert seen == [32, 32, 32, 4]


def test_auto_stays_where_processes_answer_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "memory_share", lambda: 0.1)
    seen: list[int] = []
    size = BatchSize.of("auto", together=True)
    list(in_batches(PROMPTS, size, device(10**9, RuntimeError(), seen), print))
    assert seen == [32, 32, 32, 4], "each would look at its own memory"


def says_nothing(noted: list, name: str):
    """Stands for `generate`: empty answers; what it was given as `name` is noted."""

    def generate(model, tokenizer, asked, **given):
        noted.append(given[name])
        return [SimpleNamespace(id=prompt.id, output="", finished=True) for prompt in asked]

    return generate


@pytest.mark.parametrize(("sharding", "together"), [("none", False), ("fsdp", True)])
def test_a_checkpoint_is_scored_together_where_the_model_is_sharded(monkeypatch, sharding, together):
    asked = [SimpleNamespace(id="a", ids=lambda tokenizer: [0])]
    hardware = {"num_processes": 2, "sharding": sharding}
    config = Config.model_validate({"model": "tiny", "hardware": hardware})
    given: list[bool] = []
    monkeypatch.setattr("kit.evaluate.task_score.world_size", lambda: 2)
    monkeypatch.setattr("kit.evaluate.task_score.of_all", lambda answers: [answers])
    monkeypatch.setattr("kit.evaluate.generate.generate", says_nothing(given, "together"))
    monkeypatch.setattr("kit.evaluate.task_score.score_answers", lambda *_: SimpleNamespace(mean=0.25))
    metric = SimpleNamespace(higher_is_better=True, invalid_item=0.0)
    TaskScorer(config, asked, metric)(torch.nn.Linear(1, 1), None)
    assert given == [together]


def test_the_setting_is_a_number_or_auto() -> None:
    assert Evaluate.model_validate({"batch_size": "auto"}).batch_size == "auto"
    for wrong in (0, "many"):
        with pytest.raises((ValueError, ConfigError)):
            Evaluate.model_validate({"batch_size": wrong})


def test_what_was_learned_of_the_memory_stays_learned() -> None:
    told, seen, size = [], [], BatchSize.of(32)
    error = torch.OutOfMemoryError("CUDA out of memory")
    for _ in range(2):
        list(in_batches(PROMPTS, size, device(100, error, seen), told.append))
    assert size.prompts == max(seen) == 8
    assert len(told) == 2, "and is told once"


def test_training_learns_what_the_longest_answers_are_and_may_ask_fewer_at_once(monkeypatch):
    asked = [SimpleNamespace(id=str(n), ids=lambda tokenizer, n=n: [0] * n) for n in (3, 9, 5)]
    config = Config.model_validate({"model": "tiny", "evaluate": {"max_new_tokens": 7, "batch_size": 2}})
    given: list[int] = []
    monkeypatch.setattr("kit.evaluate.generate.generate", says_nothing(given, "batch_size"))
    monkeypatch.setattr("kit.evaluate.task_score.score_answers", lambda *_: SimpleNamespace(mean=0.25))
    model = torch.nn.Linear(1, 1)
    metric = SimpleNamespace(higher_is_better=False, invalid_item=1.0)
    score = TaskScorer(config, asked, metric)
    assert score.longest(None) == 9 + 7 and score.prompts == 2
    assert score(model, None) == -0.25, "lower is better, so the sign is flipped"
    score.prompts = 1
    score(model, None)
    assert given == [2, 1] and model.training, "and the model trains on"
