"""`casekit data show` as a person types it: any row, token by token, with and without colour."""

import json
import re
from pathlib import Path

import pytest
from chat_tokenizers import chat_tokenizer
from dialogue_rows import dialogue
from rich.console import Console

from kit import cli_data
from kit.config.schema import Config
from kit.data.lookup import find_rows
from kit.data.prepared import load_split
from kit.data.rows import Row
from kit.data.show import pieces
from kit.terminal_rows import Look, rows_text

WORDS = ("data.split.group_by=null",)


@pytest.fixture
def prepared(casekit) -> Path:
    """The prepared folder of sixty rows, of which two are turned away."""
    rows = [json.dumps(dialogue(f"Question {i}?", f"Yes, {i}.", topic=f"t{i % 2}")) for i in range(60)]
    rows[7] = json.dumps(dialogue("Why?", "", topic="t7"))
    rows[9] = rows[8]
    Path("a.jsonl").write_text("\n".join(rows))
    assert casekit("data", "prepare", *WORDS)[0] == 0
    (folder,) = Path("data/prepared").iterdir()
    return folder


def test_without_colour_brackets_stand_round_exactly_what_carries_loss(casekit, prepared: Path) -> None:
    row = load_split(prepared, "train")[3]
    code, out, _ = casekit("data", "show", "3", *WORDS)
    assert code == 0
    legend, _, title, *_ = out.splitlines()
    assert legend == "⟪trained on⟫: carries loss; the rest is only read"
    assert title.startswith(f"train 3, a.jsonl:{row.line}, id {row.id}: ")
    body = out.split("\n", 3)[3]
    assert re.findall("⟪(.*?)⟫", body, flags=re.DOTALL) == [f"{row.answer}<|im_end|>"]
    assert f"<|im_start|>user\n{row.messages[0]['content']}<|im_end|>" in body
    assert "topic: t" in body


def test_with_colour_green_is_exactly_what_carries_loss_and_no_bracket_is_needed(
    casekit, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = load_split(prepared, "train")[0]
    monkeypatch.setattr(cli_data, "console", Console(force_terminal=True, color_system="standard"))
    _, out, _ = casekit("data", "show", *WORDS)
    assert "⟪" not in out
    green = re.findall("\x1b\\[1;32m(.*?)\x1b\\[0m", out, flags=re.DOTALL)
    assert green == ["bold green", f"{row.answer}<|im_end|>"]
    monkeypatch.setattr(cli_data, "console", Console(force_terminal=True, no_color=True))
    assert "⟪trained on⟫" in casekit("data", "show", *WORDS)[1]


def test_a_row_is_found_by_its_id_and_by_its_file_and_line(casekit, prepared: Path) -> None:
    row = load_split(prepared, "test")[1]
    for word in (row.id, f"a.jsonl:{row.line}"):
        code, out, _ = casekit("data", "show", word, *WORDS)
        assert code == 0
        assert f"test 1, a.jsonl:{row.line}, id {row.id}: " in out
    code, _, err = casekit("data", "show", row.id, "--split", "train", *WORDS)
    assert code == 2
    assert f"no row of train has the id {row.id}" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["999"], "train has"),
        (["0" * 16], "no row of any split has the id"),
        (["nonsense"], "names no row"),
        (["b.jsonl:1"], "neither kept nor rejected"),
        (["--split", "trian"], "the splits are train, valid, test"),
        (["--rejected", "2"], "2 rows were rejected, numbered from 0"),
        (["3", "--rejected", "1"], "more than one row is named"),
    ],
)
def test_a_row_that_is_not_there_is_bad_input(casekit, prepared: Path, words: list[str], said: str) -> None:
    code, out, err = casekit("data", "show", *words, *WORDS)
    assert (code, out) == (2, "")
    assert said in err


def test_a_rejected_row_is_shown_with_its_check_its_reason_and_what_was_found(
    casekit, prepared: Path
) -> None:
    for words in (["--rejected", "0"], ["a.jsonl:8"]):
        code, out, _ = casekit("data", "show", *words, *WORDS)
        assert code == 0
        assert out.startswith("a.jsonl:8: rejected by the check empty\nturn 2 (the assistant's) is empty\n")
        assert 'user: Why?\nassistant: \ntopic: "t7"' in out
    _, out, _ = casekit("data", "show", "--rejected", "1", *WORDS)
    assert "a.jsonl:10: rejected by the check duplicate\nsame as a.jsonl:9\n" in out


