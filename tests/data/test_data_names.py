"""Names of people: what is one, whose it is, how the settings go wrong, and a real pipeline's work.

No trained pipeline can be downloaded where tests run. The rules are tested with a stand-in that knows its
names by heart; spaCy and presidio, where `casekit[names]` is installed, with one trained here.
"""

import json
import random
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kit import cli
from kit.config.errors import DataError
from kit.data import names
from kit.data.fingerprint import fingerprint
from kit.data.names import Names, name_key, trimmed, whole_names
from kit.data.personal import redact
from kit.data.prepare import prepare
from kit.data.prepared import load_split, load_summary

BY_HEART = re.compile(
    r"\b(?:Ms |Mr\.? )?(?:Jane(?: Mary)? Smith|J(?:ANE|ane) S(?:MITH|mith)|Ana García López|John Smith|Al Wu|"
    r"Will Turner|Ava Stone|Ava|Hugo Petit|Bob Stone)(?:'s)?|Sra\. García|^Jane$"
)
ALL = ["secret", "email", "iban", "card", "national_id", "medical_record", "ip", "phone", "name"]


def chat(*turns: str, **fields) -> dict:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return {"messages": messages, **fields}


def turns_of(folder: Path, line: int) -> list[str]:
    rows = {row.line: row for split in ("train", "valid", "test") for row in load_split(folder, split)}
    return [message["content"] for message in rows[line].messages]


@pytest.fixture
def by_heart(monkeypatch) -> dict:
    """Settings under which names are found by the pattern above, in this process."""

    def people(model: str, text: str):
        spans = (trimmed(text, match.start(), match.end()) for match in BY_HEART.finditer(text))
        return tuple(span for span in spans if span)

    monkeypatch.setattr(names, "_people", people)
    monkeypatch.setattr("kit.data.gather.find_names", lambda config, root: Names((("en", "by heart"),)))
    for room in ("prepare", "fingerprint"):
        monkeypatch.setattr(f"kit.data.{room}.name_problems", lambda config, root: [])
    monkeypatch.setattr("kit.data.fingerprint.identity", lambda config, root: [])
    return {"personal_kinds": ALL, "num_proc": 1}


# --- what is a name, and whose -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("Jane Smith", "Jane Smith"),
        ("Ms Smith", "Smith"),
        ("Dr. Jane Smith's", "Jane Smith"),
        ("Señora García", "García"),
        ("M. Dupont", "Dupont"),
        ("O'Neill’s", "O'Neill"),
        ("Jean-Pierre Martin,", "Jean-Pierre Martin"),
        ("Jane Smith\nAccount", "Jane Smith"),
        ("王小明", "王小明"),
        ("Mrs", None),
        ("[NAME_1]", None),
        ("EMAIL_2", None),
        ("Visa 4111", None),
        ("J*** S***", None),
        ("…", None),
    ],
)
def test_a_name_is_cut_to_its_words(found: str, name: str | None) -> None:
    text = f"Dear {found} and others"
    span = trimmed(text, 5, 5 + len(found))
    assert (text[span[0] : span[1]] if span else None) == name


def test_one_name_has_one_key_however_it_is_written() -> None:
    assert name_key("Jane Smith") == name_key("JANE SMITH") == name_key("Smith, Jane")
    assert name_key("José García") == name_key("Sr. Jose Garcia's")
    assert name_key("Jane Smith") != name_key("Jane Smithe")


def test_a_part_belongs_to_the_one_whole_name_that_has_it() -> None:
    def owners(*found: str) -> dict[str, str]:
        return whole_names(map(name_key, found))

    assert owners("Jane Smith", "Jane", "Smith") == dict.fromkeys(
        ["jane smith", "jane", "smith"], "jane smith"
    )
    assert owners("Jane", "Jane Mary Smith", "Jane Smith")["jane"] == "jane mary smith"
    two = owners("Jane Smith", "John Smith", "Smith", "John")
    assert (two["smith"], two["john"]) == ("smith", "john smith")
    assert owners() == {}


