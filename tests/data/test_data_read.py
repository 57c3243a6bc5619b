"""Every shape and every kind of damage ends as a row or as a reason with its line."""

import json
from typing import Any

import pytest
from reading import read_source

from kit.config.errors import DataError
from kit.config.schema import Config
from kit.data.rows import Rejection, Row
from kit.hooks import Hooks

ASK, ANSWER = "What does it cost?", "Twelve euros."
PLAIN = [{"role": "user", "content": ASK}, {"role": "assistant", "content": ANSWER}]


def read(
    project, source: dict[str, Any], hooks: Hooks | None = None, **data: Any
) -> tuple[str, list[Row | Rejection]]:
    config = Config.model_validate({"data": {"sources": [source], **data}})
    info, items = read_source(config.data.sources[0], config, project.root, hooks or Hooks())
    rows = list(items)
    assert info.rows == len(rows)
    return info.format, rows


def read_one(project, record: dict[str, Any], **source: Any) -> tuple[str, Row | Rejection]:
    name, rows = read(project, {**project.write("one.jsonl", [record]), **source})
    (row,) = rows
    return name, row


SHAPES = {
    "messages": {"messages": PLAIN},
    "alpaca": {"instruction": ASK, "input": "", "output": ANSWER},
    "sharegpt": {"conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": ANSWER}]},
    "prompt_completion": {"prompt": ASK, "completion": ANSWER},
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_recognised_and_ends_in_messages(project, name: str) -> None:
    found, row = read_one(project, {**SHAPES[name], "topic": "cards"})
    assert found == name
    assert isinstance(row, Row)
    assert row.messages == PLAIN
    assert row.fields["topic"] == "cards"


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_file_type_gives_the_same_rows(project, suffix: str) -> None:
    from datasets import Dataset

    records = [
        {"prompt": f'{ASK} {i}, "quoted"\nline two', "completion": ANSWER, "n": str(i)} for i in range(3)
    ]
    path = project.root / f"data.{suffix}"
    table = Dataset.from_list(records)
    if suffix == "jsonl":
        project.write(path.name, records)
    elif suffix == "json":
        project.write(path.name, json.dumps(records))
    elif suffix == "csv":
        table.to_csv(path)
    else:
        table.to_parquet(path)
    _, rows = read(project, {"path": path.name})
    assert [row.messages[0]["content"] for row in rows] == [record["prompt"] for record in records]
    assert [row.fields["n"] for row in rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "record",
    [
        SHAPES["sharegpt"],
        {"prompt": PLAIN[:1], "completion": ANSWER},
        {"instruction": ASK, "output": ANSWER, "history": []},
        {"prompt": ASK, "completion": ANSWER, "tags": ["a", "b"]},
    ],
)
def test_a_json_file_of_one_object_is_one_record(project, record: dict[str, Any]) -> None:
    """The one list in it is its turns, not a list of records."""
    _, (row,) = read(project, project.write("one.json", json.dumps(record)))
    assert isinstance(row, Row) and row.messages == PLAIN


def test_a_json_object_that_wraps_records_is_opened(project) -> None:
    for name, record in SHAPES.items():
        for wrapper in ("data", "conversations"):
            content = json.dumps({wrapper: [record, record], "version": 1})
            found, rows = read(project, project.write("all.json", content))
            assert (found, len(rows)) == (name, 2)
    renamed = {**project.write("one.json", json.dumps({"dialog": PLAIN})), "columns": {"messages": "dialog"}}
    assert len(read(project, renamed)[1]) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_header_may_hold_line_breaks_in_quotes(project, end: str) -> None:
    header = f'"prompt{end}",completion,"asked, by{end}whom"'
    text = end.join([header, "What?,That.,me", "Why?,So.,you", ""])
    _, rows = read(project, project.write("h.csv", text))
    assert [row.where for row in rows] == ["h.csv:4", "h.csv:5"]
    assert isinstance(rows[0], Row) and rows[0].fields["asked, by whom"] == "me"
    with pytest.raises(DataError, match="never closed"):
        read(project, project.write("o.csv", '"prompt,completion\na,b\n'))


def test_lines_are_those_of_the_file(project) -> None:
    text = json.dumps(SHAPES["alpaca"])
    _, rows = read(project, project.write("a.jsonl", f"{text}\n\n{text}\n"))
    assert [row.where for row in rows] == ["a.jsonl:1", "a.jsonl:3"]
    csv_text = 'prompt,completion\n"one\ntwo",a\nthree,b\n'
    _, rows = read(project, project.write("b.csv", csv_text))
    assert [row.where for row in rows] == ["b.csv:2", "b.csv:4"]


