"""Arbitrary bytes and damaged files of every kind: no crash without a file, no record lost silently."""

import bz2
import gzip
import io
import json
import lzma
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from pyarrow import parquet
from reading import read_source

from kit.config.errors import DataError
from kit.config.schema import Config
from kit.data.check import Findings, check_structure
from kit.data.records import KINDS
from kit.data.rows import Rejection, Row
from kit.hooks import Hooks

RECORDS = [
    {"prompt": "What does it cost?", "completion": 'Twelve euros, "about".', "topic": "fées"},
    {"prompt": "Why?\nWhy so?", "completion": "So.", "topic": None},
    {"prompt": "When?", "completion": "Now.", "topic": "zeit"},
]


def _arrow(new: Any) -> bytes:
    table, out = pyarrow.Table.from_pylist(RECORDS), io.BytesIO()
    with new(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _parquet() -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), out)
    return out.getvalue()


def _xlsx() -> bytes:
    book, out = Workbook(), io.BytesIO()
    for line in [list(RECORDS[0]), *(list(record.values()) for record in RECORDS)]:
        book.active.append(line)
    book.save(out)
    return out.getvalue()


LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()
CSV = b'prompt,completion,topic\n"What, ""it""?",So.,a\n"Two\nlines?",Yes.,b\nWhen?,Now.,\n'
VALID = {
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".json": json.dumps({"data": RECORDS}).encode(),
    ".csv": CSV,
    ".tsv": CSV.replace(b",", b"\t"),
    ".parquet": _parquet(),
    ".arrow": _arrow(pyarrow.ipc.new_stream),
    ".feather": _arrow(pyarrow.ipc.new_file),
    ".xlsx": _xlsx(),
    ".txt": "One,\nstill one.\n\nZwei: größer.\n\nThree.".encode(),
    ".md": b"# One\n\nTwo\n",
    ".jsonl.gz": gzip.compress(LINES, mtime=0),
    ".csv.bz2": bz2.compress(CSV),
    ".json.xz": lzma.compress(json.dumps(RECORDS).encode()),
    ".tsv.zst": pyarrow.Codec("zstd").compress(CSV.replace(b",", b"\t"), asbytes=True),
}
NASTY = [
    b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b'"', b"\n", b"\r", b"\r\n", b"\n\n", b"{", b"[",
    b"NaN", b"\\ud800", b"1e999", b'{"messages": 3}', b'{"prompt": [{"role": [], "content": {}}]}', b",,,,,",
    b"null", b'"{}"', b"<html>", b"PK\x03\x04", b"\x1f\x8b", b"\t", "\u2028".encode(), b"[" * 200,
]  # fmt: skip
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file after a few cuts, changed bytes and insertions."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "flip", "cut", "end"])):
            case "insert":
                data[place:place] = draw(st.sampled_from(NASTY))
            case "flip" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "cut":
                del data[place : place + draw(st.integers(1, 20))]
            case "end":
                del data[max(place, len(data) // 2) :]
    return bytes(data)


def read_to_the_end(folder: Path, suffix: str, content: bytes, stage: str) -> None:
    """Every record becomes a row or a rejection with its line, or the file is one error with its name."""
    name = f"data{suffix}"
    (folder / name).write_bytes(content)
    config = Config.model_validate({"data": {"sources": [{"path": name}]}, "train": {"stage": stage}})
    findings = Findings(config.data.checks)
    kept = 0
    try:
        info, items = read_source(config.data.sources[0], config, folder, Hooks())
        for item in items:
            found = item if isinstance(item, Rejection) else check_structure(item)
            place = item.where.removeprefix(f"{name}:")
            assert place.isdigit() and int(place) > 0
            if isinstance(found, Rejection):
                assert found.reason
                json.dumps(vars(found), ensure_ascii=False, allow_nan=False).encode()
                findings.turn_away(found)
            else:
                assert isinstance(item, Row)
                json.dumps([item.messages, item.fields], ensure_ascii=False, allow_nan=False).encode()
                kept += 1
        assert info.rows == kept + len(findings.rejected)
        assert info.rows == records_in(suffix, content, info.rows)
        json.dumps(vars(info), ensure_ascii=False, allow_nan=False).encode()
    except DataError as error:
        assert error.problems and all(problem.where == name for problem in error.problems)


def records_in(suffix: str, content: bytes, otherwise: int) -> int:
    """How many records a file has, counted without the reader, where that is simple."""
    if suffix not in (".jsonl", ".ndjson", ".txt", ".md"):
        return otherwise
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    filled = [bool(line.strip()) for line in lines]
    if "json" in suffix:
        return sum(filled)
    return sum(now and not before for before, now in pairwise([False, *filled]))


def test_every_kind_of_file_is_fuzzed() -> None:
    assert set(KINDS) <= set(VALID)


@pytest.mark.parametrize("suffix", VALID)
def test_the_files_are_valid_before_they_are_damaged(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(VALID[suffix])
    config = Config.model_validate(
        {"data": {"sources": [{"path": f"a{suffix}"}]}, "train": {"stage": "pretrain"}}
    )
    _, items = read_source(config.data.sources[0], config, tmp_path, Hooks())
    rows = list(items)
    assert len(rows) >= 2 and all(isinstance(row, Row) for row in rows)


@pytest.mark.parametrize("stage", ["sft", "pretrain"])
@pytest.mark.parametrize("suffix", VALID)
def test_damaged_files_end_in_rows_reasons_or_an_error(suffix: str, stage: str, tmp_path: Path) -> None:
    @QUICK
    @given(damaged(VALID[suffix]))
    def fuzz(content: bytes) -> None:
        read_to_the_end(tmp_path, suffix, content, stage)

    fuzz()


@pytest.mark.parametrize("suffix", VALID)
def test_arbitrary_bytes_end_in_rows_reasons_or_an_error(suffix: str, tmp_path: Path) -> None:
    @QUICK
    @given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(NASTY), max_size=12).map(b"".join)))
    def fuzz(content: bytes) -> None:
        read_to_the_end(tmp_path, suffix, content, "pretrain")

    fuzz()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = ["messages", "conversations", "prompt", "completion", "instruction", "output", "history", "system"]
COLUMNS += ["tools"]
ROLE = st.sampled_from(["user", "assistant", "tool", "function_call", "observation"]) | JSON
KEYS = ["content", "value", "tool_calls", "function_call", "reasoning_content", "tool_call_id", "name"]
TURN = st.fixed_dictionaries({}, optional={"role": ROLE, "from": ROLE, **dict.fromkeys(KEYS, JSON)})


@settings(QUICK, max_examples=200)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(COLUMNS), JSON | st.lists(TURN, max_size=3), max_size=4), max_size=4
    )
)
def test_any_json_under_the_names_of_the_formats(tmp_path_factory: Any, records: list[Any]) -> None:
    folder = tmp_path_factory.getbasetemp()
    lines = "".join(json.dumps(record) + "\n" for record in [RECORDS[0], *records])
    read_to_the_end(folder, ".jsonl", lines.encode(), "sft")
