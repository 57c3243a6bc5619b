"""Personal data and secrets: what is found, what is not, what becomes of it, and that none is printed."""

import json
from pathlib import Path

import pytest
from personal_values import MAKERS, sentences
from typer.testing import CliRunner

from kit.cli import app
from kit.data.check import WHAT
from kit.data.fingerprint import fingerprint
from kit.data.personal import KINDS, find, redact
from kit.data.prepared import load_split, load_summary

CARD, OTHER_CARD = "4111 1111 1111 1111", "5500 0055 5555 5559"
MAIL = "ana.ruiz@example.org"
TOKEN = "ghp_" + "a1B2" * 9


def kinds_in(text: str) -> list[tuple[str, str]]:
    return [(found.kind, found.text) for found in find(text)]


def chat(*turns: str, **fields) -> dict:
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return {"messages": messages, **fields}


def rows_of(folder: Path) -> dict[int, object]:
    return {row.line: row for split in ("train", "valid", "test") for row in load_split(folder, split)}


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# --- what is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", MAKERS)
def test_valid_values_are_found_whole_in_sentences_of_three_languages(what: str) -> None:
    kind = MAKERS[what][0]
    missed = [text for value, text in sentences(what, 300) if kinds_in(text) != [(kind, value)]]
    assert not missed, f"{len(missed)} of 300 {what} missed, such as {missed[0]!r}"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("My MRN is 00123456, please", "medical_record", "00123456"),
        ("MRN: A-1234567", "medical_record", "A-1234567"),
        ("patient ID 8839201 was admitted", "medical_record", "8839201"),
        ("Numéro de dossier médical : 4432198", "medical_record", "4432198"),
        ("número de historia clínica: 778812", "medical_record", "778812"),
        ("my ssn is 123456789", "national_id", "123456789"),
        ("NHS number 943 476 5919", "national_id", "943 476 5919"),
        ("Call me on 5551234567 tonight", "phone", "5551234567"),
        ("Appelez-moi au 0612345678", "phone", "0612345678"),
        ("Llámame al 612345678, por favor", "phone", "612345678"),
        ("Mi teléfono es 55 1234 5678", "phone", "55 1234 5678"),
        ("ring (0)20? No: +44 (0)20 7946 0958", "phone", "+44 (0)20 7946 0958"),
        ("card 4111 1111 1111 1111 12/27 123", "card", "4111 1111 1111 1111"),
        ("my card is 4222222222222", "card", "4222222222222"),
        ("IBAN GB29 NWBK 6016 1331 9268 19 BIC", "iban", "GB29 NWBK 6016 1331 9268 19"),
        ("电话+8613800138000请回电", "phone", "+8613800138000"),
        ("password: hunter2", "secret", "hunter2"),
        ("Mot de passe : Tr0ub4dor&3", "secret", "Tr0ub4dor&3"),
        ("my password is correct-h0rse", "secret", "correct-h0rse"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"),
        ("postgres://app:s3cret@db.example.org/x", "secret", "s3cret"),
        ("your IP is 1.2.3.4", "ip", "1.2.3.4"),
        ("from 2001:db8::ff00:42:8329 today", "ip", "2001:db8::ff00:42:8329"),
    ],
)  # fmt: skip
def test_values_that_a_word_or_a_form_gives_away(text: str, kind: str, value: str) -> None:
    assert (kind, value) in kinds_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Order 114-1234567-1234567 shipped on 2024-03-12.",
        "Your order #3707955617 is late",
        "Mon numéro de commande est le 4500123456, le montant 12 500 000 euros",
        "Commande 0612345678 du 24/12/2024",
        "Número de pedido 9123456789, importe 612 345 678 euros",
        "Call before 10:30 on 24/12/2024 about order 5551234567",
        "Tracking number 1Z999AA10123456784 or 9400 1000 0000 0000 0000 00",
        "The total is 1,234,567.89 euros, or $4,111.11, or 600 000 000 €",
        "Between 800 000 000 and 900 000 000 people; SIRET 732 829 320 00074",
        "On 12/31/2019 12:00 and 2019-12-31T12:00:00.000Z, from 1990-1995 and 2000-2010",
        "Version 1.2.3.4 of firmware 10.15.7.2; rule 3.7.2.1 and section 16.3.10.2 apply",
        "This machine is 127.0.0.1, the router 192.168.0.1, the mask 255.255.255.0",
        "ISBN 978-3-16-148410-0, ISBN 9783161484100, EAN 4006381333931",
        "The coordinates are 48.8566, 2.3522 and 40.712776, -74.005974",
        "PMID 27146470, DOI 10.1016/j.cell.2019.05.031",
        "4111 1111 1111 1112 and DE89 3704 0044 0532 0130 01 and 12345678A fail their checks",
        "666-12-3456 and 000-12-3456 are no social security numbers",
        "Password: required. Your password is wrong. Password: Forgotten? Mot de passe : obligatoire",
        "password: {{password}} api_key=$API_KEY token: <token> password: ********",
        "The icon@2x.png file, follow @user on x, sk-ip-the-line-and-keep-going-forever",
        "Patient number one came first; the patient is 45 years old.",
        "Dear [EMAIL_1], call [PHONE_2]; MRN: [MEDICAL_RECORD_1]; password: [SECRET_1]",
    ],
)
def test_order_numbers_amounts_dates_and_marks_are_left_alone(text: str) -> None:
    assert kinds_in(text) == []


