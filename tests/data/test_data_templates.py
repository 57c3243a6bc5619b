"""Every chat template we know either trains exactly what is served, or is refused with the reason.

The collection is real: 124 templates of vendors and of training libraries. They are no part of the
repository; the template that the kit ships is always tested.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import chat_tokenizer, shared_data
from tool_rows import SCENARIOS

from kit.config.errors import ModelError
from kit.config.schema import Model
from kit.data.chat_template import TemplateRefusedError, control_pattern
from kit.data.render import IGNORED, Rendered, prompt_ids, prompt_text, render, stop_ids
from kit.models.loading import load_tokenizer

NO_LIMIT = 10**6
OWN = sorted((Path(__file__).parents[2] / "kit/models/templates").glob("*.jinja"))
REAL = sorted((shared_data() / "chat_templates").glob("*.jinja"))

needs_collection = pytest.mark.skipif(len(REAL) != 124, reason="no chat_templates in the shared test data")

REASONS = {
    "drops the tool": "tools are not shown",
    "assistant's tool call": "calls are changed or dropped",
    "assistant's message": "text beside a call is dropped",
    "assistant's reasoning": "reasoning is dropped",
    "user message": "takes content blocks only",
    "has no attribute 'text'": "takes content blocks only",
    "system message": "takes no system message",
    "System role": "takes no system message",
    "within a turn": "ends a turn within it",
    "would not stop": "ends a turn within it",
    "before this turn": "another header than in the prompt",
    "generation prompt ends in": "prompt and finished turn differ",
    "chat template refuses it": "the template fails",
}
"""What a refusal says -> what the templates that are refused so have in common."""

FAIL = "the template fails"
DIFFER = "prompt and finished turn differ"
UNSHOWN = "tools are not shown"
EXPECTED: dict[str, tuple[int, dict[str, int]]] = {
    "plain": (107, {DIFFER: 9, FAIL: 5, "takes content blocks only": 3}),
    "system": (105, {DIFFER: 9, FAIL: 5, "takes no system message": 3, "takes content blocks only": 2}),
    "multi-turn": (107, {DIFFER: 9, FAIL: 5, "takes content blocks only": 3}),
    "tools": (
        67,
        {
            UNSHOWN: 39,
            FAIL: 7,
            DIFFER: 5,
            "calls are changed or dropped": 3,
            "another header than in the prompt": 2,
            "ends a turn within it": 1,
        },
    ),
    "tools and system": (
        65,
        {
            UNSHOWN: 35,
            FAIL: 7,
            DIFFER: 6,
            "takes no system message": 3,
            "calls are changed or dropped": 3,
            "another header than in the prompt": 2,
            "takes content blocks only": 2,
            "ends a turn within it": 1,
        },
    ),
    "tool call last": (
        71,
        {UNSHOWN: 39, FAIL: 7, DIFFER: 3, "calls are changed or dropped": 3, "ends a turn within it": 1},
    ),
    "parallel tool calls": (
        62,
        {
            UNSHOWN: 39,
            FAIL: 9,
            "calls are changed or dropped": 7,
            DIFFER: 5,
            "another header than in the prompt": 2,
        },
    ),
    "text and tool call": (
        57,
        {
            UNSHOWN: 39,
            "text beside a call is dropped": 11,
            FAIL: 7,
            DIFFER: 6,
            "calls are changed or dropped": 3,
            "ends a turn within it": 1,
        },
    ),
    "thinking": (89, {"reasoning is dropped": 25, FAIL: 5, "takes content blocks only": 3, DIFFER: 2}),
    "thinking once": (87, {"reasoning is dropped": 25, FAIL: 5, DIFFER: 4, "takes content blocks only": 3}),
    "thinking and tools": (
        51,
        {
            UNSHOWN: 39,
            "reasoning is dropped": 19,
            FAIL: 7,
            DIFFER: 4,
            "calls are changed or dropped": 3,
            "ends a turn within it": 1,
        },
    ),
}
"""Scenario -> how many templates are right, and how many are refused for which reason."""


def tokenizer_of(path: Path) -> Any:
    return chat_tokenizer(path.read_text(encoding="utf-8"), eos="<|EOS|>", bos="<|BOS|>")


def runs(samples: list[Rendered], messages: list, tools: list, tokenizer: Any) -> list[list[int]]:
    """The labelled tokens of every assistant turn, each found behind the prompt that serving would send."""
    answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    assert len(samples) in (1, len(answers))
    found = []
    for place, number in enumerate(answers):
        sample = samples[0] if len(samples) == 1 else samples[place]
        thinking = "reasoning_content" in messages[number]
        served = prompt_ids(messages[:number], tokenizer, tools, thinking)
        assert sample.input_ids[: len(served)] == served, "the training prompt is the serving prompt"
        text = prompt_text(messages[:number], tokenizer, tools, thinking)
        assert tokenizer.decode(sample.input_ids).encode().startswith(text.encode()), "byte for byte"
        labels = sample.labels[len(served) :]
        end = next((i for i, label in enumerate(labels) if label == IGNORED), len(labels))
        found.append(labels[:end])
    return found


def parts_of(message: dict[str, Any]) -> list[str]:
    """What an assistant message says, in order: reasoning, then content and calls as the template likes."""
    values = []
    for made in message.get("tool_calls", ()):
        values += [made["function"]["name"], *map(str, made["function"]["arguments"].values())]
    return [part for part in [message.get("reasoning_content"), message["content"], *values] if part]


def assert_sound(samples: list[Rendered], messages: list, tools: list, tokenizer: Any) -> None:
    """The invariants that hold for every template that is accepted."""
    stops = set(stop_ids(tokenizer))
    for sample in samples:
        pairs = zip(sample.input_ids, sample.labels, strict=True)
        assert all(label in (IGNORED, token) for token, label in pairs)
        assert sample.input_ids.count(tokenizer.bos_token_id) <= 1, "a doubled beginning of sequence"
    turns = [message for message in messages if message["role"] == "assistant"]
    found = runs(samples, messages, tools, tokenizer)
    labelled = sum(label != IGNORED for sample in samples for label in sample.labels)
    assert labelled == sum(map(len, found)), "a prompt token carries loss"
    controls = control_pattern(tokenizer)
    for message, tokens in zip(turns, found, strict=True):
        assert tokens[-1] in stops, "the token that ends the turn carries loss"
        assert stops.isdisjoint(tokens[:-1]), "generation would stop within the turn"
        text = tokenizer.decode(tokens)
        for part in parts_of(message):
            escaped = json.dumps(part, ensure_ascii=False)[1:-1]
            assert part in text or escaped in text, f"{part!r} carries no loss"
        if not message.get("tool_calls"):
            assert controls.sub("", text).strip().endswith(message["content"]), "words behind the answer"
        others = [m["content"] for m in messages if m["role"] != "assistant"]
        others += [each["function"]["description"] for each in tools]
        assert not any(other in text for other in others if other != "low"), "a prompt's words carry loss"


def reason_of(refusal: TemplateRefusedError) -> str:
    message = refusal.problems[0].message
    return next((reason for said, reason in REASONS.items() if said in message), message)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_the_template_that_the_kit_ships_takes_everything(path: Path, scenario: str) -> None:
    messages, tools = SCENARIOS[scenario]
    tokenizer = chat_tokenizer(path.read_text(encoding="utf-8"))
    (sample,) = render(messages, tokenizer, NO_LIMIT, tools)
    assert_sound([sample], messages, tools, tokenizer)
    assert marked_alike(messages, tools, tokenizer)


@needs_collection
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_real_template_is_right_or_refused(scenario: str) -> None:
    messages, tools = SCENARIOS[scenario]
    refused: Counter[str] = Counter()
    told: dict[str, list[str]] = {}
    for path in REAL:
        tokenizer = tokenizer_of(path)
        try:
            samples = render(messages, tokenizer, NO_LIMIT, tools)
        except TemplateRefusedError as refusal:
            refused[reason_of(refusal)] += 1
            told.setdefault(reason_of(refusal), []).append(path.stem)
            continue
        assert_sound(samples, messages, tools, tokenizer)
    assert (len(REAL) - refused.total(), dict(refused)) == EXPECTED[scenario], told


@needs_collection
def test_padding_never_ends_a_turn(tmp_path: Path) -> None:
    loaded = 0
    for path in REAL:
        tokenizer = tokenizer_of(path)
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.save_pretrained(tmp_path / path.stem)
        try:
            ready = load_tokenizer(Model(name=str(tmp_path / path.stem)))
        except ModelError as error:
            assert "safe to pad with" in str(error)
            continue
        assert ready.pad_token_id not in stop_ids(ready), path.stem
        loaded += 1
    assert loaded > 100


def marked_alike(messages: list, tools: list, tokenizer: Any) -> bool:
    """What carries loss is what the template's own `{% generation %}` marks, but for the token that ends a
    turn and for headers. False where the template writes a finished dialogue differently.
    """
    stop_ids(tokenizer)  # once asked, it renders nothing more
    asked: list[tuple[list, dict]] = []
    apply = tokenizer.apply_chat_template

    def spy(said: list, **settings: Any) -> Any:
        asked.append((said, settings))
        return apply(said, **settings)

    tokenizer.apply_chat_template = spy
    samples = render(messages, tokenizer, NO_LIMIT, tools)
    whole = [(said, settings) for said, settings in asked if not settings["add_generation_prompt"]]
    # The last turn is rendered last, as it is and then with marks.
    said, settings = whole[-2]
    settings = settings | {"tokenize": True, "return_assistant_tokens_mask": True, "return_dict": True}
    marked = apply(said, **settings)
    ids, mask = marked["input_ids"], marked["assistant_masks"]
    sample = samples[-1]
    if ids[: len(sample.input_ids)] != sample.input_ids:
        return False
    ours = [label != IGNORED for label in sample.labels]
    last_of_turn = [trained and not after for trained, after in zip(ours, [*ours[1:], False], strict=True)]
    for place, trained in enumerate(ours):
        assert mask[place] or not trained or last_of_turn[place], "the template marks it as a prompt"
    first = 0 if len(samples) == 1 else ours.index(True)
    more = [ids[i] for i in range(first, len(ours)) if mask[i] and not ours[i]]
    text = re.sub(r"</?think>|assistant", "", tokenizer.decode(more))
    assert control_pattern(tokenizer).sub("", text).strip() == "", "the template marks more than a header"
    return True


@needs_collection
def test_loss_is_where_templates_with_generation_marks_want_it() -> None:
    compared = 0
    for path in REAL:
        if not re.search(r"\{%-?\s*generation", path.read_text(encoding="utf-8")):
            continue
        for messages, tools in SCENARIOS.values():
            try:
                compared += marked_alike(messages, tools, tokenizer_of(path))
            except TemplateRefusedError:
                continue
    assert compared > 200