def test_whole_names_of_a_long_text_are_found_in_time() -> None:
    many = [f"first{n} last{n}" for n in range(20_000)]
    assert whole_names([*many, "last7"])["last7"] == "first7 last7"


# --- what becomes of them ----------------------------------------------------------------------------------


def test_a_person_has_one_mask_throughout_a_dialogue(project, dialogues, by_heart) -> None:
    talk = chat(
        "Hi, I am Jane Smith. Is Will Turner in? Mail jane.smith@example.org, card 4111 1111 1111 1111.",
        "Thanks, Jane. Dear Ms. Smith, will Will call JANE SMITH?",
        "Will he? Jane Smith's card and Al Wu's.",
        "Yes, Ms Smith. Smith's is a shop, Al Wu too.",
    )
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask", **by_heart)
    assert turns_of(folder, 61) == [
        "Hi, I am [NAME_1]. Is [NAME_2] in? Mail [EMAIL_1], card [CARD_1].",
        "Thanks, [NAME_1]. Dear Ms. [NAME_1], will [NAME_2] call [NAME_1]?",
        "Will he? [NAME_1]'s card and [NAME_3]'s.",
        "Yes, Ms [NAME_1]. Smith's is a shop, [NAME_3] too.",
    ]
    kinds = {kind["kind"]: kind for kind in load_summary(folder)["personal"]["kinds"]}
    assert (kinds["name"]["rows"], kinds["name"]["values"]) == (1, 3)


def test_a_word_that_two_people_share_is_not_given_to_one_of_them(project, dialogues, by_heart) -> None:
    talk = chat("I am Jane Smith, this is John Smith.", "Hello Smith and hello John.")
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask", **by_heart)
    assert turns_of(folder, 61) == ["I am [NAME_1], this is [NAME_2].", "Hello Smith and hello [NAME_2]."]


def test_a_part_may_come_before_the_whole_name(project, dialogues, by_heart) -> None:
    talk = chat("La Sra. García llamó.", "¿Ana García López?")
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask", **by_heart)
    assert turns_of(folder, 61) == ["La Sra. [NAME_1] llamó.", "¿[NAME_1]?"]


def test_a_pair_has_the_same_mask_on_both_sides(project, by_heart) -> None:
    rows = [
        {
            "prompt": f"I am Jane Smith, {n}",
            "chosen": f"Hi Jane, {n}.",
            "rejected": f"Ms. Smith or Al Wu, {n}?",
        }
        for n in range(60)
    ]
    folder = project.prepare(project.write("a.jsonl", rows), stage="dpo", personal="mask", **by_heart)
    (row,) = [
        row for split in ("train", "valid", "test") for row in load_split(folder, split) if row.line == 1
    ]
    said = [*(message["content"] for message in row.messages), row.rejected["content"]]
    assert said == ["I am [NAME_1], 0", "Hi [NAME_1], 0.", "Ms. [NAME_1] or [NAME_2], 0?"]


def test_columns_have_the_masks_of_the_dialogue(project, dialogues, by_heart) -> None:
    talk = chat("I am Jane Smith.", "Hello Jane Smith.", slots={"first": "Jane", "last": "Smith", "n": 3})
    folder = project.prepare(
        project.write("a.jsonl", [*dialogues, talk]), personal="mask", expected=["slots"], **by_heart
    )
    rows = [row for split in ("train", "valid", "test") for row in load_split(folder, split)]
    (slots,) = [row.expected["slots"] for row in rows if row.line == 61]
    assert slots == {"first": "[NAME_1]", "last": "[NAME_1]", "n": 3}


def test_the_assistants_own_name_is_kept(project, dialogues, by_heart) -> None:
    talk = chat("Hi Ava, I am Bob Stone.", "Hello, Ava here. Is Ava's answer, or Ava Stone's, right?")
    folder = project.prepare(
        project.write("a.jsonl", [*dialogues, talk]), personal="mask", personal_keep=["Ava"], **by_heart
    )
    assert turns_of(folder, 61) == [
        "Hi Ava, I am [NAME_1].",
        "Hello, Ava here. Is Ava's answer, or [NAME_2]'s, right?",
    ]