@pytest.mark.parametrize("what", MAKERS)
def test_a_value_is_shown_shortened(what: str) -> None:
    for value, text in sentences(what, 50):
        shown = redact(text)
        assert value not in shown
        assert "*" in shown
    assert redact(f"card {CARD}.") == "card 4111 **** 1111."


# --- what becomes of it ----------------------------------------------------------------------------------


def test_report_counts_each_kind_and_changes_nothing(project, dialogues) -> None:
    rows = [*dialogues, chat(f"I am {MAIL}, card {CARD}", f"Thanks, {MAIL}."), chat(f"And {MAIL}?", "Yes.")]
    folder = project.prepare(project.write("a.jsonl", rows))
    summary = load_summary(folder)
    counts = {kind["kind"]: (kind["rows"], kind["values"]) for kind in summary["personal"]["kinds"]}
    assert list(counts) == list(KINDS)
    assert {kind: count for kind, count in counts.items() if count != (0, 0)} == {
        "email": (2, 2),
        "card": (1, 1),
    }
    (check,) = [check for check in summary["checks"] if check["name"] == "personal"]
    assert (check["severity"], check["count"]) == ("report", 2)
    assert check["examples"][0] == {
        "where": "a.jsonl:61",
        "text": "email a***@example.org in turn 1; card 4111 **** 1111 in turn 1",
    }
    assert rows_of(folder)[61].messages == rows[60]["messages"]
    page = (folder / "data.html").read_text()
    assert '<td>email</td><td class="n">2</td><td class="n">2</td>' in page
    assert MAIL not in page
    assert CARD not in page


def test_masks_are_the_same_wherever_a_value_stands(project, dialogues) -> None:
    talk = chat(
        f"Hi, I am {MAIL}. Not bob@example.org! Call me on 5551234567.",
        f"{MAIL.upper()} is on file, bob@example.org is not. Is it 5551234567?",
        "Yes, 5551234567, or +1 555-123-4568.",
        "Noted: 5551234567.",
    )
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    assert [message["content"] for message in rows_of(folder)[61].messages] == [
        "Hi, I am [EMAIL_1]. Not [EMAIL_2]! Call me on [PHONE_1].",
        "[EMAIL_1] is on file, [EMAIL_2] is not. Is it [PHONE_1]?",
        "Yes, [PHONE_1], or [PHONE_2].",
        "Noted: [PHONE_1].",
    ]
    assert load_summary(folder)["personal"]["action"] == "mask"


def test_one_number_written_in_two_ways_is_one_value(project, dialogues) -> None:
    talk = chat(
        "06 12 34 56 78, card 4111-1111-1111-1111",
        f"+33 6 12 34 56 78 and {CARD}, or {OTHER_CARD}?",
    )
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    assert [message["content"] for message in rows_of(folder)[61].messages] == [
        "[PHONE_1], card [CARD_1]",
        "[PHONE_1] and [CARD_1], or [CARD_2]?",
    ]


def test_masks_go_on_after_those_that_stand_already(project, dialogues) -> None:
    talk = chat(f"I am [EMAIL_1] and {MAIL}", "Hello [EMAIL_1]")
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    assert rows_of(folder)[61].messages[0]["content"] == "I am [EMAIL_1] and [EMAIL_2]"


