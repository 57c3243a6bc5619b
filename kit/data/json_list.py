"""A JSON list read one element at a time, so that an export larger than memory can be."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from kit.data.json_text import not_json, parse_at
from kit.data.opening import File, not_utf8

_CHUNK = 1 << 20  # bytes read at once; doubled while an element is longer
_LONGEST = 1 << 28
"""Characters an element may have; only a list that is broken seems to hold a longer one."""
_BLANK = " \t\n\r"
_AFTER = tuple(f",]{_BLANK}")


def list_elements(file: File) -> Iterator[Any]:
    """The elements of a file that is one JSON list.

    Raises:
        DataError: it is not JSON; says the line, once the elements before it were given.
    """
    with file.open() as stream:
        text = _Window(stream, file)
        text.expect("[", "Expecting value")
        if text.next_letter() == "]":
            text.expect("]", "")
        else:
            yield text.value()
            while text.expect(",]", "Expecting ',' delimiter") == ",":
                yield text.value()
        if text.next_letter():
            raise text.error("Extra data")


class _Window:
    """The part of a file's text that is looked at: what lies before `at` is done with."""

    def __init__(self, stream: BinaryIO, file: File) -> None:
        self._stream, self._file = stream, file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._ended = "", 0, False
        self._bytes = 0
        self._line, self._column = 1, 0  # of the text's beginning

    def next_letter(self) -> str:
        """The next character that is not blank, or nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def expect(self, letters: str, problem: str) -> str:
        """Pass over the next letter, which must be one of these."""
        letter = self.next_letter()
        if not letter or letter not in letters:
            raise self.error(problem)
        self._at += 1
        return letter

    def value(self) -> Any:
        """Pass over the next value."""
        self.next_letter()
        while True:
            found = self._value()
            # What is cut off looks like what is broken or shorter, until more of it is there.
            if not isinstance(found, json.JSONDecodeError) and self._text[found[1] : found[1] + 1] in _AFTER:
                break
            if len(self._text) - self._at > _LONGEST or not self._more():
                break
        if isinstance(found, json.JSONDecodeError):
            raise self._error(found) from found
        value, self._at = found
        return value

    def _value(self) -> tuple[Any, int] | json.JSONDecodeError:
        try:
            return parse_at(self._text, self._at)
        except json.JSONDecodeError as error:
            return error
        except ValueError as error:
            raise self._file.unreadable(f"not usable: {error}") from error

    def error(self, problem: str) -> Exception:
        """The problem at this place."""
        return self._error(json.JSONDecodeError(problem, self._text, self._at))

    def _error(self, error: json.JSONDecodeError) -> Exception:
        error.colno += self._column if error.lineno == 1 else 0
        return self._file.unreadable(f"line {self._line + error.lineno - 1}: {not_json(error)}")

    def _more(self) -> bool:
        """Read on, and let go of what is done with; False at the end of the file."""
        if self._ended:
            return False
        done = self._text[: self._at]
        lines = done.count("\n")
        self._column = len(done) - done.rfind("\n") - 1 + (0 if lines else self._column)
        self._line += lines
        rest = self._text[self._at :]
        chunk = self._stream.read(max(_CHUNK, len(rest)))
        self._ended = not chunk
        waiting = len(self._decoder.getstate()[0])
        try:
            self._text, self._at = rest + self._decoder.decode(chunk, final=self._ended), 0
        except UnicodeDecodeError as error:
            place = f"at byte {self._bytes - waiting + error.start + 1}"
            raise self._file.unreadable(
                not_utf8(error.object[error.start], place), "save it as UTF-8"
            ) from error
        self._bytes += len(chunk)
        return True
