"""Prepared data on disk: the contract the later stages read, its fingerprint, its page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from dialogue_rows import dialogue

from kit.config.errors import DataError
from kit.data.fingerprint import fingerprint
from kit.data.prepared import find_prepared, load_split, load_summary
from kit.data.rows import Row
from kit.data.same import key
from kit.data.summary import _tokens
from kit.hooks import Hooks


def test_prepared_folder_holds_what_the_contract_says(project, dialogues) -> None:
    source = project.write("a.jsonl", [*dialogues, dialogues[0]])
    folder = project.prepare(source, expected=["customer"], slices=["topic"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "data.html", "data.json", "rejected.jsonl", "test", "train", "valid",
    ]  # fmt: skip
    assert folder == project.root / "data" / "prepared" / load_summary(folder)["fingerprint"]
    rows = [row for split in ("train", "valid", "test") for row in load_split(folder, split)]
    assert len({row.id for row in rows}) == len(rows) == 60
    by_line = {row.line: row for row in rows}
    row = by_line[5]
    assert (row.source, row.expected, row.slices) == (
        "a.jsonl",
        {"customer": "c4", "topic": "t1"},
        {"topic": "t1"},
    )
    assert row.messages == dialogues[4]["messages"]
    assert (row.prompt, row.answer) == (row.messages[:1], "Card 4 costs 4 euros.")
    assert row.group == key(row.prompt), "rows that ask the same are one group"
    (rejected,) = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert (rejected["where"], rejected["check"], rejected["reason"]) == (
        "a.jsonl:61",
        "duplicate",
        "same as a.jsonl:1",
    )
    assert rejected["row"]["messages"] == dialogues[0]["messages"]


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (20, 19), (21, 20), (100, 95)])
def test_the_95th_percentile_is_the_nearest_rank(count: int, rank: int) -> None:
    """Of twenty lengths the longest is the 100th percentile, not the 95th."""
    rows = [Row("a", n, [], {}, tokens=n, all_tokens=n) for n in range(1, count + 1)]
    assert _tokens(rows)["p95"] == rank


def test_summary_counts_lengths_slices_and_sources(project, dialogues) -> None:
    dialogues[7] = dialogue("Long? " * 20, "Card 7 costs 7 euros.", topic="t1")
    folder = project.prepare(project.write("a.jsonl", dialogues), slices=["topic"])
    summary = load_summary(folder)
    tokens = summary["tokens"]
    assert sum(bin_["count"] for bin_ in tokens["histogram"]) == summary["rows"]["kept"] == 60
    assert 0 < tokens["median"] <= tokens["p95"] < tokens["max"], "one dialogue is by far the longest"
    assert tokens["histogram"][-1]["low"] <= tokens["max"] < tokens["histogram"][-1]["high"]
    assert 0 < tokens["supervised_share"] < 1
    assert summary["slices"] == {"topic": {"t0": 20, "t1": 20, "t2": 20}}
    (source,) = summary["sources"]
    assert (source["name"], source["format"], source["synthetic"], source["rows"]) == (
        "a.jsonl",
        "messages",
        False,
        60,
    )
    assert summary["settings"]["max_length"] == 512


def test_same_data_is_prepared_once(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    folder = project.prepare(source)
    marker = folder / "data.json"
    before = marker.stat().st_mtime_ns
    assert project.prepare(source) == folder
    assert marker.stat().st_mtime_ns == before
    assert find_prepared(project.config(source), project.root, project.hooks, project.tokenizer) == folder


def test_preparing_twice_gives_the_same_rows(project, dialogues, tmp_path) -> None:
    source = project.write("a.jsonl", dialogues)
    first = [load_split(project.prepare(source), split) for split in ("train", "valid", "test")]
    project.write("a.jsonl", dialogues[::-1])
    second = [load_split(project.prepare(source), split) for split in ("train", "valid", "test")]
    for one, other in zip(first, second, strict=True):
        assert {row.id for row in one} == {row.id for row in other}


def test_fingerprint_sees_everything_that_changes_the_result(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    hook = project.root / "hooks.py"
    hook.write_text("readers = {}")
    hooks = Hooks(files=(hook,))

    def now(tokenizer=project.tokenizer, **settings) -> str:
        return fingerprint(project.config(source, **settings), project.root, hooks, tokenizer)

    first = now()
    assert now() == first
    assert now(chat_tokenizer()) == first
    changed = [
        now(max_length=256),
        now(slices=["topic"]),
        now(chat_tokenizer(CHATML.replace("\\n", " "))),
        now(chat_tokenizer(controls=("<|more|>",))),
    ]
    hook.write_text("readers = {'a': 1}")
    changed.append(now())
    project.write("a.jsonl", dialogues[1:])
    changed.append(now())
    assert len({first, *changed}) == 7


def test_data_that_was_never_prepared_says_what_to_run(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    config = project.config(source)
    with pytest.raises(DataError, match="not prepared yet") as caught:
        find_prepared(config, project.root, project.hooks, project.tokenizer)
    assert "casekit data prepare" in caught.value.problems[0].hint
    project.prepare(source)
    project.write("a.jsonl", dialogues[:50])
    with pytest.raises(DataError, match=r"before this changed: a\.jsonl has other contents \(sha256 "):
        find_prepared(config, project.root, project.hooks, project.tokenizer)


def test_what_changed_since_data_was_prepared_is_named_with_both_values(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    project.prepare(source)
    hook = project.root / "hooks.py"
    hook.write_text("readers = {}")

    def told(*sources, tokenizer=project.tokenizer, hooks=project.hooks, **settings) -> str:
        config = project.config(*(sources or [source]), **settings)
        with pytest.raises(DataError, match="casekit data prepare") as caught:
            find_prepared(config, project.root, hooks, tokenizer)
        return caught.value.problems[0].message.removeprefix("was prepared before this changed: ")

    assert told(max_length=256) == "`model.max_length` was 512 and is 256"
    assert told(stage="pretrain") == "`train.stages` was ['sft'] and is ['pretrain']"
    assert told(slices=["topic"], split={"test": 0.2}) == (
        "`data.slices` was [] and is ['topic']; `data.split.test` was 0.1 and is 0.2"
    )
    other = project.write("b.jsonl", dialogues[:9])
    assert told(source, other) == (
        "`data.sources[1]` was not there and is {'path': 'b.jsonl'}; read now as well: b.jsonl"
    )
    assert told(other) == (
        "`data.sources[0]` was {'path': 'a.jsonl'} and is {'path': 'b.jsonl'}; "
        "read now as well: b.jsonl; read no more: a.jsonl"
    )
    assert "the tokenizer, or its chat template" in told(tokenizer=chat_tokenizer(controls=("<|more|>",)))
    assert "the project's hooks, casekit's own code" in told(hooks=Hooks(files=(hook,)))


def test_check_writes_nothing(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    summary = project.check(source)
    assert not (project.root / "data").exists()
    assert summary == load_summary(project.prepare(source))


def test_nothing_left_to_test_on_is_an_error_that_says_why(project) -> None:
    rows = [dialogue(f"Question {i}?", "Yes.", fold="train") for i in range(5)]
    rows += [dialogue("Held out?", "", fold="test")]
    with pytest.raises(DataError) as caught:
        project.prepare(project.write("a.jsonl", rows), split={"column": "fold", "valid": 0})
    first, second = caught.value.problems
    assert "nothing usable is left in test: 6 rows read, 5 kept" in first.message
    assert (second.where, second.hint) == ("a.jsonl:6", "check empty: 1 in all")
    assert not (project.root / "data").exists()


def test_a_project_may_do_without_validation(project, dialogues) -> None:
    folder = project.prepare(project.write("a.jsonl", dialogues), split={"valid": 0, "test": 0.2})
    assert load_split(folder, "valid") == []
    assert load_summary(folder)["rows"]["valid"] == 0
    assert load_split(folder, "train")


def test_expected_keeps_types_parses_json_text_and_fills_with_null(project) -> None:
    rows = [
        dialogue(
            f"Question {i}?",
            "Yes.",
            required=[["order 12"]],
            facts='{"days": 3}',
            note="[sic",
            score=float("nan"),
        )
        for i in range(40)
    ]
    rows[0] = dialogue("Question 0?", "Yes.", score=1.5)
    columns = ["required", "facts", "note", "score"]
    folder = project.prepare(project.write("a.jsonl", rows), expected=columns, slices=["note"])
    by_line = {row.line: row for split in ("train", "valid", "test") for row in load_split(folder, split)}
    assert by_line[2].expected == {
        "required": [["order 12"]],
        "facts": {"days": 3},
        "note": "[sic",
        "score": None,
    }
    assert by_line[1].expected == {"required": None, "facts": None, "note": None, "score": 1.5}
    assert by_line[1].slices == {"note": "(missing)"}
    counted = next(check for check in load_summary(folder)["checks"] if check["name"] == "expected")
    assert (counted["severity"], counted["count"]) == ("report", 40)


def test_synthetic_dialogues_are_marked(project) -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    grammar = (recipes / "finance" / "dialogues.yaml").read_text(encoding="utf-8")
    project.write("conf/dialogues.yaml", grammar)
    folder = project.prepare({"grammar": "conf/dialogues.yaml", "dialogues": 60}, split={"column": "split"})
    summary = load_summary(folder)
    (source,) = summary["sources"]
    assert (source["format"], source["synthetic"], summary["rows"]["read"]) == ("grammar", True, 60)
    assert "synthetic" in (folder / "data.html").read_text(encoding="utf-8")


def test_unknown_split_and_broken_folder_are_errors(project, dialogues) -> None:
    folder = project.prepare(project.write("a.jsonl", dialogues))
    with pytest.raises(DataError, match="the splits are train, valid, test"):
        load_split(folder, "dev")
    (folder / "data.json").write_text("{")
    with pytest.raises(DataError, match=r"data\.json"):
        load_summary(folder)


class _Page(HTMLParser):
    """Collects what a browser would run, fetch or close wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.marked: list[str] = []

    def handle_starttag(self, tag: str, attributes) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "mark":
            self.marked.append("")
        self.links += [
            value for name, value in attributes if name in ("src", "href") or name.startswith("on")
        ]

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:  # meta and line are never closed
            pass

    def handle_data(self, data: str) -> None:
        if "mark" in self.open:
            self.marked[-1] += data


def test_page_escapes_hostile_text_and_fetches_nothing(project) -> None:
    hostile = '<script>alert(1)</script><img src=x onerror=alert(1)> & "quotes" ‮'
    rows = [dialogue(f"{hostile} {i}?", f"{hostile} {i}", topic=hostile) for i in range(40)]
    rows += [dialogue(hostile, "", topic=hostile)]
    folder = project.prepare(project.write("<b>a.jsonl", rows), slices=["topic"])
    page = _Page()
    page.feed((folder / "data.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "b", "link"} & set(page.tags)
    assert page.tags.count("i") > 100, "each token is an element of its own"
    assert page.links == []
    assert sum(f"{hostile} " in text for text in page.marked) == 6