def test_columns_that_metrics_read_are_masked_with_the_dialogue(project, dialogues) -> None:
    talk = chat(
        f"My phone is 5551234567, mail {MAIL}",
        f"I wrote to {MAIL}.",
        slots={"phone": 5551234567, "mail": [MAIL], "count": 3},
        required=json.dumps([[MAIL], ["wrote"]]),
        seen=True,
    )
    columns = ["slots", "required", "seen"]
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask", expected=columns)
    row = rows_of(folder)[61]
    assert row.answer == "I wrote to [EMAIL_1]."
    assert row.expected == {
        "slots": {"phone": "[PHONE_1]", "mail": ["[EMAIL_1]"], "count": 3},
        "required": [["[EMAIL_1]"], ["wrote"]],
        "seen": True,
    }


def test_a_value_known_from_a_column_is_masked_in_the_dialogue(project, dialogues) -> None:
    talk = chat("It is 5551234567", "Thanks.", slots="phone: 5551234567")
    folder = project.prepare(
        project.write("a.jsonl", [*dialogues, talk]), personal="mask", expected=["slots"]
    )
    row = rows_of(folder)[61]
    assert (row.messages[0]["content"], row.expected["slots"]) == ("It is [PHONE_1]", "phone: [PHONE_1]")


def test_numbers_in_json_text_of_a_table_are_masked_and_still_json(project, dialogues) -> None:
    lines = ["prompt,completion,slots"]
    lines += [f"What is {n}?,It is {n}.,{{}}" for n in range(40)]
    lines.append('My phone is 5551234567,Thanks.,"{""phone"": 5551234567}"')
    folder = project.prepare(project.write("a.csv", "\n".join(lines)), personal="mask", expected=["slots"])
    assert rows_of(folder)[42].expected == {"slots": {"phone": "[PHONE_1]"}}


def test_the_projects_own_system_prompt_is_left_alone(project, dialogues) -> None:
    prompt = "You answer for the bank. The hotline is +44 20 7946 0958."
    folder = project.prepare(project.write("a.jsonl", dialogues), personal="reject", system_prompt=prompt)
    assert {row.messages[0]["content"] for row in rows_of(folder).values()} == {prompt}


def test_a_question_says_what_a_short_answer_is(project, dialogues) -> None:
    talk = chat(
        "Hello",
        "May I have your phone number, please?",
        "8975894856",
        "And your order number?",
        "8975894857",
        "Thank you, is 8975894856 right?",
    )
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    messages = rows_of(folder)[61].messages
    assert [m["content"] for m in messages[2:]] == [
        "[PHONE_1]",
        "And your order number?",
        "8975894857",
        "Thank you, is [PHONE_1] right?",
    ]


def test_a_pin_is_masked_only_where_it_is_called_one(project, dialogues) -> None:
    talk = chat("My PIN is 2024.", "Since 2024 we do not ask for it.")
    folder = project.prepare(project.write("a.jsonl", [*dialogues, talk]), personal="mask")
    assert [m["content"] for m in rows_of(folder)[61].messages] == [
        "My PIN is [SECRET_1].",
        "Since 2024 we do not ask for it.",
    ]


def test_rows_that_masks_make_equal_are_duplicates_in_one_split(project, dialogues) -> None:
    rows = [chat(f"Is user{n}@example.org taken?", "It is.") for n in range(20)]
    folder = project.prepare(project.write("a.jsonl", [*dialogues, *rows]), personal="mask")
    counts = {check["name"]: check["count"] for check in load_summary(folder)["checks"]}
    assert (counts["duplicate"], counts["overlap"]) == (19, 0)


def test_reject_turns_rows_away_and_counts_them(project, dialogues) -> None:
    rows = [*dialogues, chat(f"I am {MAIL}", "Hello.")]
    found = project.look(project.write("a.jsonl", rows), personal="reject")
    assert [(gone.where, gone.check, gone.reason) for gone in found.rejected] == [
        ("a.jsonl:61", "personal", "email a***@example.org in turn 1")
    ]
    numbers = found.summary["rows"]
    assert (numbers["read"], numbers["kept"], numbers["rejected"]) == (61, 60, 1)


@pytest.mark.parametrize("action", ["mask", "reject"])
def test_nothing_that_is_written_holds_what_was_taken_out(project, dialogues, action: str) -> None:
    rows = [
        *dialogues,
        chat(f"I am {MAIL}, card {CARD}", f"Your token is {TOKEN}.", customer=MAIL, slots=[CARD]),
        chat(f"I am {MAIL}, card {CARD}", f"Your token is {TOKEN}!", customer=MAIL, slots=[CARD]),
        chat(f"I am {MAIL}, card {CARD}", "", customer="c1"),
        {"messages": f"{MAIL} {CARD} {TOKEN}"},
    ]
    folder = project.prepare(
        project.write("a.jsonl", rows),
        personal=action,
        expected=["slots"],
        split={"group_by": "customer"},
    )
    written = all_bytes(folder)
    for value in (MAIL, CARD, TOKEN):
        assert value.encode() not in written


