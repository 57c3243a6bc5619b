"""Generation on a really small random model: same answers in any batch, resumed or not."""

import copy
import json
import re

import numpy as np
import pytest
import torch

import kit.evaluate.continuous as continuous
import kit.evaluate.generate as generation
from kit.config.schema import Sampling
from kit.drawing import uniforms
from kit.evaluate.batching import longest_first
from kit.evaluate.continuous import Row, why_not
from kit.evaluate.generate import generate, generation_config, read_answer
from kit.evaluate.predictions import append_predictions, read_predictions
from kit.evaluate.prompts import Prompt, choose
from kit.evaluate.sampling import draw


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


@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_answers_do_not_depend_on_the_batch(model, tokenizer, decoding, many_stops):
    asked = prompts(19)
    alone = said(answer(model, tokenizer, asked, decoding, batch_size=1))
    assert len({tokens for *_, tokens, _ in alone}) > 3, "they are of many lengths"
    for size in (2, 4, 9, 64):
        assert said(answer(model, tokenizer, asked, decoding, batch_size=size)) == alone
    assert said(answer(model, tokenizer, asked[::-1], decoding, batch_size=5)) == alone[::-1]


def generated(model, tokenizer, asked):
    """What transformers' own `generate` says to each prompt alone."""
    settings = generation_config(tokenizer, 16)
    for prompt in asked:
        ids = torch.tensor([prompt.ids(tokenizer)])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        output, count, finished = read_answer(
            tokenizer, out[0, ids.shape[1] :].tolist(), settings.eos_token_id
        )
        yield prompt.id, output, count, finished


def with_lora(model):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    settings = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(copy.deepcopy(model), settings).eval()


def with_virtual_tokens(model):
    from peft import PromptTuningConfig, get_peft_model

    torch.manual_seed(5)
    settings = PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    return get_peft_model(copy.deepcopy(model), settings).eval()


