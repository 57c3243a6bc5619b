"""Dialogues over `model.max_length`: what each policy keeps, and that no answer is cut or trained twice."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import chat_tokenizer
from dialogue_rows import dialogue
from test_data_render import REWRITES_HISTORY
from test_data_templates import REAL

from kit.config.schema import Config
from kit.data.length import Fitted, dialogue_samples, fit
from kit.data.prepared import load_split, load_summary
from kit.data.render import TemplateRefusedError, prompt_ids, render
from kit.data.rows import IGNORED, Rejection, Row
from kit.train.examples import tokenise

SYSTEM = {"role": "system", "content": "You are the assistant of a bank."}
TOKENIZERS = {
    "one sample a dialogue": chat_tokenizer(),
    "one sample a turn": chat_tokenizer(REWRITES_HISTORY),
    "words with marks": chat_tokenizer(word_marks=True),
}


def config(policy: str, limit: int, stage: str = "sft") -> Config:
    return Config.model_validate(
        {"model": {"max_length": limit}, "data": {"over_length": policy}, "train": {"stage": stage}}
    )


def long_dialogue(exchanges: int, seed: int = 0, words: int = 30) -> list[dict[str, str]]:
    draw = random.Random(seed)
    messages = [SYSTEM]
    for number in range(exchanges):
        question = f"Question {number}: " + "the card cost " * draw.randrange(1, words)
        answer = f"Answer {number}: " + "it costs euros " * draw.randrange(1, words)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def row(messages: list[dict[str, str]], split: Any = "train") -> Row:
    return Row("a.jsonl", 1, messages, {}, split=split)


def answers_of(labels: list[int], tokenizer) -> list[str]:
    """The texts of the runs of tokens that carry loss."""
    runs: list[list[int]] = []
    for before, label in zip([IGNORED, *labels], labels, strict=False):
        if label != IGNORED:
            runs += [[]] if before == IGNORED else []
            runs[-1].append(label)
    return [tokenizer.decode(run) for run in runs]


def windows(messages: list[dict[str, str]], tokenizer) -> dict[tuple[int, ...], tuple[int, int]]:
    """What serving sends for every answer after every possible beginning -> (beginning, exchange)."""
    exchanges = [messages[i : i + 2] for i in range(1, len(messages), 2)]
    sent = {}
    for first in range(len(exchanges)):
        for asked in range(first, len(exchanges)):
            before = [message for one in exchanges[first:asked] for message in one]
            prompt = [SYSTEM, *before, exchanges[asked][0]]
            sent[tuple(prompt_ids(prompt, tokenizer))] = (first, asked)
    return sent


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("seed", range(4))
def test_split_trains_every_answer_once_after_as_much_as_fits(name: str, seed: int) -> None:
    tokenizer, limit = TOKENIZERS[name], 256
    messages = long_dialogue(12, seed)
    found = fit(row(messages), tokenizer, config("split", limit))
    assert isinstance(found, Fitted)
    assert found.messages == messages, "the row itself stays whole"
    assert len(found.samples) > 2
    trained = [text for sample in found.samples for text in answers_of(sample.labels, tokenizer)]
    wanted = [message["content"].strip() for message in messages if message["role"] == "assistant"]
    assert [text.split("<|im_end|>")[0].split("\n")[-1] for text in trained] == wanted
    sent = windows(messages, tokenizer)
    for sample in found.samples:
        assert len(sample.input_ids) <= limit
        start = next(i for i, label in enumerate(sample.labels) if label != IGNORED)
        first, asked = sent[tuple(sample.input_ids[:start])]  # what serving sends, token for token
        if first > 0:
            last = asked + len(answers_of(sample.labels, tokenizer))
            more = [SYSTEM, *messages[2 * first - 1 : 2 * last + 1]]
            longest = max(len(one.input_ids) for one in render(more, tokenizer, 10**6))
            assert longest > limit, "one exchange more of context would have fitted"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_truncate_prompt_drops_the_oldest_turns_first(name: str) -> None:
    tokenizer, limit = TOKENIZERS[name], 256
    messages = long_dialogue(12)
    found = fit(row(messages), tokenizer, config("truncate-prompt", limit))
    assert isinstance(found, Fitted)
    gone = len(messages) - len(found.messages)
    assert gone % 2 == 0
    assert found.messages == [SYSTEM, *messages[gone + 1 :]], "whole exchanges, in the middle of nothing"
    assert f"left out: {gone} turns" in found.told
    with_one_more = [SYSTEM, *messages[gone - 1 :]]
    assert max(len(one.input_ids) for one in render(with_one_more, tokenizer, 10**6)) > limit


@pytest.mark.parametrize("text", ["the card cost " * 400, "这张卡多少钱" * 100], ids=["words", "no spaces"])
def test_truncate_prompt_then_cuts_the_beginning_of_the_question_at_a_word(text: str) -> None:
    tokenizer, limit = TOKENIZERS["one sample a dialogue"], 128
    asked = {"role": "user", "content": text.strip()}
    answer = {"role": "assistant", "content": "It costs 12 euros."}
    messages = [SYSTEM, *long_dialogue(2)[1:], asked, answer]
    found = fit(row(messages), tokenizer, config("truncate-prompt", limit))
    assert isinstance(found, Fitted)
    system, question, kept_answer = found.messages
    assert (system, kept_answer) == (SYSTEM, answer)
    assert text.strip().endswith(question["content"])
    before = text.strip().removesuffix(question["content"])
    assert " " not in text or before.endswith(" "), "at a word border"
    cut_less = text.strip()[len(before) - (len(before.rstrip()) != len(before)) - 1 :]
    longer = [SYSTEM, {"role": "user", "content": before.split()[-1] + cut_less}, answer]
    assert len(render(longer, tokenizer, 10**6)[0].input_ids) > limit, "one word more would not have fitted"
    assert "4 turns and " in found.told and "words of the question" in found.told


@pytest.mark.parametrize("policy", ["split", "truncate-prompt"])
def test_an_answer_that_does_not_fit_alone_is_turned_away(policy: str) -> None:
    tokenizer = TOKENIZERS["one sample a dialogue"]
    messages = [*long_dialogue(2, words=3), *dialogue("Why?", "it costs euros " * 300)["messages"]]
    found = fit(row(messages), tokenizer, config(policy, 128))
    assert isinstance(found, Rejection)
    assert found.check == "too_long"
    said = {"split": "turn 5 and its answer alone", "truncate-prompt": "its last answer leaves no room"}
    assert said[policy] in found.reason


@pytest.mark.parametrize("policy", ["drop", "error", "split", "truncate-prompt"])
def test_rows_of_valid_and_test_stay_whole_or_go(policy: str) -> None:
    tokenizer = TOKENIZERS["one sample a dialogue"]
    for split in ("valid", "test"):
        found = fit(row(long_dialogue(9), split), tokenizer, config(policy, 128))
        assert isinstance(found, Rejection)
        assert found.check == "too_long"
        short = fit(row(long_dialogue(1, words=2), split), tokenizer, config(policy, 128))
        assert isinstance(short, Fitted)
        assert not short.check


def test_pretraining_learns_every_token_of_a_split_dialogue_once() -> None:
    tokenizer = TOKENIZERS["one sample a dialogue"]
    messages = long_dialogue(12)
    samples = tokenise([{"messages": messages}], tokenizer, config("split", 256, "pretrain"))
    learned = "".join(tokenizer.decode(sample["labels"]) for sample in samples)
    assert all(learned.count(message["content"].strip()) == 1 for message in messages[1:])


@pytest.mark.skipif(not REAL, reason="no chat_templates in the shared test data")
def test_split_is_sound_for_every_real_template() -> None:
    messages = long_dialogue(6, words=6)[1:]
    for path in REAL:
        tokenizer = chat_tokenizer(path.read_text(encoding="utf-8"), eos="<|EOS|>", bos="<|BOS|>")
        try:
            shortest, longest = (
                max(len(one.input_ids) for one in render(part, tokenizer, 10**6))
                for part in (messages[:2], messages)
            )
        except TemplateRefusedError:
            continue
        samples = dialogue_samples(messages, tokenizer, config("split", (shortest + longest) // 2))
        assert max(len(one.input_ids) for one in samples) < longest
        together = "".join(text for one in samples for text in answers_of(one.labels, tokenizer))
        assert [together.count(f"Answer {number}:") for number in range(6)] == [1] * 6, path.name


# --- as a person types it -----------------------------------------------------------------------

WORDS = (
    "data.split.group_by=null",
    "data.split.column=part",
    "model.max_length=128",
    "data.checks.near_overlap=off",  # all of the questions are about the card
)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Forty short rows, then two long ones of train and one of test."""
    rows = [
        dialogue(f"Question {i}?", f"Yes, {i}.", topic="t", part=["train", "valid", "test"][i % 3])
        for i in range(40)
    ]
    parts = [(1, "train"), (2, "train"), (3, "test")]
    rows += [
        {"messages": long_dialogue(9, seed, words=6), "topic": "t", "part": part} for seed, part in parts
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def prepared(casekit, *words: str) -> tuple[Path, dict[str, Any]]:
    code, _, err = casekit("data", "prepare", *WORDS, *words)
    assert code == 0, err
    (folder,) = Path("data/prepared").iterdir()
    summary = load_summary(folder)
    counts = summary["rows"]
    assert counts["read"] == counts["kept"] + counts["rejected"] + counts["left_out"] == 43
    return folder, summary


def test_drop_is_the_default_and_lists_each(casekit, rows) -> None:
    folder, summary = prepared(casekit)
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert [(one["where"], one["check"]) for one in rejected] == [
        (f"a.jsonl:{line}", "too_long") for line in (41, 42, 43)
    ]
    assert summary["over_length"] == {
        "policy": "drop", "rejected": 3, "rows": 0, "samples": 0, "tokens_before": 0, "tokens_after": 0,
    }  # fmt: skip


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_error_stops_and_names_every_row(casekit, rows, command: str) -> None:
    code, out, err = casekit("data", command, *WORDS, "data.over_length=error")
    assert code == 2
    assert "data.over_length is error, and 3 dialogues are over model.max_length (128 tokens)" in err
    listed = out if command == "check" else err
    assert all(f"a.jsonl:{line}" in listed for line in (41, 42, 43))
    assert not Path("data/prepared").exists()


def test_error_is_no_hindrance_where_all_fits(casekit, rows) -> None:
    code, _, err = casekit("data", "check", *WORDS, "data.over_length=error", "model.max_length=4096")
    assert (code, err) == (0, "")


def test_split_counts_samples_apart_from_rows_and_trains_what_it_says(casekit, rows) -> None:
    folder, summary = prepared(casekit, "data.over_length=split")
    assert summary["rows"]["rejected"] == 1, "the row of test goes: it is asked whole or not at all"
    told = summary["over_length"]
    assert (told["policy"], told["rows"], told["rejected"]) == ("split", 2, 1)
    checks = {check["name"]: check for check in summary["checks"]}
    assert (checks["in_samples"]["count"], checks["in_samples"]["severity"]) == (2, "report")
    assert "tokens became" in checks["in_samples"]["examples"][0]["text"]
    train = load_split(folder, "train")
    assert sum(row.line > 40 for row in train) == 2, "a row stays a row, in one split and group"
    settings = Config.model_validate(summary_settings(summary))
    samples = tokenise([{"messages": row.messages} for row in train], chat_tokenizer(), settings)
    assert len(samples) == len(train) - 2 + told["samples"]
    assert max(len(sample["input_ids"]) for sample in samples) <= 128
    page = (folder / "data.html").read_text()
    assert f"in {told['samples']} samples" in page
    code, out, _ = casekit("data", "show", "a.jsonl:41", *WORDS, "data.over_length=split")
    assert code == 0
    assert "sample 1 of " in out
    assert out.count("⟪") == 10, "nine answers and the legend"


def summary_settings(summary: dict[str, Any]) -> dict[str, Any]:
    settings = summary["settings"]
    return {"data": settings["data"] | {"sources": []}, "model": {"max_length": settings["max_length"]}}


def test_truncate_prompt_writes_the_shorter_prompt_and_tells_both_lengths(casekit, rows) -> None:
    folder, summary = prepared(casekit, "data.over_length=truncate-prompt")
    told = summary["over_length"]
    assert (told["rows"], told["samples"], told["rejected"]) == (2, 2, 1)
    assert told["tokens_before"] > told["tokens_after"] > 100
    (kept,) = (row for row in load_split(folder, "train") if row.line == 41)
    found = rows[40]["messages"]
    assert kept.messages[-1]["content"] == found[-1]["content"].strip(), "the answer is whole"
    assert kept.messages[0] == SYSTEM
    assert len(kept.messages) < len(found)
    checks = {check["name"]: check["count"] for check in summary["checks"]}
    assert checks["shortened"] == 2
    assert (
        f"{told['tokens_before']} tokens became {told['tokens_after']}" in (folder / "data.html").read_text()
    )


def pair_row(prompt: list[dict[str, str]], chosen: str, rejected: str) -> Row:
    row_ = row([*prompt, {"role": "assistant", "content": chosen}])
    row_.rejected = {"role": "assistant", "content": rejected}
    return row_


def test_a_pair_is_learned_as_one_and_both_answers_must_fit() -> None:
    tokenizer, limit = TOKENIZERS["one sample a dialogue"], 128
    prompt = [*long_dialogue(6), {"role": "user", "content": "Which card?"}]
    pair = pair_row(prompt, "The first card.", "it costs euros " * 20)
    split = fit(pair, tokenizer, config("split", limit))
    assert isinstance(split, Rejection)
    assert split.check == "too_long"
    found = fit(pair, tokenizer, config("truncate-prompt", limit))
    assert isinstance(found, Fitted)
    assert found.messages[-1] == pair.messages[-1]
    assert len(found.samples) == 2, "the chosen side and the rejected"
    assert max(len(one.input_ids) for one in found.samples) <= limit
    assert found.samples[0].prompt_ids == found.samples[1].prompt_ids
    too_long = pair_row(prompt, "The first card.", "it costs euros " * 200)
    assert isinstance(fit(too_long, tokenizer, config("truncate-prompt", limit)), Rejection)


def test_tool_calls_and_their_results_stay_together() -> None:
    tokenizer = chat_tokenizer(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}"
        "{% for call in m.tool_calls or [] %}{{ '<call>' + call.function.name }}"
        "{{ call.function.arguments | tojson }}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    plain = long_dialogue(8)
    found = fit(row(plain), tokenizer, config("split", 256))
    assert isinstance(found, Fitted)
    exchanges = [[plain[i], plain[i + 1]] for i in range(1, len(plain), 2)]
    call = {"type": "function", "function": {"name": "price", "arguments": {"card": "blue"}}}
    with_tools = [SYSTEM]
    for asked, answered in exchanges:
        with_tools += [
            asked,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": "price", "content": "12"},
            answered,
        ]
    samples = dialogue_samples(with_tools, tokenizer, config("split", 384))
    trained = [text for sample in samples for text in answers_of(sample.labels, tokenizer)]
    assert sum("price" in text for text in trained) == 8, "every call is trained once"
    assert [text.split(":")[0] for text in trained if text.startswith("Answer")] == [
        f"Answer {number}" for number in range(8)
    ]
    for sample in samples:
        assert len(sample.input_ids) <= 384
        text = tokenizer.decode(sample.input_ids)
        assert text.index("<|im_start|>user") < text.index("<call>"), "no call without its question"
