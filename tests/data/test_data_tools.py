"""Tools, calls and reasoning: read in every dialect, checked, compared, masked, stored and shown."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from reading import read_source
from tool_rows import (
    ANSWER,
    ASK,
    CALLED,
    PRICE,
    PRICED,
    RISK,
    TOOLS,
    call,
    calls,
    result,
    thought,
)

from kit.config.schema import Config
from kit.data.prepare import check, prepare
from kit.data.prepared import load_split
from kit.data.render import prompt_ids
from kit.data.rows import IGNORED, Rejection, Row
from kit.data.show import pieces
from kit.evaluate.prompts import load_prompts
from kit.hooks import Hooks
from kit.train.examples import load_rows, tokenise

NO_LIMIT = 10**6
OWN = (Path(__file__).parents[2] / "kit/models/templates/chatml.jinja").read_text(encoding="utf-8")


@pytest.fixture
def project(project):
    project.tokenizer = chat_tokenizer(OWN)
    project.config = partial(project.config, max_length=4096)  # tools are long
    return project


def read_one(project, record: dict[str, Any], hooks: Hooks | None = None, **source: Any) -> Row | Rejection:
    file = project.write("one.jsonl", [record])
    config = Config.model_validate({"data": {"sources": [{**file, **source}]}})
    _, items = read_source(config.data.sources[0], config, project.root, hooks or Hooks())
    (row,) = items
    return row


def openai_call(name: str, arguments: Any, id_: str | None = None) -> dict[str, Any]:
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": id_, **made} if id_ else made


SAME = dict.fromkeys(("overlap", "duplicates", "near_overlap"), "report")
PRICE_JSON = json.dumps(PRICE["function"]["arguments"])


# What is read


def test_openai_calls_are_read_with_arguments_as_text_or_object(project) -> None:
    for arguments in (PRICE["function"]["arguments"], PRICE_JSON):
        turn = {"role": "assistant", "content": None, "tool_calls": [openai_call("card_price", arguments)]}
        row = read_one(project, {"messages": [ASK, turn, PRICED, ANSWER], "tools": TOOLS})
        assert (row.messages, row.tools) == (CALLED, TOOLS)
        assert "tools" not in row.fields


def test_ids_names_and_the_older_function_call_are_read(project) -> None:
    turn = {"role": "assistant", "content": "", "tool_calls": [openai_call("card_price", PRICE_JSON, "c1")]}
    back = {"role": "tool", "content": "12", "tool_call_id": "c1", "name": "card_price"}
    row = read_one(project, {"messages": [ASK, turn, back, ANSWER]})
    assert row.messages[1]["tool_calls"] == [{**PRICE, "id": "c1"}]
    assert row.messages[2] == back
    old = {"role": "assistant", "content": None, "function_call": PRICE["function"]}
    row = read_one(
        project, {"messages": [ASK, old, {"role": "function", "name": "card_price", "content": "12"}, ANSWER]}
    )
    assert [m["role"] for m in row.messages] == ["user", "assistant", "tool", "assistant"]
    assert row.messages[1] == calls(PRICE)


def test_names_that_parquet_gives_every_row_are_left_out(project) -> None:
    from datasets import Dataset

    talks = [{"messages": [ASK, calls(made), PRICED, ANSWER], "tools": TOOLS} for made in (PRICE, RISK)]
    Dataset.from_list(talks).to_parquet(str(project.root / "a.parquet"))
    config = Config.model_validate({"data": {"sources": [{"path": "a.parquet"}]}})
    _, items = read_source(config.data.sources[0], config, project.root, Hooks())
    first, second = items
    assert (first.messages, second.messages) == tuple(talk["messages"] for talk in talks)
    assert first.tools == TOOLS


def test_sharegpt_calls_and_observations_are_read(project) -> None:
    functions = [tool["function"] for tool in TOOLS]
    turns = [
        {"from": "human", "value": ASK["content"]},
        {"from": "function_call", "value": json.dumps(PRICE["function"])},
        {"from": "observation", "value": PRICED["content"]},
        {"from": "gpt", "value": ANSWER["content"]},
    ]
    row = read_one(project, {"conversations": turns, "tools": json.dumps(functions)})
    assert (row.messages, row.tools) == (CALLED, TOOLS)
    turns[1]["value"] = json.dumps([PRICE["function"], RISK["function"]])
    turns[2]["value"] = json.dumps([{"price": 12}, "low"])
    row = read_one(project, {"conversations": turns, "tools": functions})
    assert row.messages == [ASK, calls(PRICE, RISK), PRICED, result("low"), ANSWER]


@pytest.mark.parametrize(
    "content", ["<think>\nIt is 12.\n</think>\n\nTwelve.", "<think>It is 12.</think>Twelve."]
)
def test_a_thought_before_the_answer_stands_beside_it(project, content: str) -> None:
    for record in (
        {"messages": [ASK, {"role": "assistant", "content": content}]},
        {"prompt": ASK["content"], "completion": content},
        {"messages": [ASK, {"role": "assistant", "content": "Twelve.", "reasoning_content": "It is 12."}]},
    ):
        said = read_one(project, record).messages[-1]
        assert said == {"role": "assistant", "content": "Twelve.", "reasoning_content": "It is 12."}


def test_an_empty_thought_is_none(project) -> None:
    row = read_one(project, {"prompt": "How much?", "completion": "<think>\n\n</think>\n\nTwelve."})
    assert row.messages[-1] == {"role": "assistant", "content": "Twelve."}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            {"messages": [ASK, calls(openai_call("card_price", '{"card": '))]},
            "arguments of the call to 'card_",
        ),
        ({"messages": [ASK, calls(openai_call("card_price", "[1]"))]}, "must be an object"),
        ({"messages": [ASK, calls(openai_call("card_price", '{"a": 1, "a": 2}'))]}, "'a' stands twice"),
        (
            {"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [{"id": "x"}]}]},
            "a tool call",
        ),
        ({"messages": [ASK, calls(openai_call("card_price", '{"a": NaN}'))]}, "cannot be written as JSON"),
        ({"messages": [ASK, calls(openai_call("card_price", {"a": "b\0"}))]}, "NUL character"),
        ({"messages": [{**ASK, "tool_calls": [PRICE]}, ANSWER]}, "tool calls are the assistant's"),
        ({"messages": [ASK, ANSWER], "tools": "a hammer"}, "tools must be JSON"),
        ({"messages": [ASK, ANSWER], "tools": [{"type": "function"}]}, "a function schema with a name"),
        ({"messages": [ASK, ANSWER], "tools": [TOOLS[0], TOOLS[0]]}, "'card_price' twice"),
        (
            {"messages": [ASK, thought({**ANSWER, "content": "<think>a</think>b"}, "c")]},
            "reasoning stands beside it too",
        ),
    ],
)
def test_broken_calls_tools_and_thoughts_cost_their_row_with_the_reason(project, record, reason) -> None:
    row = read_one(project, record)
    assert isinstance(row, Rejection)
    assert row.check == "format" and reason in row.reason


@pytest.mark.parametrize(
    ("returned", "left"),
    [
        (lambda row: {"messages": row["messages"]}, TOOLS),
        (lambda row: {**row, "tools": row["tools"][:1]}, TOOLS[:1]),
        (lambda row: {**row, "tools": []}, []),
    ],
)
def test_a_reader_returns_tools_and_a_cleaner_may_change_them(project, returned, left) -> None:
    project.hooks = Hooks(
        readers={"mine": lambda record: {"messages": CALLED, "tools": TOOLS}}, cleaners={"mine": returned}
    )
    source = {**project.write("a.jsonl", [{"n": 1}]), "format": "mine", "split": "train"}
    held_out = {**project.write("b.jsonl", [{"n": 2}]), "format": "mine", "split": "test"}
    settings = {"cleaners": ["mine"], "split": {"valid": 0.0}, "checks": SAME}
    folder = project.prepare(source, held_out, **settings)
    assert [row.tools for row in load_split(folder, "train")] == [left]


# What is checked


def rejections(project, *records: dict[str, Any], **settings: Any) -> list[tuple[str, str]]:
    found = project.look(project.write("a.jsonl", list(records)), **settings)
    return [(rejection.check, rejection.reason) for rejection in found.rejected]


@pytest.mark.parametrize(
    ("messages", "check", "reason"),
    [
        (
            [ASK, calls(PRICE), ANSWER],
            "roles",
            "turn 3 is the assistant's, expected the tool's; 1 tool calls",
        ),
        (
            [ASK, calls(PRICE, RISK), PRICED, ANSWER],
            "roles",
            "turn 4 is the assistant's, expected the tool's",
        ),
        ([ASK, calls(PRICE), PRICED, result("again"), ANSWER], "roles", "expected the assistant's"),
        ([ASK, calls(PRICE), PRICED], "roles", "ends with the tool"),
        ([ASK, PRICED, ANSWER], "roles", "turn 2 is the tool's"),
        ([ASK, calls(PRICE), PRICED, ASK, ANSWER], "roles", "turn 4 is the user's, expected the assistant's"),
        ([ASK, ASK, ANSWER], "roles", "turn 2 is the user's"),
        ([ASK, thought({"role": "assistant", "content": ""}, "Hm.")], "empty", "turn 2"),
        ([ASK, calls(call("card_prise")), PRICED, ANSWER], "tools", "did you mean `card_price`"),
        (
            [ASK, calls({**PRICE, "id": "a"}), {**PRICED, "tool_call_id": "b"}, ANSWER],
            "tools",
            "result of the call 'b'",
        ),
        (
            [ASK, calls({**PRICE, "id": "a"}, {**RISK, "id": "a"}), PRICED, PRICED, ANSWER],
            "tools",
            "the id 'a' again",
        ),
    ],
)
def test_dialogues_whose_calls_and_results_do_not_fit_are_rejected(project, messages, check, reason) -> None:
    ((found, said),) = rejections(project, {"messages": messages, "tools": TOOLS})
    assert found == check
    assert reason in said


@pytest.mark.parametrize(
    "messages",
    [
        CALLED,
        [ASK, calls(PRICE)],
        [ASK, calls(PRICE, RISK), PRICED, result("low"), ANSWER],
        [ASK, calls(PRICE), PRICED, calls(RISK), result(""), ANSWER],
        [
            ASK,
            calls({**PRICE, "id": "a"}, {**RISK, "id": "b"}),
            {**result("low"), "tool_call_id": "b"},
            {**PRICED, "tool_call_id": "a"},
            ANSWER,
        ],
    ],
)
def test_dialogues_whose_calls_and_results_fit_are_kept(project, messages) -> None:
    assert rejections(project, {"messages": messages, "tools": TOOLS}) == []


def test_control_tokens_in_calls_results_and_tools_are_refused(project) -> None:
    forged = "<|im_end|>"
    spelt = json.loads(json.dumps(TOOLS).replace("Looks up", forged))
    for messages, tools in (
        ([ASK, calls(call("card_price", card=forged)), PRICED, ANSWER], TOOLS),
        ([ASK, calls(PRICE), result(f"12{forged}"), ANSWER], TOOLS),
        ([ASK, thought(ANSWER, f"Hm.{forged}")], []),
        (CALLED, spelt),
    ):
        ((check, reason),) = rejections(project, {"messages": messages, "tools": tools})
        assert check == "template" and forged in reason


def test_a_template_that_takes_no_tools_refuses_the_row(project) -> None:
    project.tokenizer = chat_tokenizer(CHATML)
    ((check, reason),) = rejections(project, {"messages": CALLED, "tools": TOOLS})
    assert (check, reason) == (
        "template",
        "the chat template drops the tool 'card_price', or what is told of it",
    )
    ((check, reason),) = rejections(project, {"messages": CALLED})
    assert check == "template" and "assistant's tool call" in reason


def test_rows_that_differ_in_a_call_or_in_their_tools_alone_are_two(project) -> None:
    named = [ASK, calls({**PRICE, "id": "call_1"}), {**PRICED, "tool_call_id": "call_1"}, ANSWER]
    other = [ASK, calls(call("card_price", card='blue "gold"', years=3)), PRICED, ANSWER]
    longer = [ASK, calls(call("card_prices", **PRICE["function"]["arguments"])), PRICED, ANSWER]
    records = [
        {"messages": CALLED, "tools": TOOLS},
        {"messages": named, "tools": TOOLS},
        {"messages": other, "tools": TOOLS},
        {"messages": CALLED, "tools": TOOLS[:1]},
        {"messages": longer},
    ]
    settings = {"checks": {"near_duplicate": "reject"}, "split": {"valid": 0.0, "test": 0.0}}
    assert rejections(project, *records, **settings) == [("duplicate", "same as a.jsonl:1")]


def test_one_question_with_two_calls_is_a_conflict(project) -> None:
    ends = [[ASK, calls(PRICE)], [ASK, calls(RISK)]]
    records = [{"messages": messages, "tools": TOOLS} for messages in ends]
    assert rejections(project, *records) == [("conflict", "answers the prompt of a.jsonl:1 differently")]
    records[1]["tools"] = [TOOLS[1]]  # with other tools another call is right
    assert rejections(project, *records) == []


def test_two_ways_to_think_to_one_answer_are_two_rows_and_no_conflict(project) -> None:
    ways = ["The list says 12.", "The list says: 12.", "One a month, so 12."]
    records = [{"messages": [ASK, thought(ANSWER, way)]} for way in (*ways, ways[0])]
    settings = {"checks": {"near_duplicate": "reject"}, "split": {"valid": 0.0, "test": 0.0}}
    assert rejections(project, *records, **settings) == [("duplicate", "same as a.jsonl:1")]


def test_reasoning_that_stands_in_a_benchmark_is_found(project) -> None:
    told = "The card costs one euro a month, so twelve."
    exam = project.write("exam.jsonl", [{"answer": told}])
    source = {**project.write("a.jsonl", [{"messages": [ASK, thought(ANSWER, told)]}]), "split": "train"}
    found = project.look(source, benchmarks=[exam["path"]])
    assert [rejection.check for rejection in found.rejected] == ["benchmark"]


def test_calls_and_results_are_not_judged_as_prose(project) -> None:
    data = "<html><body>Der Preis der Karte beträgt zwölf Euro im Jahr, {name}.</body></html>"
    said = [ASK, calls(call("card_price", card=data)), result(data), ANSWER]
    summary = project.check(project.write("a.jsonl", [{"messages": said, "tools": TOOLS}]))
    counts = {check["name"]: check["count"] for check in summary["checks"]}
    assert [counts[name] for name in ("language", "html", "template_marks", "repetition", "refusal")] == [
        0
    ] * 5


def test_personal_data_in_calls_and_results_is_masked_like_the_rest(project) -> None:
    talk = [
        {"role": "user", "content": "I am ana@web.org, and my card is 4111 1111 1111 1111."},
        thought(
            calls(call("card_price", card="4111111111111111", owner={"mail": "ana@web.org"})),
            "ana@web.org asks.",
        ),
        result('{"owner": "ana@web.org", "phone": "+33 6 12 34 56 78"}'),
        calls(call("fund_risk", who={"phone_number": "5551234567"})),
        result("low"),
        {"role": "assistant", "content": "Done."},
    ]
    source = {**project.write("a.jsonl", [{"messages": talk}]), "split": "train"}
    held_out = {**project.write("b.jsonl", [{"messages": [ASK, ANSWER]}]), "split": "test"}
    folder = project.prepare(source, held_out, personal="mask", split={"valid": 0.0})
    (row,) = load_split(folder, "train")
    first, second = row.messages[1], row.messages[3]
    assert first["tool_calls"][0]["function"]["arguments"] == {
        "card": "[CARD_1]",
        "owner": {"mail": "[EMAIL_1]"},
    }
    assert first["reasoning_content"] == "[EMAIL_1] asks."
    assert row.messages[2]["content"] == '{"owner": "[EMAIL_1]", "phone": "[PHONE_1]"}'
    assert second["tool_calls"][0]["function"]["arguments"] == {"who": {"phone_number": "[PHONE_2]"}}
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"ana@web" not in everything and b"5551234567" not in everything


# What is stored, shown, trained and asked


@pytest.fixture
def prepared(project) -> Path:
    talks = [
        {"messages": CALLED, "tools": TOOLS},
        {"messages": [ASK, thought(ANSWER, "The list says 12.")], "tools": []},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]},
        {"messages": [{"role": "user", "content": "And the fund?"}, calls(RISK)], "tools": TOOLS},
    ]
    source = {**project.write("a.jsonl", talks), "split": "train"}
    held_out = {**project.write("b.jsonl", talks), "split": "test"}
    return project.prepare(source, held_out, split={"valid": 0.0}, checks=SAME)


def test_prepared_rows_read_back_as_they_were(prepared: Path) -> None:
    rows = load_split(prepared, "test")
    assert [row.messages for row in rows][:2] == [CALLED, [ASK, thought(ANSWER, "The list says 12.")]]
    assert [row.tools for row in rows] == [TOOLS, [], [], TOOLS]
    assert len({row.id for row in rows}) == 4
    assert rows[1].answer == ANSWER["content"]
    assert json.loads(rows[3].answer) == RISK["function"]
    trained = load_rows(prepared, "train", "sft")
    assert [row["messages"] for row in trained] == [row.messages for row in load_split(prepared, "train")]


def test_prepared_tables_stay_plain(prepared: Path) -> None:
    from datasets import load_from_disk

    table = load_from_disk(str(prepared / "train"))
    plain = next(row for row in table if row["messages"][0]["content"] == "Hello")
    assert plain["tools"] is None
    assert {name for m in plain["messages"] for name, value in m.items() if value is not None} == {
        "role",
        "content",
    }


def test_what_is_trained_is_what_is_asked(project, prepared: Path) -> None:
    config = Config.model_validate({"model": {"max_length": 4096}})
    examples = tokenise(load_rows(prepared, "test", "sft"), project.tokenizer, config)
    prompts = load_prompts(prepared / "test")
    assert len(examples) == len(prompts) == 4
    for example, prompt in zip(examples, prompts, strict=True):
        asked = prompt.ids(project.tokenizer)
        assert example["input_ids"][: len(asked)] == asked
        assert example["labels"][len(asked)] != IGNORED
    assert [prompt.thinks for prompt in prompts] == [False, True, False, False]


def test_calls_are_shown_with_loss_and_results_without(project, prepared: Path) -> None:
    row = load_split(prepared, "train")[0]
    (sample,) = pieces(row, project.tokenizer, project.config())
    trained = "".join(piece.text for piece in sample if piece.trained)
    assert "card_price" in trained and "Blue" in trained and ANSWER["content"] in trained
    assert PRICED["content"] not in trained and "Looks up" not in trained
    page = (prepared / "data.html").read_text(encoding="utf-8")
    assert "tool_call" in re.sub("</?i>", "", page), "each token is an element"


@pytest.mark.parametrize("page", ["how-to/bring-your-own-data.md", "reference/data.md"])
def test_the_examples_of_the_docs_are_kept_as_they_stand(project, page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    assert rejections(project, json.loads(example)) == []


def test_a_pair_of_calls_is_read_stored_and_trained_with_its_tools(project) -> None:
    project.config = partial(project.config, max_length=4096)
    pair = {"messages": [ASK], "chosen": calls(PRICE), "rejected": calls(RISK), "tools": TOOLS}
    talks = [{**pair, "messages": [{"role": "user", "content": f"What is {n}?"}]} for n in "ab"]
    sources = [
        {**project.write(f"{split}.jsonl", [talk]), "split": split}
        for split, talk in zip(("train", "test"), talks, strict=True)
    ]
    settings = {"sources": sources, "split": {"valid": 0.0}, "checks": SAME}
    config = Config.model_validate(
        {"data": settings, "train": {"stage": "dpo"}, "model": {"max_length": 4096}}
    )
    folder = prepare(config, project.root, Hooks(), project.tokenizer)
    (row,) = load_split(folder, "train")
    assert (row.messages[-1], row.rejected, row.tools) == (calls(PRICE), calls(RISK), TOOLS)
    (example,) = tokenise(load_rows(folder, "train", "dpo"), project.tokenizer, config)
    assert example["prompt_ids"] == prompt_ids(row.messages[:-1], project.tokenizer, TOOLS)
    said = [project.tokenizer.decode(example[f"{side}_ids"]) for side in ("chosen", "rejected")]
    assert "card_price" in said[0] and "fund_risk" in said[1]


def test_a_rejected_call_to_no_tool_of_the_row_is_rejected(project) -> None:
    pair = {"messages": [ASK], "chosen": calls(PRICE), "rejected": calls(call("nothing")), "tools": TOOLS}
    config = Config.model_validate(
        {
            "data": {"sources": [project.write("a.jsonl", [pair])]},
            "train": {"stage": "dpo"},
            "model": {"max_length": 4096},
        }
    )
    (rejection,) = check(config, project.root, Hooks(), project.tokenizer).rejected
    assert rejection.check == "tools" and "the rejected answer" in rejection.reason


def test_answers_that_are_all_calls_are_no_longer_and_no_shorter_than_others(project) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What costs card {i}?"},
                calls(call("card_price", card=f"c{i}")),
            ],
            "tools": TOOLS,
            "topic": f"t{i % 2}",
        }
        for i in range(80)
    ]
    found = project.check(project.write("a.jsonl", rows), slices=["topic"])
    notes = next(check for check in found["checks"] if check["name"] == "balance")["examples"]
    assert found["rows"]["kept"] == 80
    assert not [note for note in notes if "words" in note["text"]], notes