def test_columns_are_renamed_ours_from_theirs(project) -> None:
    record = {"question": ASK, "answer": ANSWER, "prompt": "something else", "intent": "fees"}
    columns = {"prompt": "question", "completion": "answer", "topic": "intent"}
    found, row = read_one(project, record, columns=columns)
    assert found == "prompt_completion"
    assert row.messages == PLAIN
    assert row.fields["topic"] == "fees"


def test_alpaca_joins_input_history_and_system(project) -> None:
    record = {
        "system": "Be brief.",
        "instruction": "Translate",
        "input": "bonjour",
        "output": "hello",
        "history": [["Hi", "Hello"]],
    }
    _, row = read_one(project, record)
    assert [(m["role"], m["content"]) for m in row.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Translate\n\nbonjour"),
        ("assistant", "hello"),
    ]


def test_history_in_csv_is_json_text(project) -> None:
    text = 'instruction,output,history\nWhy?,So.,"[[""Hi"", ""Hello""]]"\nWhen?,Now.,\nHow?,Thus.,[]\n'
    _, rows = read(project, project.write("h.csv", text))
    assert [[m["content"] for m in row.messages] for row in rows] == [
        ["Hi", "Hello", "Why?", "So."],
        ["When?", "Now."],
        ["How?", "Thus."],
    ]


def test_columns_without_a_name_are_left_out(project) -> None:
    _, (row,) = read(project, project.write("x.csv", "prompt,completion,,\nWhy?,So.,,\n"))
    assert isinstance(row, Row) and set(row.fields) == {"prompt", "completion"}


def test_parquet_may_hold_messages_as_structures(project) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"messages": [PLAIN, PLAIN], "score": [1.0, None]})
    parquet.write_table(table, project.root / "m.parquet")
    _, rows = read(project, {"path": "m.parquet"})
    assert [(row.messages, row.fields) for row in rows] == [(PLAIN, {"score": 1.0}), (PLAIN, {"score": None})]


def test_a_history_that_is_no_list_is_shown(project) -> None:
    _, row = read_one(project, {**SHAPES["alpaca"], "history": 3})
    assert row.reason == "history must be pairs of question and answer, found 3"


def test_prompt_and_completion_may_be_messages(project) -> None:
    found, row = read_one(project, {"prompt": PLAIN[:1], "completion": PLAIN[1:]})
    assert (found, row.messages) == ("prompt_completion", PLAIN)


def test_messages_in_csv_are_json_text(project) -> None:
    cell = json.dumps(PLAIN).replace('"', '""')
    _, (row,) = read(project, project.write("m.csv", f'messages\n"{cell}"\n'))
    assert row.messages == PLAIN


def test_a_damaged_cell_of_json_costs_its_row_only(project) -> None:
    deep = "[{" + '""a"":[' * 5000
    twice = '[{""role"": ""user"", ""content"": ""a"", ""content"": ""b""}]'
    cell = json.dumps(PLAIN).replace('"', '""')
    text = f'messages\n"{cell}"\n"{twice}"\n"{deep}"\n"{cell}"\n'
    _, rows = read(project, project.write("m.csv", text))
    assert [type(row) for row in rows] == [Row, Rejection, Rejection, Row]
    assert "the key 'content' stands twice" in rows[1].reason


def test_a_json_file_loses_only_the_record_with_a_key_twice(project) -> None:
    good = json.dumps(SHAPES["prompt_completion"])
    text = f'[{good}, {{"prompt": "a", "prompt": "b", "completion": "c"}}, {good}]'
    _, rows = read(project, project.write("a.json", text))
    assert [type(row) for row in rows] == [Row, Rejection, Row]
    assert rows[1].where == "a.json:2"
    assert "the key 'prompt' stands twice" in rows[1].reason


def test_sharegpt_turns_may_have_role_and_content(project) -> None:
    """Exports exist that mix the names of both forms, even within one dialogue."""
    mixed = [{"from": "human", "value": ASK}, {"role": "assistant", "content": ANSWER}]
    for turns in (PLAIN, mixed):
        found, row = read_one(project, {"conversations": turns})
        assert found == "sharegpt"
        assert isinstance(row, Row) and row.messages == PLAIN
    _, row = read_one(project, {"conversations": [{"speaker": "human", "text": ASK}]})
    assert isinstance(row, Rejection) and "unknown role None" in row.reason


