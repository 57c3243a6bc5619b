"""A JSON list is read as `json` reads it, but one element at a time."""

import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.config.errors import DataError
from kit.data import json_list
from kit.data.json_list import list_elements
from kit.data.opening import File

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Bytes(File):
    """A file that is not on disk."""

    def open(self) -> Any:
        return io.BytesIO(self.content)


def in_memory(content: bytes) -> File:
    file = Bytes(Path("a.json"), "a.json")
    object.__setattr__(file, "content", content)
    return file


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 40))
def test_elements_are_those_of_json(values: list[Any], indent: int | None, ascii: bool, chunk: int) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(content.decode())
    except UnicodeDecodeError:
        return  # half a character, which is the next test's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "_CHUNK", chunk)
        assert list(list_elements(in_memory(content))) == expected


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_what_is_broken_is_named_where_json_names_it(values: list[Any], data: st.DataObject) -> None:
    text = json.dumps(values, indent=data.draw(st.sampled_from([None, 1])))
    at = data.draw(st.integers(1, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(["", "}", "]", ",", '"', " x"])) + text[at + 1 :]
    try:
        json.loads(broken)
    except json.JSONDecodeError as error:
        line, column = error.lineno, error.colno
    else:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "_CHUNK", data.draw(st.integers(1, 40)))
        with pytest.raises(DataError) as caught:
            list(list_elements(in_memory(broken.encode())))
    found = re.search(r"line (\d+): not JSON: .* column (\d+)", str(caught.value))
    assert found, caught.value
    assert (int(found[1]), int(found[2])) == (line, column)


def test_a_byte_that_is_not_utf8_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "_CHUNK", 3)
    with pytest.raises(DataError, match=r"byte 0xe9 at byte 11 \(é in Windows-1252"):
        list(list_elements(in_memory(b'["\xc3\xa9\xc3\xa9", "\xe9"]')))


def test_a_long_list_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    with path.open("w") as file:
        file.write("[")
        file.writelines(f'{{"prompt": "{i} {"x" * 500}", "completion": "b"}},\n' for i in range(60_000))
        file.write("{}]")
    tracemalloc.start()
    count = sum(1 for _ in list_elements(File(path, path.name)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 60_001
    assert path.stat().st_size > 30_000_000
    assert most < 8_000_000