def windowed(model):
    """Every token sees the last twelve only."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(5)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = {name: getattr(model.config, name) for name in (*names, "num_key_value_heads", "head_dim")}
    return MistralForCausalLM(MistralConfig(**sizes, sliding_window=12, initializer_range=0.6)).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_greedy_answers_are_those_of_transformers_generate(model, tokenizer, many_stops, attention):
    model = copy.deepcopy(model)
    model.set_attn_implementation(attention)
    asked = prompts(19)
    wanted = list(generated(model, tokenizer, asked))
    assert said(answer(model, tokenizer, asked, batch_size=5)) == wanted


def test_an_adapter_answers_beside_its_base_as_generate_has_it(model, tokenizer, many_stops):
    adapted, asked = with_lora(model), prompts(11)
    assert why_not(adapted) == ""
    tuned = said(answer(adapted, tokenizer, asked))
    assert tuned == list(generated(adapted, tokenizer, asked))
    with adapted.disable_adapter():
        base = said(answer(adapted, tokenizer, asked))
    assert base == list(generated(model, tokenizer, asked)) != tuned


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (windowed, "its attention has windows or a state of its own"),
        (with_virtual_tokens, "its adapter is a part of the prompt"),
    ],
)
def test_what_cannot_be_answered_row_by_row_is_generated_in_batches(
    model, tokenizer, many_stops, capsys, made, reason
):
    made, asked = made(model), prompts(11)
    assert why_not(made) == reason
    assert said(answer(made, tokenizer, asked, title="base")) == list(generated(made, tokenizer, asked))
    assert f"batches wait for their longest answer: {reason}" in " ".join(capsys.readouterr().out.split())
    alone = said(answer(made, tokenizer, asked, "sampled", batch_size=1))
    assert said(answer(made, tokenizer, asked, "sampled")) == alone


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


def test_tokens_are_drawn_from_the_nucleus_with_its_probabilities():
    points = torch.tensor([uniforms(3, f"{n}", 1)[0] for n in range(4000)])
    scores = torch.log(torch.tensor([[0.1, 0.5, 0.35, 0.05]])).repeat(len(points), 1)
    drawn = draw(scores, points, Sampling(temperature=1.0, top_p=0.8)).numpy()
    shares = np.bincount(drawn, minlength=4) / len(points)
    assert shares[[0, 3]].tolist() == [0, 0]  # 0.5 + 0.35 already hold 0.8
    assert shares[1] == pytest.approx(0.5 / 0.85, abs=0.03)


def test_a_tiny_nucleus_is_greedy():
    scores, points = torch.tensor([[0.0, 3.0, 2.9]]), torch.tensor([0.99], dtype=torch.float64)
    assert draw(scores, points, Sampling(temperature=0.5, top_p=0.001)).tolist() == [1]


def test_an_answers_random_numbers_are_its_own():
    assert uniforms(1, "a", 3).tolist() == uniforms(1, "a", 9)[:3].tolist()
    assert uniforms(1, "a", 3).tolist() != uniforms(1, "b", 3).tolist() != uniforms(2, "b", 3).tolist()


def test_an_answer_ends_at_its_first_stop_token(tokenizer):
    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    letters = tokenizer.encode("Yes", add_special_tokens=False)
    assert read_answer(tokenizer, [*letters, stop, pad, pad], [stop]) == ("Yes", 4, True)
    assert read_answer(tokenizer, letters, [stop]) == ("Yes", 3, False)
    assert read_answer(tokenizer, [stop, pad], [stop]) == ("", 1, True)


def test_answers_are_handed_over_as_they_come(model, tokenizer, many_stops):
    handed = []
    answers = answer(model, tokenizer, prompts(40), batch_size=16, on_answers=handed.append)
    assert len(handed) > 5 and max(map(len, handed)) <= 16, "an interruption loses a batch at most"
    assert sorted(a.id for part in handed for a in part) == [a.id for a in answers]


def test_a_half_written_line_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "predictions.jsonl"
    line = {"id": "a", "system": "base", "decoding": "greedy", "output": "é"}
    append_predictions(path, [line])
    with path.open("a") as file:
        file.write('{"id": "b", "system": "ba')
    assert list(read_predictions(path)) == [("a", "base", "greedy", 0)]
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


class Watched:
    """Notes how many rows and tokens a model is given at a time."""

    def __init__(self, model, monkeypatch):
        self.given, inner = [], model.model.forward

        def forward(input_ids, **more):
            self.given.append(tuple(input_ids.shape))
            return inner(input_ids, **more)

        monkeypatch.setattr(model.model, "forward", forward)


def test_a_place_does_not_wait_for_the_longest_answer(model, tokenizer, many_stops, monkeypatch):
    """Every prompt is read once, no place is empty while prompts wait, and at the end none is left over."""
    watched = Watched(model, monkeypatch)
    answers = answer(model, tokenizer, prompts(60), "sampled", batch_size=8)
    begun, *read = [rows for rows, tokens in watched.given if tokens > 1]
    steps = [rows for rows, tokens in watched.given if tokens == 1]
    assert begun == 1, "what all prompts begin with"
    assert sum(read) == 60 and read[0] == 8 > max(read[1:])
    lengths = sorted(a.new_tokens for a in answers)
    assert lengths[0] == 1 and lengths[-1] > 9
    assert sum(lengths) - 60 <= sum(steps) < 1.1 * (sum(lengths) - 60), "hardly a place is empty"
    in_order = longest_first([Row(p.id, p.ids(tokenizer)) for p in prompts(60)])
    said_to = {a.id: a.new_tokens for a in answers}
    waits = [max(said_to[row.id] for row in in_order[start : start + 8]) for start in range(0, 60, 8)]
    assert len(steps) < 0.6 * sum(waits), "of the steps of batches that wait"


def test_the_cache_has_room_for_answers_of_any_length(model, tokenizer, monkeypatch):
    """Columns are added, moved and given up; 100 steps are four times what is added at once."""
    monkeypatch.setattr(continuous, "_COLUMNS", 3)
    asked = prompts(7)
    long = {"decoding": "greedy", "max_new_tokens": 100, "seed": 1, "sampling": Sampling()}
    alone = said(generate(model, tokenizer, asked, batch_size=1, **long))
    assert max(tokens for *_, tokens, _ in alone) == 100
    assert said(generate(model, tokenizer, asked, batch_size=3, **long)) == alone


@pytest.mark.parametrize("in_turn", [False, True])
def test_of_processes_that_answer_together_none_tries_fewer_by_itself(model, tokenizer, monkeypatch, in_turn):
    """The others would wait for it for ever."""
    passes = []

    def forward(*args, **more):
        passes.append(more)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.model, "forward", forward)
    if in_turn:
        monkeypatch.setattr(generation, "why_not", lambda model: "it cannot")
    with pytest.raises(torch.OutOfMemoryError):
        answer(model, tokenizer, prompts(4), together=True)
    assert len(passes) == 1


@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_what_was_said_before_memory_ran_out_is_gone_on_with(
    model, tokenizer, many_stops, monkeypatch, capsys, decoding
):
    asked = prompts(12)
    wanted = said(answer(model, tokenizer, asked, decoding))
    inner, steps = model.model.forward, []

    def forward(input_ids, **more):
        steps.append(input_ids.shape[1] == 1)
        if len(input_ids) > 3 and sum(steps) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(input_ids, **more)

    monkeypatch.setattr(model.model, "forward", forward)
    assert said(answer(model, tokenizer, asked, decoding, batch_size=8)) == wanted
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"memory does not hold \d prompts at once; going on with [123]$", told)