def test_reasons_and_examples_of_other_checks_are_shortened_too(project, dialogues) -> None:
    talk = chat(f"I am {MAIL}, card {CARD}", f"{TOKEN}")
    found = project.look(project.write("a.jsonl", [*dialogues, talk, talk]), personal="report")
    told = json.dumps(found.summary["checks"]) + "".join(gone.reason for gone in found.rejected)
    assert "a***@example.org, card 4111 **** 1111" in told
    for value in (MAIL, CARD, TOKEN):
        assert value not in told


def test_groups_called_by_personal_data_get_a_number_and_keep_their_split(project) -> None:
    rows = [chat(f"Question {n}?", f"Answer {n}.", customer=f"u{n % 12}@example.org") for n in range(60)]
    source = project.write("a.jsonl", rows)
    split = {"group_by": "customer", "valid": 0.2, "test": 0.2}
    plain = {
        row.line: name
        for name in ("train", "valid", "test")
        for row in load_split(project.prepare(source, split=split), name)
    }
    folder = project.prepare(source, split=split, personal="mask")
    masked = {row.line: name for name in ("train", "valid", "test") for row in load_split(folder, name)}
    assert masked == plain
    groups = {row.group for row in rows_of(folder).values()}
    assert groups == {f"[GROUP_{n}]" for n in range(1, 13)}


def test_only_the_kinds_that_are_named_are_looked_for(project, dialogues) -> None:
    talk = chat(f"I am {MAIL}", f"Card {CARD}")
    folder = project.prepare(
        project.write("a.jsonl", [*dialogues, talk]), personal="mask", personal_kinds=["card"]
    )
    assert [m["content"] for m in rows_of(folder)[61].messages] == [f"I am {MAIL}", "Card [CARD_1]"]
    assert [kind["kind"] for kind in load_summary(folder)["personal"]["kinds"]] == ["card"]


def test_values_of_the_project_itself_are_kept(project, dialogues) -> None:
    talk = chat(
        f"I am {MAIL}, is 020 7946 0958 right?", "Call +44 20 7946 0958 or write to help@bank.example."
    )
    folder = project.prepare(
        project.write("a.jsonl", [*dialogues, talk]),
        personal="mask",
        personal_keep=["+44 20 7946 0958", "@bank.example"],
    )
    assert [m["content"] for m in rows_of(folder)[61].messages] == [
        "I am [EMAIL_1], is 020 7946 0958 right?",
        talk["messages"][1]["content"],
    ]


def test_the_setting_is_part_of_the_fingerprint(project, dialogues) -> None:
    source = project.write("a.jsonl", dialogues)
    settings = [{}, {"personal": "mask"}, {"personal": "mask", "personal_kinds": ["card"]}]
    found = {
        fingerprint(project.config(source, **data), project.root, project.hooks, project.tokenizer)
        for data in settings
    }
    assert len(found) == 3


def test_no_value_is_left_after_masking(project, dialogues) -> None:
    talks = [chat(text, "Yes.") for what in MAKERS for _, text in sentences(what, 20)]
    once = project.prepare(project.write("a.jsonl", [*dialogues, *talks]), personal="mask")
    again = [{"messages": row.messages} for _, row in sorted(rows_of(once).items())]
    assert not [found for row in again for m in row["messages"] for found in find(m["content"])]


def test_the_check_is_run_and_named_by_the_command(project, dialogues, monkeypatch) -> None:
    (project.root / "conf").mkdir()
    (project.root / "conf" / "project.yaml").write_text(
        "data: {sources: [{path: a.jsonl}], personal: reject}\nmodel: {name: tiny}\n"
    )
    project.write("a.jsonl", [*dialogues, chat(f"My card is {CARD}, token {TOKEN}", "Noted.")])
    monkeypatch.setattr("kit.pipeline.tokenizer", lambda config: project.tokenizer)
    result = CliRunner().invoke(app, ["data", "check", "--project", str(project.root)])
    assert result.exit_code == 2
    assert "a.jsonl:61: card 4111 **** 1111 in turn 1; secret ghp_**** in turn 1" in result.output
    assert WHAT["personal"] in " ".join(result.output.split())
    assert CARD not in result.output
    assert TOKEN not in result.output
