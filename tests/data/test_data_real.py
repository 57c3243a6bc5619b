"""Real files, with their dirt: every row is accounted for, and the known faults are found."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from chat_tokenizers import chat_tokenizer, shared_data

from kit.config.errors import DataError
from kit.config.schema import Config
from kit.data.personal import find
from kit.data.prepare import check
from kit.hooks import Hooks

QA = {"prompt": "question", "completion": "answer"}


FILES = {
    "medical_medquad_en": QA,
    "ecom_mschitchat_multi": QA,
    "medical_toyhom_zh": {"prompt": "ask", "completion": "answer"},
    "finance_disc_zh": {},
    "finance_tatqa_en": QA,
}


@cache
def check_file(name: str) -> dict[str, Any]:
    path = shared_data() / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared test data (set CASEKIT_SHARED_DATA)")
    source = {"path": str(path), "columns": FILES.get(name, {})}
    slices = ["language"] if name.endswith("multi") else []
    config = Config.model_validate({"data": {"sources": [source], "slices": slices}})
    return check(config, path.parent, Hooks(), chat_tokenizer()).summary


def counts(summary: dict[str, Any]) -> dict[str, int]:
    return {found["name"]: found["count"] for found in summary["checks"]}


@pytest.mark.parametrize("name", FILES)
def test_every_real_row_is_kept_or_turned_away(name: str) -> None:
    rows = check_file(name)["rows"]
    with (shared_data() / f"{name}.jsonl").open("rb") as file:
        assert rows["read"] == sum(1 for _ in file) == rows["kept"] + rows["rejected"]
    assert rows["kept"] == rows["train"] + rows["valid"] + rows["test"] > 0


def test_consultations_that_are_repeated_are_found() -> None:
    """128 rows are equal to the byte; more are the same consultation under another title."""
    assert counts(check_file("medical_toyhom_zh"))["duplicate"] >= 128


def test_answers_that_are_lists_are_turned_away_by_type() -> None:
    format_check = next(c for c in check_file("finance_tatqa_en")["checks"] if c["name"] == "format")
    assert format_check["count"] == 539
    assert "completion must be a text, found ['Land and improvements'" in format_check["examples"][0]["text"]


def test_empty_answers_of_the_small_talk_are_found() -> None:
    summary = check_file("ecom_mschitchat_multi")
    assert counts(summary)["empty"] == 3
    assert set(summary["slices"]["language"]) == {"en", "fr", "es"}


def test_customer_turns_alone_need_a_reader_of_the_project() -> None:
    with pytest.raises(DataError, match="no known format has the columns conversationId, domain"):
        check_file("finance_multidogo_en")


def test_small_talk_that_declines_is_found_and_its_three_languages_raise_no_alarm() -> None:
    source = {"path": str(shared_data() / "ecom_mschitchat_multi.jsonl"), "columns": QA}
    if not (shared_data() / "ecom_mschitchat_multi.jsonl").is_file():
        pytest.skip("the small talk is not in the shared test data (set CASEKIT_SHARED_DATA)")
    tree = {
        "project": {"languages": ["en", "fr", "es"]},
        "data": {"sources": [source], "slices": ["language"]},
    }
    summary = check(Config.model_validate(tree), shared_data(), Hooks(), chat_tokenizer()).summary
    assert counts(summary)["refusal"] == 24
    assert {name: counts(summary)[name] for name in ("language", "encoding", "html", "template_marks")} == {
        "language": 0,
        "encoding": 0,
        "html": 0,
        "template_marks": 0,
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("finance_multidogo_en", {"card": 17, "phone": 29, "national_id": 9}),
        ("finance_obliqa_en", {"email": 4}),
        ("medical_medquad_en", {"phone": 22, "email": 3}),
        ("ecom_bitext_en", {}),
        ("finance_tatqa_en", {}),
    ],
)
def test_personal_data_of_real_rows_is_what_was_read_by_hand(name: str, found: dict[str, int]) -> None:
    """Rows by kind, as in docs/explanation/real-data.md: section numbers, tables and orders are no data of
    anyone.
    """
    path = shared_data() / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the shared test data (set CASEKIT_SHARED_DATA)")
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8") as file:
        for line in file:
            counts.update({one.kind for text in texts_in(json.loads(line)) for one in find(text)})
    assert counts == found


def texts_in(value: Any, name: str = "") -> Iterator[str]:
    """All texts of a record but its ids and origin."""
    if name in {"source", "license", "conversationId", "url", "id", "uid", "qid", "docid"}:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from texts_in(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)
