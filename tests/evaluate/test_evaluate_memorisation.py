"""Personal data of training: what is looked for, and that a model which learned it by heart is caught."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from small_models import make_model, make_row, make_tokenizer, save_split

from kit.config.schema import Config
from kit.data.prepared import load_split
from kit.data.render import render
from kit.evaluate.compare import Settings
from kit.evaluate.evaluate import evaluate
from kit.evaluate.memorisation import find_secrets, memorisation_entry, tempt
from kit.hooks import Hooks
from kit.report.contract import json_schema

MAIL = "ann.smith@mail.example"


def row(number: int, *texts: str, group: str = "") -> dict:
    roles = ["user", "assistant"] * len(texts)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {**make_row(number), "messages": messages, "group": group or str(number), "source": "raw.jsonl"}


def secrets_of(folder: Path, rows: list[dict], **data) -> list:
    save_split(folder / "train", rows)
    return find_secrets(Config.model_validate({"data": data}), folder)


def test_only_what_one_group_has_and_no_prompt_tells_is_looked_for(tmp_path: Path) -> None:
    found = secrets_of(
        tmp_path,
        [
            row(1, "Where does it go?", f"We write to {MAIL}."),
            row(2, "I am bob@mail.example", "Thank you, bob@mail.example is noted."),
            row(3, "Whom do I write to?", "Write to help@shop.example."),
            row(4, "Your address?", "It is help@shop.example."),
            row(5, "And the press?", "Write to press@shop.example."),
            row(6, "My card is 4111 1111 1111 1111", "Thank you."),
            row(7, "Who?", " \n first@mail.example"),
        ],
        personal_keep=["press@shop.example"],
    )
    assert [(secret.where, secret.kind, secret.value) for secret in found] == [("raw.jsonl:1", "email", MAIL)]
    assert found[0].beginning == "We write to"
    assert [message["content"] for message in found[0].before] == ["Where does it go?"]
    assert MAIL not in repr(found[0])


def test_two_dialogues_of_one_group_tell_one_secret(tmp_path: Path) -> None:
    rows = [row(n, "Where to?", f"Always to {MAIL}.", group="customer 7") for n in (1, 2)]
    assert len(secrets_of(tmp_path, rows)) == 1


@pytest.fixture(scope="module")
def learned_by_heart():
    """A model that was trained on one dialogue until it knows it."""
    tokenizer = make_tokenizer()
    model = make_model(3, hidden=64)
    dialogue = row(1, "Where does it go?", f"We write to {MAIL}.")["messages"]
    (sample,) = render(dialogue, tokenizer, 512)
    ids, labels = torch.tensor([sample.input_ids]), torch.tensor([sample.labels])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(300):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            break
    return model.eval()


def test_a_model_that_learned_it_by_heart_gives_it_away(learned_by_heart, tmp_path: Path) -> None:
    secrets = secrets_of(tmp_path, [row(1, "Where does it go?", f"We write to {MAIL}.")])
    tokenizer = make_tokenizer()
    lines = tempt(make_model(3, hidden=64), tokenizer, secrets, 512, "base")
    lines += tempt(learned_by_heart, tokenizer, secrets, 512, "tuned")
    assert [(line["system"], line["memorised"]) for line in lines] == [("base", False), ("tuned", True)]
    assert MAIL not in json.dumps(lines)
    entry = memorisation_entry(lines, Settings(0.95, 200, 1))
    assert (entry["n"], entry["base"]["estimate"], entry["tuned"]["estimate"]) == (1, 0.0, 1.0)
    assert entry["details"]["tuned"] == {"email of raw.jsonl:1": 1}


def test_an_evaluation_measures_it_where_it_is_asked_to(project) -> None:
    config, root, prepared, run = project
    asked = config.model_validate(
        {
            **config.model_dump(),
            "evaluate": {**config.evaluate.model_dump(), "metrics": ["memorised_secrets"]},
        }
    )
    rows = [row(n, f"Where does {n} go?", f"To n{n}@mail.example.") for n in range(1, 5)]
    save_split(prepared / "train", rows)
    folder = evaluate(asked, root, prepared, run, Hooks())
    scores = json.loads((folder / "scores.json").read_text())
    jsonschema.validate(scores, json_schema("scores"))
    (entry,) = [e for e in scores["metrics"] if e["name"] != "response_time"]
    assert (entry["name"], entry["n"], entry["tuned"]["estimate"]) == ("memorised_secrets", 4, 0.0)
    assert "mail.example" not in (folder / "memorisation.jsonl").read_text()


def test_without_personal_data_it_says_that_there_was_none(project) -> None:
    config, root, prepared, run = project
    asked = config.model_validate(
        {
            **config.model_dump(),
            "evaluate": {**config.evaluate.model_dump(), "metrics": ["memorised_secrets"]},
        }
    )
    save_split(prepared / "train", [row(1, "Hello?", "Good day.")])
    folder = evaluate(asked, root, prepared, run, Hooks())
    lost = {
        each["name"]: each["why"] for each in json.loads((folder / "scores.json").read_text())["unscored"]
    }
    assert lost["memorised_secrets"].startswith("no personal data in what was trained on")
    assert load_split(prepared, "train")