def test_tokens_are_set_apart(casekit, prepared: Path) -> None:
    _, out, _ = casekit("data", "show", "0", "--tokens", *WORDS)
    title, body = out.split("\n", 3)[2:]
    tokens = int(re.search(r": (\d+) tokens", title)[1])
    assert body.count("│") == tokens, "every text here is plain, so each token is a unit of its own"
    assert "│: where a token ends" in out.splitlines()[0]


@pytest.mark.parametrize("word_marks", [False, True])
def test_units_join_to_the_text_that_the_tokens_say(word_marks: bool) -> None:
    tokenizer = chat_tokenizer(word_marks=word_marks)
    messages = dialogue("What does it cost? 12 euros a year 贵😀", "Ça coûte 12 € 😀😀. The card.")[
        "messages"
    ]
    (sample,) = pieces(Row("a", 1, messages, {}), tokenizer, Config())
    units = [unit for piece in sample for unit in piece.units]
    assert all(units)
    if not word_marks:  # a small vocabulary of words has no bytes to fall back on
        assert "".join(units) == tokenizer.apply_chat_template(messages, tokenize=False).rstrip("\n")
        assert not any("\ufffd" in unit for unit in units)
        assert {"😀", "贵"} <= set(units)
    else:
        assert " The" in units and " card" in units, "a word keeps the space it begins with"


def test_brackets_are_others_where_the_text_has_them(project) -> None:
    rows = [dialogue(f"What is ⟪{i}⟫?", f"A ⟪pair⟫ {i}.") for i in range(40)]
    folder = project.prepare(project.write("a.jsonl", rows))
    places = find_rows(folder, "0")
    text = rows_text(places, project.tokenizer, project.config(), Look(colour=False, tokens=False)).plain
    assert f"⦗{places[0].row.answer}<|im_end|>⦘" in text


def test_text_that_would_steer_the_terminal_is_spelled_out(project) -> None:
    rows = [dialogue(f"What is {i}?", f"Red \x1b[31m{i}.") for i in range(40)]
    folder = project.prepare(project.write("a.jsonl", rows))
    text = rows_text(
        find_rows(folder, "0"), project.tokenizer, project.config(), Look(colour=True, tokens=False)
    ).plain
    assert "\x1b" not in text and "⟦U+001B⟧[31m" in text


def many(count: int = 60) -> list[dict]:
    """Rows of two slices, one row of a third, one long, one with three answers, one with a person's mail."""
    rows = [dialogue(f"Question {i}?", f"Yes, {i}.", topic=f"t{i % 2}") for i in range(count)]
    rows[20]["topic"] = "rare"
    rows[21]["messages"][1]["content"] = "It costs. " * 3000
    for turn in (1, 2):
        rows[22]["messages"] += dialogue(f"And {turn}?", f"Then {turn}.")["messages"]
    rows[23]["messages"][0]["content"] = "I am ana@example.org, and it is so long: " + "why? " * 500
    return rows


def test_the_page_shows_a_spread_of_rows_and_stays_small(project) -> None:
    source = project.write("a.jsonl", [*many(), dialogue("Test?", "Yes.", topic="t0", split="test")])
    split = {"column": "split", "valid": 0, "test": 0}
    folder = project.prepare(source, max_length=100_000, slices=["topic"], split=split)
    page = (folder / "data.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'<span class="what">([^<]+?) <code>(a\.jsonl:\d+)</code>', page))
    assert shown["the longest"] == "a.jsonl:22", "and not the one that names a person"
    assert shown["the most turns"] == "a.jsonl:23"
    assert shown["topic: rare"] == "a.jsonl:21"
    assert "the shortest" in shown
    assert "ana@" not in page
    assert len(re.findall("<details", page.partition("What carries loss")[2])) >= 6
    tokens = len(chat_tokenizer().encode("It costs. " * 3000))
    left_out = int(re.search(r"some ([\d,]+) tokens are left out", page)[1].replace(",", ""))
    assert 0 < tokens - left_out < 1000
    assert len(page) < 100_000


def test_the_page_is_the_same_whatever_the_order_of_rows(project) -> None:
    rows = [dialogue(f"Question {i}?", f"Yes, {i}.", topic=f"t{i % 40}") for i in range(200)]
    pages = []
    for order in (rows, rows[::-1]):
        folder = project.prepare(project.write("a.jsonl", order), slices=["topic"])
        page = (folder / "data.html").read_text(encoding="utf-8").partition("What carries loss")[2]
        pages.append(set(re.findall('<p class="soft">id <code>(.*?)</code>', page)))
    assert len(pages[0]) == 16, "bounded, however many slices there are"
    assert pages[0] == pages[1]
