"""Every kind of file, packed or not, a folder or a pattern: the same rows, each with its own place."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from typing import Any

import pyarrow
import pytest
from dialogue_rows import dialogue
from openpyxl import Workbook
from reading import read_source

from kit.config.errors import DataError
from kit.config.schema import Config
from kit.config.schema_data import Source
from kit.data.rows import Rejection, Row, SourceInfo
from kit.hooks import Hooks

RECORDS = [{"prompt": f'What? {i}, "so"', "completion": f"That {i}.", "n": f"n{i}"} for i in range(3)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def read(project, source: dict[str, Any]) -> tuple[SourceInfo, list[Row | Rejection]]:
    config = Config.model_validate({"data": {"sources": [source]}})
    info, items = read_source(config.data.sources[0], config, project.root, Hooks())
    return info, list(items)


def assert_all_there(rows: list[Row | Rejection]) -> None:
    assert [row.messages[0]["content"] for row in rows] == [record["prompt"] for record in RECORDS]
    assert [row.fields["n"] for row in rows] == ["n0", "n1", "n2"]


def workbook(project, name: str, *sheets: list[list[Any]]) -> dict[str, str]:
    book = Workbook()
    book.remove(book.active)
    for number, lines in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"S{number}")
        for line in lines:
            sheet.append(line)
    book.save(project.root / name)
    return {"path": name}


CELLS = [list(RECORDS[0]), *(list(record.values()) for record in RECORDS)]


def test_tsv_is_parted_by_tabs_alone(project) -> None:
    text = "prompt\tcompletion\tn\n" + "".join(f'"What? {i}, ""so"""\tThat {i}.\tn{i}\n' for i in range(3))
    info, rows = read(project, project.write("a.tsv", text))
    assert (info.kind, info.encoding, rows[2].where) == ("TSV", "UTF-8", "a.tsv:4")
    assert_all_there(rows)


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("suffix", ["arrow", "feather"])
def test_arrow_in_both_of_its_forms(project, form: str, suffix: str) -> None:
    table = pyarrow.Table.from_pylist(RECORDS)
    new = pyarrow.ipc.new_file if form == "file" else pyarrow.ipc.new_stream
    with new(str(project.root / f"a.{suffix}"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    info, rows = read(project, {"path": f"a.{suffix}"})
    assert (info.kind, info.encoding, rows[2].where) == ("Arrow", None, f"a.{suffix}:3")
    assert_all_there(rows)


def test_a_table_that_datasets_saved_is_read_by_a_pattern(project) -> None:
    from datasets import Dataset

    Dataset.from_list(RECORDS).save_to_disk(str(project.root / "saved"))
    summary = project.check({"path": "saved/*.arrow"})
    assert [(s["name"], s["rows"]) for s in summary["sources"]] == [("saved/data-00000-of-00001.arrow", 3)]


def test_the_first_sheet_of_a_workbook_or_the_one_named(project) -> None:
    source = workbook(project, "a.xlsx", CELLS, [["prompt", "completion"], ["Why?", "So."]])
    info, rows = read(project, source)
    assert (info.kind, info.encoding, rows[0].where) == ("Excel", None, "a.xlsx:2")
    assert_all_there(rows)
    _, (row,) = read(project, {**source, "sheet": "S2"})
    assert (row.where, row.messages[1]["content"]) == ("a.xlsx#S2:2", "So.")
    with pytest.raises(DataError, match=r"no sheet 'S3'\n    its sheets are S1, S2"):
        read(project, {**source, "sheet": "S3"})


def test_cells_of_a_workbook_become_rows_or_reasons(project) -> None:
    header = ["prompt", "completion", "n", None]
    lines = [
        header,
        ["How much?", 12, 1.5],
        [],
        ["Which?", "#N/A", 1],
        ["Why?", None, 1],
        ["What?", "That.", 1, None, "beyond"],
        ["Last?", "Last.", 2],
    ]
    _, rows = read(project, workbook(project, "a.xlsx", lines))
    assert [row.where for row in rows] == [f"a.xlsx:{line}" for line in (2, 4, 5, 6, 7)]
    assert rows[0].messages[1]["content"] == "12"
    reasons = [row.reason for row in rows if isinstance(row, Rejection)]
    assert reasons == [
        "the cell in column completion is an error, #N/A",
        "completion is missing",
        "cells beyond the 3 columns that the header names",
    ]
    with pytest.raises(DataError, match="the sheet is empty"):
        read(project, workbook(project, "b.xlsx", []))


def test_a_sheet_is_named_for_workbooks_only() -> None:
    with pytest.raises(ValueError, match=r"`sheet` is of an \.xlsx workbook"):
        Source(path="a.csv", sheet="S1")


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pyarrow.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("suffix", PACK)
def test_text_files_may_be_packed(project, suffix: str) -> None:
    info, rows = read(project, project.write(f"a.jsonl.{suffix}", PACK[suffix](LINES)))
    assert (info.kind, info.encoding) == (f"JSON Lines, .{suffix}", "UTF-8")
    assert rows[2].where == f"a.jsonl.{suffix}:3"
    assert_all_there(rows)
    header = "prompt,completion\n" + "".join(f"Q{i}?,A.\n" for i in range(50))
    _, rows = read(project, project.write(f"b.csv.{suffix}", PACK[suffix](header.encode())))
    assert len(rows) == 50


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_that_breaks_off_is_an_error_not_a_short_file(project, suffix: str) -> None:
    lines = "".join(json.dumps(dialogue(f"Question {i * i}?", f"{i}")) + "\n" for i in range(4000))
    packed = PACK[suffix](lines.encode())
    source = project.write(f"a.jsonl.{suffix}", packed[: len(packed) * 2 // 3])
    with pytest.raises(
        DataError, match=rf"^a\.jsonl\.{suffix}: cannot be (opened|read to its end, only to line)"
    ):
        read(project, source)


def test_a_packed_file_may_be_something_else_inside(project) -> None:
    with pytest.raises(DataError, match="is an HTML page"):
        read(project, project.write("a.jsonl.gz", gzip.compress(b"<!DOCTYPE html><html>")))


def test_a_folder_is_its_files_in_order_each_with_its_own_place(project) -> None:
    project.write("raw/b.csv", "prompt,completion\nb?,B.\n")
    project.write("raw/a.jsonl", [dialogue("a?", "A.")])
    project.write("raw/deep/c.json", json.dumps([dialogue("c?", "C."), {"messages": 3}]))
    project.write("raw/README.md", "About these files.")
    project.write("raw/scan.pdf", b"%PDF")
    project.write("raw/.hidden/x.jsonl", "broken")
    found = project.look({"path": "raw"})
    assert [(s["name"], s["format"], s["rows"]) for s in found.summary["sources"]] == [
        ("raw/a.jsonl", "messages", 1),
        ("raw/b.csv", "prompt_completion", 1),
        ("raw/deep/c.json", "messages", 2),
    ]
    assert [row.where for row in found.rejected] == ["raw/deep/c.json:2"]
    skipped = next(check for check in found.summary["checks"] if check["name"] == "skipped")
    assert (skipped["severity"], skipped["count"]) == ("report", 2)
    assert [example["where"] for example in skipped["examples"]] == ["raw/README.md", "raw/scan.pdf"]


def test_a_pattern_names_its_files_outright(project) -> None:
    for name in ("raw/b1.jsonl", "raw/b0.jsonl", "raw/c.jsonl", "raw/deep/b2.jsonl"):
        project.write(name, [dialogue(f"{name}?", "Yes.")])
    names = [s["name"] for s in project.check({"path": "raw/b*.jsonl"})["sources"]]
    assert names == ["raw/b0.jsonl", "raw/b1.jsonl"]
    absolute = project.check({"path": f"{project.root}/raw/**/*.jsonl"})["sources"]
    assert [s["name"].removeprefix(f"{project.root}/") for s in absolute] == [
        *names,
        "raw/c.jsonl",
        "raw/deep/b2.jsonl",
    ]
    project.write("raw/odd[1].jsonl", [dialogue("odd?", "Yes.")])
    assert project.check({"path": "raw/odd[1].jsonl"})["rows"]["read"] == 1


def test_every_file_that_cannot_be_found_or_read_is_told_at_once_with_the_rows(project) -> None:
    project.write("raw/page.jsonl", "<!DOCTYPE html>")
    project.write("raw/good.jsonl", [dialogue("a?", "A."), dialogue("b?", "")])
    project.write("empty/notes.pdf", "x")
    with pytest.raises(DataError) as caught:
        project.prepare({"path": "raw"}, {"path": "empty"}, {"path": "no/*.csv"}, {"path": "raw/good.jsonl"})
    told = [(problem.where, problem.message.split(" under ")[0]) for problem in caught.value.problems]
    assert told[0][0] == "empty" and told[0][1].startswith("no file in it is one of .jsonl, ")
    assert told[1:] == [
        ("no/*.csv", "no file fits this pattern"),
        ("raw/good.jsonl", "is named 2 times by data.sources"),
        ("raw/page.jsonl", "is an HTML page, not data: an error or a login page?"),
        ("raw/good.jsonl:2", "turn 2 (the assistant's) is empty"),
        ("raw/good.jsonl:2", "turn 2 (the assistant's) is empty"),
    ]
    assert not (project.root / "data").exists()


def test_a_new_file_in_a_folder_is_new_data(project, dialogues) -> None:
    project.write("raw/a.jsonl", dialogues)
    first = project.prepare({"path": "raw"})
    assert project.prepare({"path": "raw"}) == first
    project.write("raw/b.jsonl", [dialogue("new?", "New.")])
    assert project.prepare({"path": "raw"}) != first


def test_what_a_source_was_read_as_is_told(project) -> None:
    text = "\ufeffquestion;answer;topic\r\nWhat?;That.;cards\r\n"
    columns = {"prompt": "question", "completion": "answer"}
    (source,) = project.check({**project.write("a.csv", text), "columns": columns})["sources"]
    told = {
        name: source[name] for name in ("kind", "encoding", "format", "columns", "others", "rows", "kept")
    }
    assert told == {
        "kind": "CSV",
        "encoding": "UTF-8 with a byte-order mark",
        "format": "prompt_completion",
        "columns": columns,
        "others": ["topic"],
        "rows": 1,
        "kept": 1,
    }


def test_a_row_of_ten_megabytes_is_read_whole(project) -> None:
    long = "word " * 2_000_000
    for source in (
        project.write("a.jsonl", [dialogue("What?", long)]),
        project.write("a.csv", f'prompt,completion\nWhat?,"{long}"\nWhy?,So.\n'),
        project.write("a.tsv", f"prompt\tcompletion\nWhat?\t{long}\n"),
    ):
        _, rows = read(project, source)
        assert isinstance(rows[0], Row) and rows[0].messages[1]["content"] == long
