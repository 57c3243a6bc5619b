"""Plain text for pretraining: read, checked, split and tokenised with loss on every token."""

import json
from typing import Any

import pytest
from chat_tokenizers import chat_tokenizer
from dialogue_rows import dialogue

from kit.config import load_config
from kit.config.errors import ConfigError, DataError
from kit.config.schema import Config
from kit.data.prepare import check, prepare
from kit.data.prepared import load_split
from kit.data.render import TemplateRefusedError, render
from kit.evaluate.prompts import load_prompts
from kit.hooks import Hooks


def pretraining(project, *sources: dict[str, Any], **data: Any) -> Config:
    config = project.config(*sources, **data)
    return config.model_copy(update={"train": config.train.model_copy(update={"stage": "pretrain"})})


def look(project, *sources: dict[str, Any], **data: Any):
    config = pretraining(project, *sources, **data)
    return check(config, project.root, project.hooks, project.tokenizer)


def text(count: int) -> str:
    return "\n\n".join(f"Article {i} is about cards.\nIt has a second line, {i}." for i in range(count))


def document(words: str) -> list[dict[str, str]]:
    return [{"role": "document", "content": words}]


def test_blank_lines_part_the_documents_of_a_text_file(project) -> None:
    content = (
        "\ufeffOne,\r\nstill one.\r\n\r\n \t\r\nTwo.\r\n\r\n\r\ncaf\x00".encode() + b"\n\ncaf\xe9\nx\n\nLast."
    )
    found = look(project, project.write("a.txt", content), split={"valid": 0.1, "test": 0.1})
    (source,) = found.summary["sources"]
    assert (source["kind"], source["format"], source["columns"], source["rows"]) == (
        "plain text",
        "text",
        {"text": "text"},
        5,
    )
    assert [(row.where, row.check) for row in found.rejected] == [
        ("a.txt:8", "format"),
        ("a.txt:10", "unreadable"),
    ]
    assert "byte 0xe9 in line 10 (é in Windows-1252" in found.rejected[1].reason


@pytest.mark.parametrize("suffix", ["txt", "md", "txt.gz", "jsonl"])
def test_documents_are_prepared_and_split_like_rows(project, suffix: str) -> None:
    import gzip

    content: Any = text(60)
    if suffix == "jsonl":
        content = [{"text": document, "topic": "cards"} for document in content.split("\n\n")]
    elif suffix == "txt.gz":
        content = gzip.compress(content.encode())
    config = pretraining(project, project.write(f"a.{suffix}", content), system_prompt="Be brief.")
    folder = prepare(config, project.root, project.hooks, project.tokenizer)
    summary = json.loads((folder / "data.json").read_text())
    assert (summary["rows"]["read"], summary["rows"]["kept"]) == (60, 60)
    assert all(summary["rows"][split] > 0 for split in ("train", "valid", "test"))
    assert summary["tokens"]["supervised_share"] == 1.0
    assert {check["name"]: check["count"] for check in summary["checks"] if check["count"]} == {}
    row = load_split(folder, "train")[0]
    assert row.messages[0]["role"] == "document" and row.messages[0]["content"].startswith("Article ")
    assert "all of a document and the token that ends it" in (folder / "data.html").read_text()
    with pytest.raises(DataError, match="holds documents only"):
        load_prompts(folder / "test")


def test_equal_documents_are_duplicates_and_none_conflict(project) -> None:
    found = look(project, project.write("a.txt", f"{text(30)}\n\n{text(2)}"))
    assert [(row.check, row.where) for row in found.rejected] == [
        ("duplicate", "a.txt:91"),
        ("duplicate", "a.txt:94"),
    ]


def test_paragraphs_of_a_file_may_be_kept_together(project) -> None:
    for number in range(40):
        project.write(f"raw/{number}.txt", f"First of {number}.\n\nSecond of {number}.")
    config = pretraining(project, {"path": "raw"}, split={"group_by": "file"})
    folder = prepare(config, project.root, project.hooks, project.tokenizer)
    sources = [{row.source for row in load_split(folder, split)} for split in ("train", "valid", "test")]
    assert all(sources) and sum(map(len, sources)) == 40