def test_a_row_with_a_name_is_turned_away_and_the_name_shortened(project, dialogues, by_heart) -> None:
    rows = [*dialogues, chat("I am Jane Smith", "Hello Jane Smith."), chat("I am Al Wu", "")]
    folder = project.prepare(project.write("a.jsonl", rows), personal="reject", **by_heart)
    gone = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert [(one["check"], one["reason"]) for one in gone] == [
        ("personal", "name J*** S*** in turn 1"),
        ("empty", "turn 2 (the assistant's) is empty"),
    ]
    assert gone[0]["row"]["messages"][1]["content"] == "Hello J*** S***."
    assert gone[1]["row"]["messages"][0]["content"] == "I am A*** W***"


@pytest.mark.parametrize("action", ["report", "mask", "reject"])
def test_no_page_and_no_example_tells_a_name(project, dialogues, by_heart, action: str) -> None:
    talks = [
        chat("I am Jane Smith, what now?", "Wait."),
        chat("I am Jane Smith, what now?", "Wait."),
        chat("I am Jane Smith, what now?", "Go."),
        chat("I am Jane Smith, what now?", ""),
    ]
    folder = project.prepare(project.write("a.jsonl", [*talks, *dialogues]), personal=action, **by_heart)
    told = (folder / "data.html").read_text() + (folder / "data.json").read_text()
    assert "Jane" not in told
    assert "J*** S***" in told
    reasons = [json.loads(line)["reason"] for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert reasons
    assert "Jane" not in "".join(reasons)
    if action != "report":
        assert b"Jane" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_group_called_by_a_name_gets_a_number(project, by_heart) -> None:
    people = ["Jane Smith", "Hugo Petit", "Will Turner", *(f"c{n}" for n in range(30))]
    rows = [chat(f"Question {n}?", f"Answer {n}.", customer=people[n % 33]) for n in range(66)]
    folder = project.prepare(
        project.write("a.jsonl", rows), personal="mask", split={"group_by": "customer"}, **by_heart
    )
    groups = {row.group for split in ("train", "valid", "test") for row in load_split(folder, split)}
    assert groups == {"[GROUP_1]", "[GROUP_2]", "[GROUP_3]", *people[3:]}


def test_a_text_is_redacted_once() -> None:
    def people(text: str):
        return [
            span
            for found in re.finditer(r"[A-Z]\S+ [A-Z]\S+", text)
            if (span := trimmed(text, *found.span()))
        ]

    once = redact("it is Jane Smith", people)
    assert once == "it is J*** S***"
    assert redact(once, people) == once


def test_a_value_that_a_question_made_another_kind_is_masked_the_same(project, dialogues) -> None:
    talk = chat("Hello", "What is your patient number?", "415-555-1234", "Thank you.")
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    assert turns_of(folder, 61)[2] == "[MEDICAL_RECORD_1]"


# --- settings ----------------------------------------------------------------------------------------------


def test_names_are_not_looked_for_unless_asked(project, dialogues) -> None:
    assert "name" not in project.config().data.personal_kinds
    summary = project.check(project.write("a.jsonl", dialogues))
    assert [kind["kind"] for kind in summary["personal"]["kinds"]] == ALL[:-1]


def test_all_that_is_missing_is_told_at_once_with_what_to_do(project, dialogues, monkeypatch, capsys) -> None:
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    (project.root / "conf").mkdir()
    (project.root / "conf" / "project.yaml").write_text(
        "recipe: {languages: [en, fr]}\nmodel: {name: tiny}\n"
        "data:\n  sources: [{path: a.jsonl}, {path: missing.jsonl}]\n  personal_kinds: [name]\n"
        "  name_models: {en: en_core_web_lg, de: models/de}\n"
    )
    project.write("a.jsonl", dialogues)
    monkeypatch.setattr("kit.pipeline.tokenizer", lambda config: project.tokenizer)
    for command in ("check", "prepare"):
        monkeypatch.setattr(sys, "argv", ["casekit", "data", command, "--project", str(project.root)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 2
        output = "".join(capsys.readouterr().err.split())
        for part in (
            "data.personal_kinds `name` needs presidio-analyzer and spacy; not installed: presidio",
            "`pip install 'casekit[names]'`",
            "data.name_models has nothing for 'fr', a language of the project",
            "data.name_models.de is for no language of the project: en, fr",
            "data.name_models.en 'en_core_web_lg' is neither an installed package nor a folder",
            "`python -m spacy download en_core_web_lg`",
            "data.name_models.de 'models/de' is neither",
            f"expected {project.root.as_posix()}/models/de/config.cfg",
            "missing.jsonl",
        ):
            assert part.replace(" ", "") in output, part


def test_models_without_the_kind_are_an_error(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    with pytest.raises(DataError, match=r"add `name` to data\.personal_kinds"):
        project.check(source, name_models={"en": "en_core_web_lg"})


# --- spaCy and presidio ------------------------------------------------------------------------------------

installed = pytest.mark.skipif(
    any(find_spec(name.replace("-", "_")) is None for name in names.LIBRARIES),
    reason="casekit[names] is not installed: 200 MB that CI does without",
)
FIRST = ["Jane", "Peter", "Anna", "Hugo", "Maria", "Louis", "Clara", "Omar", "Lena", "Ivan", "Nora", "Felix"]
LAST = ["Smith", "Miller", "Petit", "Kowalski", "Lopez", "Brown", "Weber", "Rossi", "Novak", "Silva"]
SAYINGS = {
    "en": [
        "Hi, I am {0} and my card is lost.", "Thanks {1}.", "Dear Ms {2}, your card is on its way.",
        "Please call {0} about the card.", "What does the card cost?", "Your card is on its way.",
        "This is {0}.", "Card 12 costs 12 euros.", "What does card 7 cost?", "Hello, I need a new card.",
    ],
    "fr": [
        "Bonjour, je suis {0} et ma carte est perdue.", "Merci {1}.", "Chère Mme {2}, votre carte arrive.",
        "Appelez {0} pour la carte.", "Combien coûte la carte ?", "Votre carte arrive demain.",
    ],
}  # fmt: skip


def trained(language: str, folder: Path, label: str = "PERSON") -> Path:
    """A pipeline that finds names in sentences such as SAYINGS."""
    import spacy
    from spacy.training import Example

    rng = random.Random(0)
    spacy.util.fix_random_seed(0)
    pipeline = spacy.blank(language)
    pipeline.add_pipe("ner").add_label(label)
    examples = []
    for _ in range(150):
        saying, first, last = rng.choice(SAYINGS[language]), rng.choice(FIRST), rng.choice(LAST)
        text, name = saying.format(f"{first} {last}", first, last), f"{first} {last}"
        name = name if name in text else first if first in text else last
        start = text.find(name)
        entities = [(start, start + len(name), label)] if start >= 0 else []
        examples.append(Example.from_dict(pipeline.make_doc(text), {"entities": entities}))
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(8):
        rng.shuffle(examples)
        for at in range(0, len(examples), 16):
            pipeline.update(examples[at : at + 16], sgd=optimizer)
    pipeline.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pipelines")
    return {language: str(trained(language, folder / language)) for language in SAYINGS}


@installed
@pytest.mark.parametrize("processes", [1, 2])
def test_a_pipeline_finds_names_in_any_number_of_processes(project, dialogues, pipelines, processes) -> None:
    talks = [chat(f"Hi, I am {FIRST[n % 12]} {LAST[n % 10]} and my card is lost.", "Yes.") for n in range(40)]
    talk = chat(
        "Hi, I am Lena Brown and my card is lost.", "Dear Ms Brown, your card is on its way. Thanks Lena."
    )
    many = [*dialogues, *[chat(f"What does card {n} cost?", f"It costs {n}.") for n in range(100, 600)]]
    folder = project.prepare(
        project.write("a.jsonl", [*talks, talk, *many]),
        personal="mask",
        personal_kinds=["name"],
        name_models={"en": pipelines["en"]},
        num_proc=processes,
        checks={"conflicts": "report"},
    )
    assert turns_of(folder, 41) == [
        "Hi, I am [NAME_1] and my card is lost.",
        "Dear Ms [NAME_1], your card is on its way. Thanks [NAME_1].",
    ]
    (kind,) = load_summary(folder)["personal"]["kinds"]
    assert kind["rows"] == 41


@installed
def test_the_pipeline_of_the_rows_language_is_used(project, pipelines, monkeypatch) -> None:
    used = []
    people = names._people
    monkeypatch.setattr(
        names, "_people", lambda model, text: used.append((Path(model).name, text)) or people(model, text)
    )
    english, french = "Hello, I need a new card.", "Bonjour, je suis Hugo Petit et ma carte est perdue."
    rows = [chat(f"{french} {n}", "Votre carte arrive demain.", language="fr") for n in range(9)]
    rows += [chat(f"{english} {n}", "Your card is on its way.", language="en") for n in range(9)]
    rows += [chat(f"{french} Combien coûte la carte ? {n}", "Votre carte arrive demain.") for n in range(30)]
    config = project.config(
        project.write("a.jsonl", rows), personal="mask", personal_kinds=["name"], slices=["language"],
        name_models=pipelines, num_proc=1,
    )  # fmt: skip
    config = config.model_copy(
        update={"project": config.project.model_copy(update={"languages": ["en", "fr"]})}
    )
    folder = prepare(config, project.root, project.hooks, project.tokenizer)
    assert turns_of(folder, 1)[0] == "Bonjour, je suis [NAME_1] et ma carte est perdue. 0"
    assert turns_of(folder, 19)[0].startswith("Bonjour, je suis [NAME_1] et ma carte est perdue.")
    models = {text.split()[0]: model for model, text in used if text[0] in "BH"}
    assert models == {"Bonjour,": "fr", "Hello,": "en"}


@installed
def test_the_bytes_of_a_folder_in_the_project_are_fingerprinted(project, dialogues, pipelines) -> None:
    folder = project.root / "models" / "en"
    shutil.copytree(pipelines["en"], folder)
    config = project.config(
        project.write("a.jsonl", dialogues), personal_kinds=["name"], name_models={"en": "models/en"}
    )

    def found() -> str:
        return fingerprint(config, project.root, project.hooks, project.tokenizer)

    before = found()
    (folder / "meta.json").write_text((folder / "meta.json").read_text() + "\n")
    assert found() != before


@installed
def test_a_pipeline_that_finds_no_people_or_cannot_be_loaded_is_told(project, dialogues, tmp_path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.cfg").write_text("[nlp]\nlang = 3\n")
    for name, said in (
        ("blank", "its labels are none, expected one of PERSON"),
        ("broken", "cannot be loaded"),
    ):
        with pytest.raises(DataError, match=said):
            project.check(
                project.write("a.jsonl", dialogues),
                personal_kinds=["name"],
                name_models={"en": str(tmp_path / name)},
            )


@installed
def test_a_text_of_any_length_is_searched(pipelines, monkeypatch) -> None:
    assert names._PIECE < 1_000_000, "the longest text that spaCy takes"
    monkeypatch.setattr(names, "_PIECE", 1000)
    filler = "What does the card cost? " * 100
    text = f"Hi, I am Lena Brown and my card is lost.\n{filler}\nHi, I am Hugo Petit and my card is lost."
    found = Names((("en", pipelines["en"]),))(text)
    assert {"Lena Brown", "Hugo Petit"} <= {text[start:end] for start, end, _ in found}