def test_two_system_messages_are_called_that(project) -> None:
    turns = [{"from": "system", "value": "Be kind."}, *SHAPES["sharegpt"]["conversations"]]
    source = project.write("s.jsonl", [{"system": "Be brief.", "conversations": turns}])
    (found,) = project.look(source).rejected
    assert found.reason == "begins with two system messages; join them, or leave one out"


def test_text_parts_are_joined_and_images_turned_away(project) -> None:
    parts = [{"type": "text", "text": "What does "}, {"type": "text", "text": "it cost?"}]
    _, row = read_one(project, {"messages": [{"role": "user", "content": parts}, PLAIN[1]]})
    assert row.messages == PLAIN
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    _, rejection = read_one(project, {"messages": [{"role": "user", "content": image}, PLAIN[1]]})
    assert "something other than text" in rejection.reason


def test_system_prompt_is_put_before_dialogues_without_one(project) -> None:
    own = {"messages": [{"role": "system", "content": "Own."}, *PLAIN]}
    source = project.write("s.jsonl", [SHAPES["messages"], own])
    _, rows = read(project, source, system_prompt="Ours.")
    assert [row.messages[0]["content"] for row in rows] == ["Ours.", "Own."]


DAMAGED = {
    "not JSON": (b'{"prompt": "a", "completion": ', "not JSON"),
    "not UTF-8": (
        b'{"prompt": "caf\xe9", "completion": "b"}',
        "byte 0xe9 at position 16 of the line (é in Windows-1252: save the file as UTF-8)",
    ),
    "JSON within JSON": (b'"{\\"prompt\\": 1}"', "found a text, itself JSON: exported twice?"),
    "another format": (b'{"instruction": "a", "output": "b"}', "this record looks like alpaca"),
    "not an object": (b'["a", "b"]', "found a list"),
    "column missing": (b'{"prompt": "a"}', "completion is missing"),
    "null": (b'{"prompt": "a", "completion": null}', "completion is missing"),
    "NaN": (b'{"prompt": "a", "completion": NaN}', "completion is NaN"),
    "wrong type": (b'{"prompt": "a", "completion": ["b"]}', "completion must be a text"),
    "half a character": (b'{"prompt": "a", "completion": "\\ud83d"}', "U+D83D"),
    "infinity": (b'{"prompt": "a", "completion": Infinity}', "completion is infinity"),
    "minus infinity": (b'{"prompt": "a", "completion": -1e999}', "completion is infinity"),
    "NUL": (b'{"prompt": "a", "completion": "b\\u0000"}', "NUL character (U+0000) at position 2"),
    "key twice": (b'{"prompt": "a", "prompt": "b", "completion": "c"}', "the key 'prompt' stands twice"),
    "key twice inside": (
        b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
        "the key 'content' stands twice",
    ),
    "key twice in a label": (
        b'{"prompt": "a", "completion": "c", "facts": {"days": 1, "days": 2}}',
        "the key 'days' stands twice",
    ),
    "nested deeply": (b'{"prompt": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
    "endless number": (b'{"prompt": "a", "completion": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
    "nested too deeply": (b'{"prompt": ' + b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_is_turned_away_and_the_others_stay(project, damage: str) -> None:
    line, reason = DAMAGED[damage]
    good = json.dumps(SHAPES["prompt_completion"]).encode()
    _, rows = read(project, project.write("d.jsonl", b"\n".join([good, line, good])))
    assert [type(row) for row in rows] == [Row, Rejection, Row]
    assert rows[1].where == "d.jsonl:2"
    assert reason in rows[1].reason
    json.dumps(rows[1].row, allow_nan=False).encode()


def test_an_unknown_format_suggests_the_columns_that_look_right(project) -> None:
    source = project.write("a.jsonl", [{"Query": "a", "reply": "b", "id": 1}])
    with pytest.raises(DataError, match=r"such as columns: \{prompt: Query, completion: reply\}"):
        read(project, source)


def test_half_a_character_in_a_columns_name_stops_nothing(project) -> None:
    record = {**SHAPES["prompt_completion"], "to\ud83dpic": 1}
    text = json.dumps(record)
    _, (row,) = read(project, project.write("d.jsonl", f"{text}\n"))
    assert isinstance(row, Row) and "to?pic" in row.fields
    with pytest.raises(DataError, match=r"no known format has the columns to\?pic"):
        read(project, project.write("e.jsonl", json.dumps({"to\ud83dpic": 1})))


def test_byte_order_mark_and_windows_line_ends(project) -> None:
    line = json.dumps(SHAPES["prompt_completion"])
    _, rows = read(project, project.write("w.jsonl", b"\xef\xbb\xbf" + f"{line}\r\n{line}\r\n".encode()))
    assert [row.messages for row in rows] == [PLAIN, PLAIN]
    _, rows = read(project, project.write("w.csv", b"\xef\xbb\xbfprompt;completion\r\nWhat?;That.\r\n"))
    assert rows[0].messages[0]["content"] == "What?"


def test_damaged_csv_rows_are_turned_away_alone(project) -> None:
    text = b"prompt,completion\nok,fine\ncaf\xe9,b\nonly one cell\na,b,c\nempty,\nlast,row\n"
    _, rows = read(project, project.write("d.csv", text))
    reasons = [row.reason if isinstance(row, Rejection) else "" for row in rows]
    assert [bool(reason) for reason in reasons] == [False, True, True, True, True, False]
    assert "byte 0xe9 in column prompt" in reasons[1]
    assert "1 cells, but the header names 2" in reasons[2]
    assert "completion is missing" in reasons[4]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"x", "files of type .pdf are not read"),
        ("a.txt", b"x", "holds documents"),
        ("a.json", b'[{"text": "x"}]', "`train.stage: sft` learns answers"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("a.json", b'{"a": ', "not JSON"),
        ("a.parquet", b"PAR1 but not really", "not a Parquet file"),
        ("a.csv", b"prompt,prompt\na,b\n", "names a column twice"),
        ("a.jsonl", b'{"question": "a", "answer": "b"}', "no known format has the columns answer, question"),
        ("a.jsonl", b"[\n1,\n", "nothing in it can be read; line 1"),
        ("a.jsonl.gz", b"\x1f\x8b", "cannot be opened: .*\n    fetch or export it again"),
        ("a.jsonl.zip", b"PK\x03\x04", "files of type .zip are not read\n    unpack it first"),
        ("a.gz", b"\x1f\x8b", "files of type .gz are not read\n    expected one of"),
        ("a.parquet.gz", b"\x1f\x8b", "files of type .parquet.gz are not read\n    unpack it first"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "files of type .xls are not read\n    save it as .xlsx"),
        ("a.csv", b"PAR1", "is a Parquet or Arrow file"),
        ("a.arrow", b"no arrow at all", "not an Arrow file"),
        ("a.xlsx", b"PK\x03\x04 but not really", "not an Excel workbook"),
        ("a.xlsx", b"<!DOCTYPE html>", "is an HTML page"),
        ("a.jsonl", b"\x1f\x8b\x08\0", "is packed"),
        ("a.csv", b"PK\x03\x04 a spreadsheet", "is packed"),
        ("a.jsonl", b"<!DOCTYPE html>\n<html>", "is an HTML page"),
        ("a.csv", b"\xef\xbb\xbf \n<html lang=en><title>404, not found</title>", "is an HTML page"),
        ("a.json", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.jsonl", b"{}\n{}\n", "nothing in it can be read; line 1: an object without columns"),
        ("a.json", b"[{}]", "nothing in it can be read; line 1: an object without columns"),
        ("a.json", b'{"data": [{"prompt": "a"}], "data": []}', "the key 'data' stands twice"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_an_error(
    project, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(project, project.write(name, content))


def test_format_is_found_past_a_damaged_beginning(project) -> None:
    good = json.dumps(SHAPES["alpaca"])
    found, rows = read(project, project.write("h.jsonl", f"# exported\n{good}\n"))
    assert found == "alpaca"
    assert [type(row) for row in rows] == [Rejection, Row]


def test_reader_of_the_project(project) -> None:
    def read_ticket(record: dict[str, Any]) -> dict[str, Any]:
        if record["kind"] != "chat":
            raise ValueError("not a chat")
        return {"messages": [{"role": "user", "content": record["q"]}, PLAIN[1]], "ticket": record["id"]}

    records = [{"kind": "chat", "q": ASK, "id": 7}, {"kind": "call", "q": "", "id": 8}, {"id": 9}]
    hooks = Hooks(readers={"tickets": read_ticket})
    found, rows = read(project, {**project.write("t.jsonl", records), "format": "tickets"}, hooks)
    assert found == "tickets"
    assert (rows[0].messages, rows[0].fields) == (PLAIN, {"ticket": 7})
    assert [row.reason for row in rows[1:]] == ["not a chat", "the reader 'tickets' failed: KeyError: 'kind'"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError("odd turns"), "the reader 'tickets' failed: AssertionError: odd turns"),
        (RuntimeError("no such page"), "the reader 'tickets' failed: RuntimeError: no such page"),
        (SystemExit(), "the reader 'tickets' failed: SystemExit"),
        (ValueError(), "the reader 'tickets' failed: ValueError"),
        (UnicodeError("bad bytes"), "the reader 'tickets' failed: UnicodeError: bad bytes"),
    ],
)
def test_whatever_a_hook_raises_costs_its_row_only(project, error: BaseException, reason: str) -> None:
    def tickets(record: dict[str, Any]) -> dict[str, Any]:
        if record["id"] == 2:
            raise error
        return {"messages": PLAIN, "id": record["id"]}

    def cleaner(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 3:
            raise error
        return row

    source = {**project.write("t.jsonl", [{"id": 1}, {"id": 2}, {"id": 3}]), "format": "tickets"}
    project.hooks = Hooks(readers={"tickets": tickets}, cleaners={"tidy": cleaner})
    first, second = project.look(source, cleaners=["tidy"]).rejected
    assert (first.where, first.reason) == ("t.jsonl:2", reason)
    assert (second.where, second.check) == ("t.jsonl:3", "cleaner")
    assert second.reason.startswith(f"the cleaner 'tidy' failed: {type(error).__name__}")


def test_ctrl_c_in_a_hook_stops_the_reading(project) -> None:
    def tickets(record: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    source = {**project.write("t.jsonl", [{"id": 1}]), "format": "tickets"}
    with pytest.raises(KeyboardInterrupt):
        read(project, source, Hooks(readers={"tickets": tickets}))


def test_a_cleaner_that_returns_no_row_is_told_what_it_may_return(project) -> None:
    project.hooks = Hooks(cleaners={"tidy": lambda row: row["messages"]})
    (found,) = project.look(project.write("t.jsonl", [{"messages": PLAIN}]), cleaners=["tidy"]).rejected
    assert found.reason.endswith("must return the row or None, returned list")


def test_unknown_format_names_the_nearest(project) -> None:
    source = {**project.write("t.jsonl", [{"a": 1}]), "format": "sharegtp"}
    with pytest.raises(DataError, match="did you mean `sharegpt`"):
        read(project, source)


def test_hub_dataset_that_cannot_be_fetched_says_what_was_asked(project, monkeypatch) -> None:
    import datasets

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        DataError, match="could not fetch the dataset 'bank/chats:train' at revision abc"
    ) as caught:
        read(project, {"hub": "bank/chats:train", "revision": "abc"})
    assert "offline" in caught.value.problems[0].hint


def test_hub_dataset_reads_every_split(project, monkeypatch) -> None:
    import datasets

    parts = {name: datasets.Dataset.from_list([SHAPES["prompt_completion"]]) for name in ("train", "test")}
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: datasets.DatasetDict(parts))
    _, rows = read(project, {"hub": "bank/chats"})
    assert [(row.where, row.fields["split"]) for row in rows] == [
        ("hub:bank/chats:1", "train"),
        ("hub:bank/chats:2", "test"),
    ]


def test_a_quote_that_is_never_closed_says_how_many_lines_it_took(project) -> None:
    text = 'prompt,completion\nOne?,1.\n"Two?,2.\nThree?,3.\nFour?,4.\n'
    _, rows = read(project, project.write("open.csv", text))
    assert [type(row) for row in rows] == [Row, Rejection]
    assert rows[1].where == "open.csv:3"
    assert "(lines 3 to 5)" in rows[1].reason


def test_synthetic_rows_read_back_from_a_file_stay_synthetic(project) -> None:
    record = {"messages": PLAIN, "synthetic": True}
    for source, synthetic in (
        (project.write("made.jsonl", [record]), True),
        (project.write("made.csv", "prompt,completion,synthetic\nOne?,1.,true\n"), True),
        (project.write("real.jsonl", [{"messages": PLAIN}]), False),
    ):
        assert project.check(source)["sources"][0]["synthetic"] is synthetic
