"""Personal data of a dialogue: counted, masked or turned away, as `data.personal` says.

It runs after the project's cleaners and before rows are split and compared: rows that differ in nothing
but a masked number are duplicates from then on, and land in one split.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from kit.config.schema_data import Data
from kit.data.check import Findings
from kit.data.names import Names, mentions, name_key, whole_names
from kit.data.personal import SURE, Found, People, changed, find, find_answered, named_texts
from kit.data.rows import Message, Rejection, Row, as_text, reject
from kit.data.summary import parsed
from kit.data.tools import texts_of


def check_personal(row: Row, data: Data, findings: Findings, names: Names | None) -> Rejection | None:
    """Look for personal data in all messages and in the columns that metrics and slices read.

    Masks it in place where `data.personal` is `mask`; the rejection where it is `reject`. The columns that
    name groups and splits stay: `hide_group` has the first.
    """
    columns = _columns(row, data)
    people = names.of(row) if names else None
    found: list[tuple[str, Found]] = []
    question = before = ""
    for place, message in _checked(row, data):
        if message is not row.rejected:  # it answers the question before the chosen answer
            question, before = message["content"], question
        found += [(place, one) for one in values_in(message["content"], data, people, before)]
        found += [(place, one) for one in values_in(message.get("reasoning_content", ""), data, people)]
        for call in message.get("tool_calls", ()):
            for text, asked in named_texts(call["function"]["arguments"]):
                found += [(place, one) for one in values_in(text, data, people, asked)]
    for column in columns:
        for text, asked in named_texts(row.fields[column], column):
            found += [(f"column {column}", one) for one in values_in(text, data, people, asked)]
    if not found:
        return None
    whole = whole_names(one.key for _, one in found if one.kind == "name")
    found = [(place, _renamed(one, whole)) for place, one in found]
    values: dict[tuple[str, str], tuple[str, Found]] = {}
    for place, one in found:
        values.setdefault((one.kind, one.key), (place, one))
    told = "; ".join(f"{one.kind} {one.shown} in {place}" for place, one in values.values())
    findings.personal.rows.update({one.kind for _, one in values.values()})
    findings.personal.values.update(one.kind for _, one in values.values())
    if data.personal == "reject":
        return reject(row, "personal", told)
    findings.note("personal", row.where, told)
    if data.personal == "mask":
        again = partial(_find_named, data=data, people=people, whole=whole)
        _mask(row, columns, [one for _, one in found], again, data)
    return None


def names_a_person(row: Row, data: Data, names: Names | None) -> bool:
    """Whether a group is called by personal data that is to be masked or turned away."""
    column = data.split.group_by
    if column is None or data.personal == "report" or row.fields.get(column) is None:
        return False
    asked = f"{column.replace('_', ' ')}?"
    return bool(values_in(as_text(row.fields[column]), data, names, asked))


def hide_group(row: Row, data: Data, groups: dict[str, str]) -> None:
    """Give a group that names a person another name: a number, in the order of the rows.

    The split was chosen by the old name, so rows stay where they are; no hash, for those of a telephone
    number can be tried out.
    """
    row.group = groups.setdefault(row.group, f"[GROUP_{len(groups) + 1}]")
    row.fields[str(data.split.group_by)] = row.group


def values_in(text: str, data: Data, people: People | None = None, question: str = "") -> list[Found]:
    """The personal data of a text that the settings look for, and do not keep."""
    found = find_answered(text, question, data.personal_kinds, people)
    return [one for one in found if not _kept(one, tuple(data.personal_keep))] if found else found


def _renamed(one: Found, whole: dict[str, str]) -> Found:
    """With a name's key that of the whole name."""
    return replace(one, key=whole.get(one.key, one.key)) if one.kind == "name" else one


def _find_named(text: str, data: Data, people: People | None, whole: dict[str, str]) -> list[Found]:
    return [_renamed(one, whole) for one in values_in(text, data, people)]


