"""How templates are asked for calls and reasoning, and what becomes of those that lose a part."""

import json
from pathlib import Path

import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from tool_rows import ANSWER, ASK, CALLED, PRICE, PRICED, TOOLS, calls, thought

from kit.data.chat_template import TemplateRefusedError
from kit.data.render import prompt_ids, prompt_text, render, stop_ids
from kit.data.rows import IGNORED
from kit.data.turns import thought_end
from kit.evaluate.generate import read_answer

NO_LIMIT = 10**6
OWN = (Path(__file__).parents[2] / "kit/models/templates/chatml.jinja").read_text(encoding="utf-8")

THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.reasoning_content and loop.last %}"
    "{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)


def test_turns_with_reasoning_are_asked_for_with_thinking_on_others_with_it_off() -> None:
    tokenizer = chat_tokenizer(THINKS)
    talk = [ASK, thought(ANSWER, "The list says 12."), {"role": "user", "content": "Thanks"}, ANSWER]
    first, second = render(talk, tokenizer, NO_LIMIT)
    assert prompt_text([ASK], tokenizer, thinking=True).endswith("assistant\n")
    assert first.input_ids[: len(prompt_ids([ASK], tokenizer, thinking=True))] == prompt_ids(
        [ASK], tokenizer, thinking=True
    )
    assert tokenizer.decode([label for label in first.labels if label != IGNORED]).startswith(
        "<think>\nThe list"
    )
    served = prompt_ids(talk[:3], tokenizer)
    assert second.input_ids[: len(served)] == served
    assert "The list" not in tokenizer.decode(second.input_ids), "history drops what was thought"


def test_reasoning_that_a_template_knows_nothing_of_is_written_before_the_answer() -> None:
    tokenizer = chat_tokenizer(CHATML)
    (sample,) = render([ASK, thought(ANSWER, "The list says 12.")], tokenizer, NO_LIMIT)
    trained = tokenizer.decode([label for label in sample.labels if label != IGNORED])
    assert trained == "<think>\nThe list says 12.\n</think>\n\nIt costs 12 euros.<|im_end|>"


def test_reasoning_that_a_template_takes_away_is_refused() -> None:
    drops = CHATML.replace(
        "{{ message.content + '<|im_end|>' }}{% endg",
        "{{ message.content.split('</think>')[-1] + '<|im_end|>' }}{% endg",
    )
    with pytest.raises(TemplateRefusedError, match="assistant's reasoning"):
        render([ASK, thought(ANSWER, "The list says 12.")], chat_tokenizer(drops), NO_LIMIT)


def test_arguments_are_text_for_a_template_that_joins_them() -> None:
    joins = OWN.replace("(call['function']['arguments'] | tojson)", "call['function']['arguments']")
    tokenizer = chat_tokenizer(joins)
    (sample,) = render(CALLED, tokenizer, NO_LIMIT, TOOLS)
    assert json.dumps(PRICE["function"]["arguments"]) in tokenizer.decode(sample.input_ids)


def test_a_template_of_its_own_for_tools_is_taken_where_there_are_tools() -> None:
    tokenizer = chat_tokenizer(OWN)
    (sample,) = render(CALLED, tokenizer, NO_LIMIT, TOOLS)
    tokenizer.chat_template = {"default": CHATML, "tool_use": OWN}
    assert render(CALLED, tokenizer, NO_LIMIT, TOOLS) == [sample]
    assert prompt_text([ASK], tokenizer) == prompt_text([ASK], chat_tokenizer(CHATML))
    with pytest.raises(TemplateRefusedError, match="assistant's tool call"):
        render(CALLED, tokenizer, NO_LIMIT)


def test_ids_are_counted_anew_and_a_template_gets_nine_characters() -> None:
    strict = OWN.replace(
        "{{- '<tool_call>",
        "{%- if call['id'] | length != 9 -%}{{ raise_exception('nine') }}{%- endif -%}"
        "{{- call['id'] + '<tool_call>",
    )
    tokenizer = chat_tokenizer(strict)
    named = [ASK, calls({**PRICE, "id": "call_GqKTv1YbTOZcBUbKXFdZ"}), PRICED, ANSWER]
    (sample,) = render(named, tokenizer, NO_LIMIT, TOOLS)
    assert render(CALLED, tokenizer, NO_LIMIT, TOOLS) == [sample]
    assert "GqKT" not in tokenizer.decode(sample.input_ids)


def test_a_call_may_end_with_a_token_of_its_own_and_generation_stops_there() -> None:
    own_end = OWN.replace(
        "{{- '<|im_end|>' -}}\n            {%- endgen",
        "{{- '<|call|>' if message['tool_calls'] else '<|im_end|>' -}}\n            {%- endgen",
    )
    tokenizer = chat_tokenizer(own_end)
    (sample,) = render([ASK, calls(PRICE)], tokenizer, NO_LIMIT, TOOLS)
    end = tokenizer.convert_tokens_to_ids("<|call|>")
    assert sample.labels[-1] == end
    assert end in stop_ids(tokenizer)


ARGUMENTS = "(call['function']['arguments'] | tojson)"
NOT_ASSISTANT = "message['content'] + '<|im_end|>' -}}\n        {%- endif"


@pytest.mark.parametrize(
    ("part", "instead", "reason"),
    [
        (ARGUMENTS, "'{}'", "drops the assistant's tool call"),
        (ARGUMENTS, f"({ARGUMENTS} | upper)", "drops the assistant's tool call"),
        ("(tool['function'] | tojson)", "tool['function']['name']", "drops the tool 'card_price'"),
        (NOT_ASSISTANT, NOT_ASSISTANT.partition("+ ")[2], "drops or changes the user message"),
        ("{{- message['content'] -}}", "", "drops the assistant's message"),
    ],
)
def test_templates_that_lose_a_part_are_refused_with_it(part: str, instead: str, reason: str) -> None:
    assert part in OWN
    spoken = [ASK, calls(PRICE, content="Let me see."), PRICED, ANSWER]
    with pytest.raises(TemplateRefusedError, match=reason):
        render(spoken, chat_tokenizer(OWN.replace(part, instead)), NO_LIMIT, TOOLS)


def test_an_answer_is_read_without_the_thought_before_it() -> None:
    tokenizer = chat_tokenizer(THINKS)
    stops = stop_ids(tokenizer)
    end = thought_end(tokenizer)
    assert end == "</think>"
    tokens = tokenizer.encode("<think>\nHm, 12.\n</think>\n\nIt is 12.<|im_end|>", add_special_tokens=False)
    assert read_answer(tokenizer, tokens, stops, end)[0] == "It is 12."
    assert read_answer(tokenizer, tokens[:-1], stops)[0].startswith("<think>")
    unfinished = tokenizer.encode("<think>\nHm", add_special_tokens=False)
    assert read_answer(tokenizer, unfinished, stops, end) == ("<think>\nHm", len(unfinished), False)
