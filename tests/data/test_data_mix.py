"""How much of each source is kept: shares and caps, always the same rows."""

import json
import random
import re

import pytest
from dialogue_rows import dialogue

from kit.config.schema_data import Source
from kit.data.mix import allowed
from kit.data.prepared import load_split

CARDS = [dialogue(f"What does card {i} cost?", f"{i} euros.", n=i) for i in range(300)]
LOANS = [dialogue(f"What does loan {i} cost?", f"{i} percent.", n=i) for i in range(100)]


def kept(summary) -> dict[str, int]:
    return {source["name"]: source["kept"] for source in summary["sources"]}


def ids(folder) -> set[str]:
    return {row.id for split in ("train", "valid", "test") for row in load_split(folder, split)}


def test_rows_of_sources_with_weights_are_as_their_weights(project) -> None:
    project.write("cards.jsonl", CARDS)
    project.write("loans.jsonl", LOANS)
    project.write("other.jsonl", [dialogue(f"Other {i}?", "Yes.") for i in range(50)])
    summary = project.check(
        {"path": "cards.jsonl", "weight": 3}, {"path": "loans.jsonl", "weight": 2}, {"path": "other.jsonl"}
    )
    assert kept(summary) == {"cards.jsonl": 150, "loans.jsonl": 100, "other.jsonl": 50}
    assert summary["rows"]["left_out"] == 150
    assert [source["left_out"] for source in summary["sources"]] == [150, 0, 0]
    rows = summary["rows"]
    assert rows["read"] == rows["kept"] + rows["rejected"] + rows["left_out"]


def test_shares_are_of_the_rows_that_passed_the_checks(project) -> None:
    project.write("cards.jsonl", [*CARDS, *CARDS[:50]])
    project.write("loans.jsonl", [*LOANS[:60], *[dialogue(f"Bad {i}?", "") for i in range(40)]])
    summary = project.check({"path": "cards.jsonl", "weight": 1}, {"path": "loans.jsonl", "weight": 1})
    assert kept(summary) == {"cards.jsonl": 60, "loans.jsonl": 60}
    assert (summary["rows"]["rejected"], summary["rows"]["left_out"]) == (90, 240)


def test_a_cap_comes_before_the_shares(project) -> None:
    project.write("cards.jsonl", CARDS)
    project.write("loans.jsonl", LOANS)
    summary = project.check(
        {"path": "cards.jsonl", "weight": 1, "max_rows": 40}, {"path": "loans.jsonl", "weight": 1}
    )
    assert kept(summary) == {"cards.jsonl": 40, "loans.jsonl": 40}


def test_a_cap_on_a_folder_is_on_all_of_it_and_the_same_rows_stay_in_any_order(project) -> None:
    project.write("raw/a.jsonl", CARDS[:200])
    project.write("raw/b.jsonl", CARDS[200:])
    first = project.prepare({"path": "raw", "max_rows": 90})
    summary = json.loads((first / "data.json").read_text())
    assert sum(kept(summary).values()) == 90
    assert summary["rows"]["left_out"] == sum(source["left_out"] for source in summary["sources"]) == 210
    shuffled = random.Random(1).sample(CARDS, len(CARDS))
    project.write("raw/a.jsonl", shuffled[:20])
    project.write("raw/b.jsonl", shuffled[20:])
    second = project.prepare({"path": "raw", "max_rows": 90})
    assert second != first
    assert ids(second) == ids(first)


def test_what_is_left_out_is_no_problem_and_is_shown(project) -> None:
    found = project.look({**project.write("cards.jsonl", CARDS), "max_rows": 100})
    assert not found.rejected and not found.refused
    folder = project.prepare({"path": "cards.jsonl", "max_rows": 100})
    assert (folder / "rejected.jsonl").read_text() == ""
    page = (folder / "data.html").read_text()
    row = re.search(r"<code>cards.jsonl</code>.*?</tr>", page, re.DOTALL)
    assert row and re.findall(r'class="n">([\d,]+)<', row.group()) == ["300", "100", "0", "200"]


def test_rows_with_equal_messages_are_told_apart_by_their_columns(project) -> None:
    rows = [dialogue("Same?", "Yes.", label=f"l{i}") for i in range(20)]
    checks = {"duplicates": "report"}
    settings = {"checks": checks, "slices": ["label"]}
    chosen = []
    for order in (rows, rows[::-1]):
        project.write("a.jsonl", order)
        chosen.append(project.check({"path": "a.jsonl", "max_rows": 5}, **settings)["slices"]["label"])
    assert len(chosen[0]) == 5 and set(chosen[0]) == set(chosen[1])


def test_an_empty_source_has_no_part_in_the_shares() -> None:
    sources = [Source(path=name, weight=1) for name in ("a", "b", "c")]
    assert allowed({0: 10, 1: 4}, sources) == {0: 4, 1: 4}
    assert allowed({}, sources) == {}


@pytest.mark.parametrize("value", [0, -1])
def test_a_share_or_cap_of_nothing_is_refused(value: int) -> None:
    for name in ("weight", "max_rows"):
        with pytest.raises(ValueError, match="greater than 0"):
            Source(path="a.jsonl", **{name: value})


def test_a_grammar_has_its_own_number() -> None:
    with pytest.raises(ValueError, match="`dialogues` is a grammar's number"):
        Source(grammar="g.yaml", max_rows=5)
