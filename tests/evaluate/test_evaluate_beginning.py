"""What all prompts begin with is read once, and no answer is another one for it."""

import copy
from types import SimpleNamespace

import pytest
from test_evaluate_generate import Watched, answer, generated, said

from kit.evaluate.continuous import Row, shared_beginning
from kit.evaluate.prompts import Prompt

SYSTEM = {"role": "system", "content": "You are the assistant of a bank. Name risks and promise nothing."}


def prompts(count):
    """Questions to one system, the system's own message first."""
    texts = [f"{'Well. ' * (n % 3)}Question {n}" for n in range(count)]
    return [
        Prompt(f"{n:04x}", [SYSTEM, {"role": "user", "content": text}], {}, {}, str(n))
        for n, text in enumerate(texts)
    ]


def rows(*prompts):
    return [Row(str(place), list(prompt)) for place, prompt in enumerate(prompts)]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_system_message_is_read_once_and_answers_are_those_of_generate(
    model, tokenizer, monkeypatch, attention
):
    model = copy.deepcopy(model)
    model.set_attn_implementation(attention)
    asked = prompts(20)
    wanted = list(generated(model, tokenizer, asked))
    watched = Watched(model, monkeypatch)
    assert said(answer(model, tokenizer, asked, batch_size=6)) == wanted
    begun, *read = [shape for shape in watched.given if shape[1] > 1]
    whole = [prompt.ids(tokenizer) for prompt in asked]
    shared = f"<|im_start|>system\n{SYSTEM['content']}<|im_end|><|im_start|>user\n"
    assert begun == (1, len(tokenizer.encode(shared, add_special_tokens=False)))
    assert sum(count for count, _ in read) == 20
    assert max(length for _, length in read) == max(map(len, whole)) - begun[1]


def test_sampled_answers_do_not_depend_on_the_batch_either(model, tokenizer):
    asked = prompts(12)
    alone = said(answer(model, tokenizer, asked, "sampled", batch_size=1))
    assert said(answer(model, tokenizer, asked, "sampled", batch_size=5)) == alone


def test_a_beginning_leaves_every_prompt_a_token_to_read(model):
    assert shared_beginning(model, rows([1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 9])) == [1, 2]
    assert shared_beginning(model, rows([1, 2], [1, 2, 3])) == [1]
    assert shared_beginning(model, rows([1, 2, 3], [1, 2, 3])) == [1, 2]
    assert shared_beginning(model, rows([1, 2], [3, 2])) == []
    assert shared_beginning(model, rows([1, 2, 3])) == [], "there is nobody to share it with"


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_model_that_encodes_places_by_the_whole_length_reads_prompts_whole(kind):
    whole = rows([1, 2, 3], [1, 2, 4])
    for rope in ({"rope_type": kind}, {"full_attention": {"rope_type": kind}}):
        config = SimpleNamespace(rope_parameters=rope)
        config.get_text_config = lambda decoder, config=config: config
        assert shared_beginning(SimpleNamespace(config=config), whole) == []