def _kept(one: Found, keep: tuple[str, ...]) -> bool:
    domain = f"@{one.key.partition('@')[2]}" if one.kind == "email" else None
    return one.text in keep or (domain in keep) or (one.kind, one.key) in _values(keep)


@cache
def _values(keep: tuple[str, ...]) -> set[tuple[str, str]]:
    names: set[tuple[str, str]] = {("name", name_key(value)) for value in keep}
    return names | {(one.kind, one.key) for value in keep for one in find(value)}


def _columns(row: Row, data: Data) -> list[str]:
    named = dict.fromkeys([*data.expected, *data.slices])
    kept = (data.split.group_by, data.split.column)
    return [column for column in named if column in row.fields and column not in kept]


def _mask(
    row: Row, columns: list[str], found: list[Found], look: Callable[[str], list[Found]], data: Data
) -> None:
    """Replace every value, also where it stands without what gave it away: `so it is 5551234567?`"""
    masks = _masks(found, "\n".join(texts_of(row.said)))
    known = {one.text: masks[one.kind, one.key] for one in found}
    patterns = _elsewhere(found, _values(tuple(data.personal_keep)))
    known |= {text: masks["name", key] for text, (_, key) in patterns.items() if text not in known}
    longest_first = "|".join(patterns[text][0] for text in sorted(patterns, key=len, reverse=True))
    pattern = re.compile(f"(?<![A-Za-z0-9])(?:{longest_first})(?![A-Za-z0-9])") if patterns else None

    def masked(text: str) -> str:
        # A question may have made of a telephone number what it asked for: then the text alone tells.
        masked_as = [(one, masks.get((one.kind, one.key), known.get(one.text))) for one in look(text)]
        places = [(one.start, one.end, mask) for one, mask in masked_as if mask]
        for match in pattern.finditer(text) if pattern else ():
            if all(match.end() <= start or end <= match.start() for start, end, _ in places):
                places.append((match.start(), match.end(), known[match[0]]))
        for start, end, mask in sorted(places, reverse=True):
            text = text[:start] + mask + text[end:]
        return text

    for _, message in _checked(row, data):
        message["content"] = masked(message["content"])
        if "reasoning_content" in message:
            message["reasoning_content"] = masked(message["reasoning_content"])
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = changed(call["function"]["arguments"], masked)
    for column in columns:
        row.fields[column] = changed(parsed(row.fields[column]), masked)


def _elsewhere(found: list[Found], kept: set[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """What else is replaced wherever it stands: text -> pattern and key."""
    # A short one, such as a PIN, may be a year or an amount elsewhere.
    sure = [one for one in found if one.kind != "name" and len(one.text) >= SURE]
    said = mentions(one for one in found if one.kind == "name")
    names = {text: (pattern, key) for text, pattern, key in said if ("name", name_key(text)) not in kept}
    return names | {one.text: (re.escape(one.text), one.key) for one in sure}


def _masks(found: list[Found], text: str) -> dict[tuple[str, str], str]:
    """A mask for every value, numbered by kind, after the masks that stand in the text already."""
    masks: dict[tuple[str, str], str] = {}
    last: dict[str, int] = {}
    for one in found:
        if (one.kind, one.key) in masks:
            continue
        name = one.kind.upper()
        before = last.get(name) or max(map(int, re.findall(rf"\[{name}_(\d{{1,6}})\]", text)), default=0)
        last[name] = before + 1
        masks[one.kind, one.key] = f"[{name}_{last[name]}]"
    return masks


def _checked(row: Row, data: Data) -> list[tuple[str, Message]]:
    """All messages and what they are called, but the project's own system prompt: it is no customer's, and
    it is served as it is.
    """
    first = row.messages[0]["role"] != "system"  # turns are counted from 1, without the system message
    return [
        (_place(row, message, number), message)
        for number, message in enumerate(row.said, start=int(first))
        if message["role"] != "system" or message["content"] != data.system_prompt
    ]


def _place(row: Row, message: Message, number: int) -> str:
    if message is row.rejected:
        return "the rejected answer"
    return "the system message" if message["role"] == "system" else f"turn {number}"
