"""Generation on a really small random model: same answers in any batch, resumed or not."""

import copy
import json

import numpy as np
import pytest
import torch

import kit.evaluate.generate as generation
from kit.config.schema import Sampling
from kit.evaluate.generate import NucleusSampler, generate, read_answer
from kit.evaluate.predictions import append_predictions, read_predictions
from kit.evaluate.prompts import Prompt, choose


def prompts(count):
    texts = [f"Question {n}{' and more' * (n % 5)}" for n in range(count)]
    return [
        Prompt(f"{n:04x}", [{"role": "user", "content": text}], {}, {}, str(n))
        for n, text in enumerate(texts)
    ]


def answer(model, tokenizer, asked, decoding="greedy", batch_size=4, seed=1, **more):
    sampling = Sampling(temperature=1.0, top_p=0.95)
    return generate(
        model,
        tokenizer,
        asked,
        decoding=decoding,
        max_new_tokens=16,
        batch_size=batch_size,
        seed=seed,
        sampling=sampling,
        **more,
    )


def said(answers):
    return [(a.id, a.output, a.new_tokens, a.finished) for a in answers]


@pytest.fixture
def many_stops(monkeypatch):
    """A random model hardly ever ends a turn; here a quarter of all bytes do."""
    stops = generation.stop_ids
    monkeypatch.setattr(generation, "stop_ids", lambda tokenizer: [*stops(tokenizer), *range(64)])


@pytest.mark.parametrize("tokens_a_round", [1, 3, 5, 48])
@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_answers_do_not_depend_on_the_batch(
    model, tokenizer, decoding, tokens_a_round, many_stops, monkeypatch
):
    asked = prompts(9)
    alone = said(answer(model, tokenizer, asked, decoding, batch_size=1))
    assert len({tokens for *_, tokens, _ in alone}) > 3, "they are of many lengths"
    monkeypatch.setattr(generation, "_ROUND", tokens_a_round)
    monkeypatch.setattr(generation, "_LONG", 10**9)
    assert said(answer(model, tokenizer, asked, decoding, batch_size=4)) == alone
    assert said(answer(model, tokenizer, asked[::-1], decoding, batch_size=9)) == alone[::-1]


def test_greedy_is_the_likeliest_token_step_by_step(model, tokenizer):
    from kit.data.render import prompt_ids, stop_ids

    asked = prompts(3)
    for made in answer(model, tokenizer, asked):
        ids = prompt_ids(asked[int(made.id, 16)].messages, tokenizer)
        new = []
        while len(new) < 16 and not (new and new[-1] in stop_ids(tokenizer)):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids + new])).logits[0, -1]
            new.append(int(logits.argmax()))
        output, count, finished = read_answer(tokenizer, new, stop_ids(tokenizer))
        assert (made.output, made.new_tokens, made.finished) == (output, count, finished)


def test_sampled_answers_follow_the_seed(model, tokenizer):
    asked = prompts(6)
    one = said(answer(model, tokenizer, asked, "sampled", seed=1))
    assert one == said(answer(model, tokenizer, asked, "sampled", seed=1))
    assert one != said(answer(model, tokenizer, asked, "sampled", seed=2))


def test_a_models_own_penalties_do_not_bend_greedy(model, tokenizer):
    asked = prompts(4)
    plain = said(answer(model, tokenizer, asked))
    before = model.generation_config.repetition_penalty
    model.generation_config.repetition_penalty = 5.0
    try:
        assert said(answer(model, tokenizer, asked)) == plain
    finally:
        model.generation_config.repetition_penalty = before


def test_the_sampler_draws_from_the_nucleus_with_its_probabilities():
    ids = [f"{n}" for n in range(4000)]
    sampler = NucleusSampler(
        ids, prompt_length=1, most_tokens=1, seed=3, sampling=Sampling(temperature=1.0, top_p=0.8)
    )
    scores = torch.log(torch.tensor([[0.1, 0.5, 0.35, 0.05]])).repeat(len(ids), 1)
    drawn = sampler(torch.zeros(len(ids), 1, dtype=torch.long), scores).argmax(dim=-1).numpy()
    shares = np.bincount(drawn, minlength=4) / len(ids)
    assert shares[[0, 3]].tolist() == [0, 0]  # 0.5 + 0.35 already hold 0.8
    assert shares[1] == pytest.approx(0.5 / 0.85, abs=0.03)


def test_the_sampler_with_a_tiny_nucleus_is_greedy():
    sampler = NucleusSampler(["a"], 1, 1, 0, Sampling(temperature=0.5, top_p=0.001))
    scores = torch.tensor([[0.0, 3.0, 2.9]])
    assert sampler(torch.zeros(1, 1, dtype=torch.long), scores).argmax().item() == 1


def test_an_answer_ends_at_its_first_stop_token(tokenizer):
    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    letters = tokenizer.encode("Yes", add_special_tokens=False)
    assert read_answer(tokenizer, [*letters, stop, pad, pad], [stop]) == ("Yes", 4, True)
    assert read_answer(tokenizer, letters, [stop]) == ("Yes", 3, False)
    assert read_answer(tokenizer, [stop, pad], [stop]) == ("", 1, True)


def test_batches_are_handed_over_as_they_come(model, tokenizer):
    batches = []
    answers = answer(model, tokenizer, prompts(9), on_answers=batches.append)
    assert [len(batch) for batch in batches] == [4, 4, 1]
    assert sorted(a.id for batch in batches for a in batch) == [a.id for a in answers]