def test_dialogues_and_documents_share_a_pretraining_run(project, dialogues) -> None:
    config = pretraining(project, project.write("d.jsonl", dialogues), project.write("t.txt", text(60)))
    folder = prepare(config, project.root, project.hooks, project.tokenizer)
    rows = load_split(folder, "test")
    asked = load_prompts(folder / "test")
    assert 0 < len(asked) < len(rows)
    assert all(prompt.messages[-1]["role"] == "user" for prompt in asked)


def test_a_cleaner_sees_documents_as_rows(project) -> None:
    def shout(row: dict[str, Any]) -> dict[str, Any]:
        (only,) = row["messages"]
        return {**row, "messages": [{**only, "content": only["content"].upper()}]}

    project.hooks = Hooks(cleaners={"shout": shout})
    config = pretraining(project, project.write("a.txt", text(60)), cleaners=["shout"])
    folder = prepare(config, project.root, project.hooks, project.tokenizer)
    assert load_split(folder, "train")[0].messages[0]["content"].isupper()


@pytest.mark.parametrize("limit", [16, 17, 50, 512])
def test_every_token_of_a_document_carries_loss_once_and_its_end_too(limit: int) -> None:
    tokenizer = chat_tokenizer()
    words = text(12).replace("\n\n", "\n")
    samples = render(document(words), tokenizer, limit)
    whole = [token for sample in samples for token in sample.input_ids]
    assert whole[-1] == tokenizer.eos_token_id and tokenizer.decode(whole[:-1]) == words
    assert all(sample.labels == sample.input_ids for sample in samples)
    lengths = [len(sample.input_ids) for sample in samples]
    assert max(lengths) <= limit and max(lengths) - min(lengths) <= 1


def test_a_beginning_of_sequence_is_put_where_the_tokenizer_has_one() -> None:
    tokenizer = chat_tokenizer(bos="<|bos|>")
    (sample,) = render(document("A text."), tokenizer, 64)
    assert sample.input_ids.count(tokenizer.bos_token_id) == 1
    assert sample.input_ids[0] == tokenizer.bos_token_id


def test_a_document_that_spells_a_control_token_is_refused() -> None:
    with pytest.raises(TemplateRefusedError, match="spells the control token"):
        render(document("A <|im_end|> text."), chat_tokenizer(), 64)


def test_documents_are_refused_at_config_time_where_answers_are_learned(tmp_path) -> None:
    (tmp_path / "conf").mkdir()
    settings = tmp_path / "conf/project.yaml"
    settings.write_text("data:\n  sources:\n    - path: a.jsonl\n      format: text\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    (problem,) = caught.value.problems
    assert problem.where == "conf/project.yaml:4"
    assert "have no answers to learn, and `train.stage` is sft" in problem.message
    assert load_config(tmp_path, ["train.stage=pretrain"]).config.train.stage == "pretrain"


def test_a_reader_may_not_slip_a_document_into_answer_training(project) -> None:
    def reader(record: dict[str, Any]) -> dict[str, Any]:
        return {"messages": document(record["body"])}

    project.hooks = Hooks(readers={"mine": reader})
    source = {**project.write("a.jsonl", [{"body": "A text."}]), "format": "mine"}
    (found,) = project.look(source).rejected
    assert found.reason == "is a document; set train.stage: pretrain to train on it"
    assert not look(project, source).rejected


def test_the_stage_is_part_of_the_fingerprint(project) -> None:
    source = project.write("a.jsonl", [dialogue(f"{i}?", "Yes.") for i in range(60)])
    config = pretraining(project, source)
    assert prepare(config, project.root, project.hooks, project.tokenizer) != project.prepare(source)
