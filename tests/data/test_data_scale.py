"""Many rows: the same result from any number of processes, near rows found in a crowd, little memory."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dialogue_rows import dialogue

from kit.config.errors import DataError
from kit.data.near import pieces
from kit.data.neighbours import Beginnings, Marks, find_neighbours, marks_of
from kit.data.pool import ordered_map
from kit.data.write import _parts
from kit.files import sha256_file
from kit.hooks import Hooks, Metric

WORDS = [
    "fee",
    "card",
    "loan",
    "rate",
    "home",
    "limit",
    "branch",
    "refund",
    "transfer",
    "statement",
    "address",
    "travel",
]


def many(count: int) -> list[dict[str, Any]]:
    """Distinct questions of a few words, and a fault of every kind now and then."""
    rows = []
    for i in range(count):
        one, two, three = WORDS[i % 12], WORDS[i // 12 % 12], WORDS[i // 144 % 12]
        asked = f"What does the {one} of my {two} and the {three} number {i} cost?"
        rows.append(dialogue(asked, f"It costs {i} euros. Anything else I can do?", customer=f"c{i % 700}"))
    rows[7]["messages"][1]["content"] = ""
    rows[40] = rows[39]
    rows[1100]["messages"][0]["content"] = "Write to me at jo.smith@mail.example, please."
    rows[1101] = dialogue(rows[1100]["messages"][0]["content"], "Another answer.", customer="c2")
    rows[1500]["customer"] = rows[1501]["customer"] = "+44 20 7946 0018"
    return rows


def cards(count: int) -> list[dict[str, Any]]:
    return [dialogue(f"What does card {i} cost?", f"Card {i} costs {i} euros.") for i in range(count)]


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder by its hash."""
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_number_of_processes_changes_nothing(project) -> None:
    source = project.write("a.jsonl", many(2200))
    settings: dict[str, Any] = {"split": {"group_by": "customer"}, "personal": "mask", "slices": ["customer"]}
    first = project.prepare(source, num_proc=1, **settings)
    alone = contents(first)
    assert json.loads((first / "data.json").read_text())["rows"]["rejected"] >= 3
    for path in sorted(first.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    first.rmdir()
    assert project.prepare(source, num_proc=3, **settings) == first, "num_proc is in no fingerprint"
    assert contents(first) == alone


def test_a_fault_in_a_later_file_is_told_with_the_rows_of_all_processes(project) -> None:
    rows = many(1600)
    rows[1150]["messages"][0]["role"] = "robot"
    with pytest.raises(DataError) as caught:
        project.check(project.write("a.jsonl", rows), project.write("b.jsonl", ""), num_proc=2)
    told = [str(problem) for problem in caught.value.problems]
    assert "b.jsonl: the file is empty" in told[0]
    assert any(line.startswith("a.jsonl:1151:") and "robot" in line for line in told)


def test_a_process_that_is_killed_is_an_error_with_advice(project, dialogues) -> None:
    project.hooks = Hooks(checks={"kills": lambda row: os.kill(os.getpid(), signal.SIGKILL)})
    with pytest.raises(DataError, match=r"data.num_proc: a process ended without a word after 0 rows"):
        project.check(project.write("a.jsonl", dialogues), checks={"custom": {"kills": "report"}}, num_proc=2)


def test_results_come_in_order_and_no_batch_is_read_long_before_its_turn() -> None:
    read: list[int] = []

    def batches() -> Any:
        for number in range(40):
            read.append(number)
            yield number

    for done, (number, process) in enumerate(ordered_map(square_slowly_at_first, batches(), 2)):
        assert number == done * done
        assert process != os.getpid()
        assert len(read) <= done + 7, "read ahead of the work"


def square_slowly_at_first(number: int) -> tuple[int, int]:
    time.sleep(0.05 if number == 0 else 0)
    return number * number, os.getpid()


def test_few_batches_start_no_process() -> None:
    assert [process for _, process in ordered_map(square_slowly_at_first, iter(range(3)), None)] == [
        os.getpid()
    ] * 3


def test_hooks_that_cannot_be_sent_to_other_processes_are_run_in_this_one(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where processes are not forked."""
    monkeypatch.setattr("kit.data.pool._FORKED", False)
    short: Any = lambda row: "short" if len(row["messages"][1]["content"]) < 22 else None  # noqa: E731
    source = project.write("a.jsonl", cards(600))
    settings: dict[str, Any] = {"checks": {"custom": {"short": "report"}}}
    project.hooks = Hooks(checks={"short": short})
    found = project.check(source, num_proc=2, **settings)
    assert next(check["count"] for check in found["checks"] if check["name"] == "short") > 0
    assert found == project.check(source, num_proc=1, **settings)


def test_processes_that_are_not_forked_find_the_same(project, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str | None] = []

    def context(method: str | None = None) -> Any:
        started.append(method)
        return multiprocessing.get_context(method)

    monkeypatch.setattr("kit.data.pool._FORKED", False)
    monkeypatch.setattr("kit.data.pool.multiprocessing", types.SimpleNamespace(get_context=context))
    # Metrics stay here: that one is a lambda keeps nothing from being sent.
    project.hooks = Hooks(metrics={"length": Metric("Length", lambda answers, _: [1.0 for _ in answers])})
    source = project.write("a.jsonl", cards(600))
    found = project.check(source, num_proc=2)
    assert started == ["spawn"]
    assert found == project.check(source, num_proc=1)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_full_disk_is_told_with_the_folder_and_what_to_do(project) -> None:
    import resource

    source = project.write("a.jsonl", cards(600))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"(?s)cannot be kept there.*TMPDIR") as caught:
            project.check(source, num_proc=1, checks={"language": "off"})  # langid writes a file as well
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.problems[0].where == tempfile.gettempdir()


def test_what_was_found_in_long_documents_is_not_kept_in_memory() -> None:
    """Some 50 bytes a character: of 4,096 pages of a book, gigabytes."""
    page, line = "a word and another " * 200, "a word"
    of_page, of_line = pieces(page), pieces(line)
    for number in range(20):
        pieces(f"{number} {page}")
    assert pieces(line) is of_line
    assert pieces(page) is not of_page
    assert pieces(page) == of_page


def test_long_records_are_worked_on_and_written_few_at_a_time(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred books would not fit in memory, nor ten thousand in one batch of Arrow."""
    source = project.write("a.jsonl", cards(60))
    usual = project.check(source)
    sizes: list[int] = []

    def watched(work: Any, batches: Any, processes: int | None) -> Any:
        for batch in batches:
            sizes.append(len(batch.records))
            yield work(batch)

    monkeypatch.setattr("kit.data.gather.ordered_map", watched)
    monkeypatch.setattr("kit.data.gather._LETTERS", 1000)
    assert project.check(source) == usual
    assert sum(sizes) == 60
    assert 1 < max(sizes) < 30
    monkeypatch.setattr("kit.data.write._LETTERS_AT_ONCE", 100)
    parts = list(_parts({"messages": [{"content": "a" * 60}]} for _ in range(5)))
    assert [len(part) for part in parts] == [2, 2, 1]


ORPHANS = """
import os, time
from kit.data.near import pieces
from kit.data.neighbours import Beginnings, Marks, find_neighbours, marks_of
from kit.data.pool import ordered_map
def work(number):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, for the other writes at the same time
    time.sleep(60)
list(ordered_map(work, iter(range(2)), 2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")
def test_processes_end_with_their_parent_even_if_it_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(parent.stdout.readline()) for _ in range(2)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while any(map(is_alive, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_alive, children))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and " Z " in state.read_text())


def test_near_rows_are_found_in_a_crowd_of_one_template(project) -> None:
    """Hundreds of rows share nearly every piece; the two that are near are found among them."""
    crowd = [
        dialogue(
            f"Dear service team, could you tell me how I can order a new {WORDS[i % 12]} for my "
            f"{WORDS[i // 12 % 12]} at the {WORDS[i // 144 % 12]} counter today?",
            f"Answer {i} to it.",
        )
        for i in range(900)
    ]
    twin = json.loads(json.dumps(crowd[500]))
    twin["messages"][0]["content"] = twin["messages"][0]["content"].replace(
        "could you tell", "could you please tell"
    )
    twin["messages"][1]["content"] = "Something else."
    found = project.check(project.write("a.jsonl", [*crowd, twin]), split={"valid": 0, "test": 0})
    near = next(check for check in found["checks"] if check["name"] == "near_conflict")
    pairs = {(example["where"], example["pair"]["where"]) for example in near["examples"]}
    assert ("a.jsonl:901", "a.jsonl:501") in pairs, near


def test_rows_with_the_same_long_answer_are_compared_only_if_they_ask_nearly_the_same() -> None:
    """Else hundreds of rows that got one answer are all read from disk and compared word by word."""
    answer = " ".join(f"Then {one} comes before {other}." for one in WORDS[:4] for other in WORDS[4:8])
    asked = [f"{WORDS[i % 12]} {WORDS[i // 12 % 12]} {WORDS[i // 144 % 12]} how so?" for i in range(900)]
    twin = f"{asked[500]} Hm?", f"{answer} Always."
    prompts, wholes = Marks(), Marks()
    for dialogue_turns in [*((question, answer) for question in asked), twin]:
        prompt, whole = marks_of(dialogue_turns)
        prompts.extend([prompt])
        wholes.extend([whole])
    which = np.arange(901)
    by_the_whole = find_neighbours(wholes, which, 0.8)
    beginnings = Beginnings(prompts, which, np.ones(901, dtype=np.int64))
    by_the_question = find_neighbours(wholes, which, 0.8, beginnings=beginnings)
    assert 500 in by_the_question.of(900)
    assert len(by_the_question.earlier) < len(by_the_whole.earlier) / 3