def test_a_half_written_line_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "predictions.jsonl"
    line = {"id": "a", "system": "base", "decoding": "greedy", "output": "é"}
    append_predictions(path, [line])
    with path.open("a") as file:
        file.write('{"id": "b", "system": "ba')
    assert list(read_predictions(path)) == [("a", "base", "greedy")]
    append_predictions(path, [{**line, "id": "c"}])
    assert [json.loads(text)["id"] for text in path.read_text().splitlines()] == ["a", "c"]


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path):
    from kit.config.errors import InvalidRunError

    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "a", "system": "base", "decoding": "greedy"}\nnonsense\n')
    with pytest.raises(InvalidRunError, match=r"predictions\.jsonl:2"):
        read_predictions(path)


def test_the_bar_of_a_resumed_evaluation_goes_on_where_it_stopped(model, tokenizer, monkeypatch, capsys):
    """7 of 16 were there: the last word is 16 of 16, and the first was not 0 of 9."""
    from kit.evaluate import generate as module

    shown = []
    before = module.Progress.add_task
    monkeypatch.setattr(
        module.Progress, "add_task", lambda *a, **more: shown.append(more) or before(*a, **more)
    )
    answer(model, tokenizer, prompts(9), title="base, greedy", done=7)
    assert shown == [{"total": 16, "completed": 7}]
    assert "16/16" in capsys.readouterr().out


def test_chosen_prompts_are_the_same_in_any_order_and_spread_over_groups():
    many = [Prompt(f"{n * 31 % 97:04x}", [], {}, {}, f"g{n % 10}") for n in range(90)]
    chosen = choose(many, 10)
    assert chosen == choose(many[::-1], 10)
    assert len({prompt.group for prompt in chosen}) == 10
    assert [p.id for p in choose(many, 900)] == sorted(p.id for p in many)
    assert len(choose(many, 900, lambda prompt: prompt.group == "g3")) == 9


THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)


class Says:
    """A model that says the same to everything, and remembers what it was asked."""

    def __init__(self, tokens):
        self.tokens, self.asked = tokens, []

    def parameters(self):
        yield torch.zeros(1)

    def generate(self, input_ids, attention_mask, **_):
        self.asked += [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
        return torch.cat([input_ids, torch.tensor([self.tokens] * len(input_ids))], dim=1)


def test_each_prompt_is_asked_as_it_is_trained_and_only_the_answer_counts(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = THINKS
    tokens = tokenizer.encode("<think>\nhm\n</think>\n\nyes<|im_end|>", add_special_tokens=False)
    question = [{"role": "user", "content": "Is it safe?"}]
    tool = {"type": "function", "function": {"name": "look_up", "description": "Looks it up."}}
    asked = [
        Prompt("1", question, {}, {}, "1"),
        Prompt("2", question, {}, {}, "2", thinks=True),
        Prompt("3", question, {}, {}, "3", tools=[tool]),
    ]
    model = Says(tokens)
    plain, thought, _ = answer(model, tokenizer, asked, batch_size=1)
    assert thought.output == "yes"
    assert "hm" in plain.output, "not asked to think, so what it says counts as it stands"
    told = [tokenizer.decode(ids) for ids in sorted(model.asked, key=len)]
    assert [text.endswith("assistant\n") for text in told] == [True, False, False]
    assert "look_up" in told[2] and "look_up" not in told[1]


def test_a_batch_does_not_wait_for_its_longest_answer(model, tokenizer, many_stops, monkeypatch):
    """Rows that are finished take no part in the next round, and are handed over before it."""
    monkeypatch.setattr(generation, "_ROUND", 4)
    monkeypatch.setattr(generation, "_LONG", 10**9)
    sizes, handed = [], []
    made = model.generate

    def spy(**settings):
        sizes.append(len(settings["input_ids"]))
        return made(**settings)

    monkeypatch.setattr(model, "generate", spy)
    answers = answer(model, tokenizer, prompts(12), "sampled", batch_size=12, on_answers=handed.append)
    lengths = [a.new_tokens for a in answers]
    unfinished = [sum(length > begun for length in lengths) for begun in (0, 4, 8, 12)]
    assert sizes == [size for size in unfinished if size]
    assert 12 == sizes[0] > sizes[1] > 0
    assert len(handed[0]) == sizes[0] - sizes[1]
    assert sum(map(len, handed)) == 12


def test_answers_are_handed_over_long_before_the_last_batch_is_begun(model, tokenizer, monkeypatch):
    """However long answers are, an interruption loses what a few batches have begun."""
    monkeypatch.setattr(generation, "_ROUND", 4)
    monkeypatch.setattr(generation, "_LONG", 10**9)
    monkeypatch.setattr(generation, "_WINDOW", 2)
    handed, asked = [], []
    made = model.generate

    def spy(**settings):
        asked.append((len(settings["input_ids"]), sum(map(len, handed))))
        return made(**settings)

    monkeypatch.setattr(model, "generate", spy)
    answer(model, tokenizer, prompts(16), batch_size=2, on_answers=handed.append)
    assert sum(map(len, handed)) == 16
    # Each window of four prompts is complete before the next is begun: four rounds of two batches each.
    assert [kept for _, kept in asked[::8]] == [0, 4, 8, 12]
