"""Checks of text: what each finds, what it must leave alone, and what `report`, `reject` and `off` do."""

import json
from typing import Any

import pytest
from dialogue_rows import dialogue

import kit.data.fingerprint as fingerprint_room
from kit.config.errors import DataError
from kit.config.schema import Config
from kit.data.grammar_load import load_grammar
from kit.data.marks import damaged, markup, refusal, template_mark
from kit.data.prepare import check
from kit.data.prepared import load_summary
from kit.data.synth import synthesize
from kit.data.words import spelled_words
from kit.hooks import Hooks
from kit.models.tiny import recipes_folder

TEXT = ("language", "encoding", "html", "template_marks", "boilerplate", "repetition", "refusal")
FRENCH = "Votre commande est en route et arrive demain matin."
SPANISH = "Su pedido está en camino y llega mañana por la mañana."
ENGLISH = "Your order is on its way and arrives tomorrow morning."
GERMAN = "Ihre Bestellung ist unterwegs und kommt morgen früh bei Ihnen zu Hause an."


def found(summary: dict[str, Any]) -> dict[str, int]:
    return {c["name"]: c["count"] for c in summary["checks"] if c["name"] in TEXT and c["count"]}


def one(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in summary["checks"] if check["name"] == name)


def looked_at(project, rows, languages=("en",), **data) -> dict[str, Any]:
    source = project.write("a.jsonl", rows)
    tree = {
        "project": {"languages": list(languages)},
        "data": {"sources": [source], **data},
        "model": {"max_length": 4096},
    }
    return check(Config.model_validate(tree), project.root, Hooks(), project.tokenizer).summary


BAD_ROWS = [
    ("language", dialogue("Where is it?", GERMAN), "turn 2 (the answer) is in de, not one of en"),
    ("language", dialogue("Where is it?", "您的订单已经发货。"), "turn 2 (the answer) is in cjk script"),
    ("encoding", dialogue("Is the cafÃ© open?", "Yes."), "the user's text was decoded wrongly"),
    (
        "encoding",
        dialogue("Is it open?", "It isnâ€™t open today."),
        "the assistant's text was decoded wrongly",
    ),
    ("encoding", dialogue("Is it open?", "The caf\ufffd is."), "U+FFFD"),
    ("encoding", dialogue("Is it open?", "Yes\x07."), "control character U+0007"),
    ("html", dialogue("Is it open?", "<p>Yes.</p>"), "has the HTML tag <p>"),
    ("html", dialogue("Is it open?", "Yes &amp; no."), "has the HTML entity &amp;"),
    ("template_marks", dialogue("[INST] Is it open?", "Yes."), "has [INST]"),
    ("template_marks", dialogue("Open?\n### Response:", "Yes."), "has ### Response:"),
    ("template_marks", dialogue("Is it open?", "Yes, {{name}}."), "has {{name}}"),
    ("template_marks", dialogue("Is it open?", "Dear {customer}, yes."), "has {customer}"),
    ("template_marks", dialogue("Open?", "<|start_header_id|>Yes."), "has <|start_header_id|>"),
    ("template_marks", dialogue("Open?", "As an AI language model, I think so."), "says 'As an AI'"),
    ("repetition", dialogue("Is it open?", "It is open on Monday. " * 6), "of its 4-grams came before"),
    (
        "refusal",
        dialogue("Is it open?", "I'm sorry, but I can't help with that."),
        'declines: "I can\'t help"',
    ),
]


@pytest.mark.parametrize(("name", "row", "reason"), BAD_ROWS)
def test_a_faulty_text_is_reported_with_its_row_and_reason(project, name, row, reason) -> None:
    summary = looked_at(project, [dialogue("Fine?", "Fine."), row])
    assert found(summary) == {name: 1}
    assert summary["rows"]["kept"] == 2
    (example,) = one(summary, name)["examples"]
    assert example["where"] == "a.jsonl:2" and reason in example["text"]
    assert one(summary, name)["severity"] == "report"


@pytest.mark.parametrize(("name", "row", "reason"), BAD_ROWS)
def test_reject_turns_the_row_away_and_off_does_not_look(project, name, row, reason) -> None:
    rows = [dialogue("Fine?", "Fine."), row]
    rejected = looked_at(project, rows, checks={name: "reject"})
    assert (found(rejected), rejected["rows"]["kept"], rejected["rows"]["rejected"]) == ({name: 1}, 1, 1)
    off = looked_at(project, rows, checks={name: "off"})
    assert (found(off), off["rows"]["kept"]) == ({}, 2)
    assert one(off, name)["severity"] == "off"


def test_text_that_only_looks_faulty_is_left_alone(project) -> None:
    answers = [
        "Ça coûte 3 € à l’école – « oui », naïve Œuvre, Straße, 5 µg, ½ cup, [ˈtrauŋka].",
        "If a < b and b > c, then a & b; AT&T; R&D; see <https://example.org> or <ann@example.org>.",
        "Use `<b>bold</b>` and `{{name}}` in the template.\n```\n<p>{customer}</p>\n```",
        r"The integral is \frac{ab}{cd} with \text{cost} and x_{max}.",
        'The reply is {"status": "open"} or the set {1, 2, 3}; see item [12] and #4.',
        "I can't recommend it enough: it opens at nine, and nobody cannot like it.",
        "I am sorry to hear that. The order left on Monday.",
        "They said they cannot help you, so we will.",
        "Insulin, metformin, Glucotrol, and Lipitor.",
        "Item, Qty, Price: mango, 5, 500; apple, 4, 150; oil, 2, 1500.",
        "REGULATORY REQUIREMENTS FOR AUTHORISED PERSONS ENGAGED IN REGULATED ACTIVITIES",
    ]
    rows = [dialogue(f"What about item {n}?", answer) for n, answer in enumerate(answers)]
    summary = looked_at(project, rows, languages=["en", "fr", "zh"])
    assert found(summary) == {}, [check["examples"] for check in summary["checks"] if check["count"]]


def test_an_answer_in_another_language_than_its_question(project) -> None:
    rows = [
        dialogue(ENGLISH, FRENCH),
        dialogue(FRENCH, SPANISH, language="es"),  # the row says so
        dialogue(SPANISH, FRENCH, language="es"),
        dialogue("¿Dónde?", SPANISH),
        dialogue(FRENCH, "Oui."),
    ]
    summary = looked_at(project, rows, languages=["en", "fr", "es"], slices=["language"])
    assert [example["text"].split(":")[0] for example in one(summary, "language")["examples"]] == [
        "turn 2 (the answer) is in fr, its question in en",
        "turn 2 (the answer) is in fr, the row's language is es",
    ]
    assert summary["languages"] == {"turns": {"en": 1, "fr": 4, "es": 3}, "not_judged": 2}


def test_a_long_paragraph_in_another_language_is_mixed(project) -> None:
    english = "The warranty covers the battery and the screen for two years, and a repair takes about a week."
    french = (
        "La garantie couvre la batterie et l'écran pendant deux ans, et une réparation prend une semaine."
    )
    mixed = f"{english} {ENGLISH}\n{french} {FRENCH}"
    summary = looked_at(project, [dialogue("And then?", mixed)], languages=["en", "fr"])
    assert "turn 2 (the answer) mixes en and fr" in one(summary, "language")["examples"][0]["text"]


def test_a_language_that_the_detector_does_not_know_is_bad_input(project) -> None:
    with pytest.raises(DataError, match="xx") as caught:
        looked_at(project, [dialogue("One?", "One.")], languages=["en", "xx"])
    assert caught.value.problems[0].where == "project.languages"
    looked_at(project, [dialogue("One?", "One.")], languages=["xx"], checks={"language": "off"})


def test_boilerplate_names_every_sentence_once_with_its_share(project) -> None:
    legal = "This is no advice and binds nobody."
    wish = "Have a lovely day, your team."
    rows = [dialogue(f"Question {n}?", f"Answer {n} is right. {legal}") for n in range(40)]
    rows += [dialogue(f"Other {n}?", f"Reply {n} is wrong.\n{wish}") for n in range(30)]
    rows += [dialogue(f"More {n}?", f"This {n} is more.") for n in range(100)]
    boilerplate = one(looked_at(project, rows), "boilerplate")
    assert boilerplate["count"] == 70
    texts = [example["text"] for example in boilerplate["examples"]]
    assert f"{legal!r} stands in the answers of 40 of 170 rows (24%)" in texts[0]
    assert f"{wish!r} stands in the answers of 30 of 170 rows (18%)" in texts[1]
    assert boilerplate["examples"][1]["where"] == "a.jsonl:41"
    assert found(looked_at(project, rows[:20])) == {}, "twenty rows are too few to call it that"


def test_balance_tells_rare_slices_one_sided_labels_and_lengths(project) -> None:
    long = "and so on, as the price list of this year says in its third part"
    rows = [
        dialogue(
            f"Question {n}?", f"It costs {n}" + f" {long}" * (n % 4 == 0), topic="ab"[n % 4 == 0], ok="yes"
        )
        for n in range(400)
    ]
    rows += [dialogue("The rare one?", "It is.", topic="c", ok="no")]
    summary = looked_at(project, rows, slices=["topic"], expected=["ok"], split={"test": 0.3})
    told = {example["where"]: example["text"] for example in one(summary, "balance")["examples"]}
    assert "0 groups in test" in told["topic=c"] or "1 groups in test" in told["topic=c"]
    assert "answers have 18 words, those of the other rows 3" in told["topic=b"]
    assert "400 of 401 rows have this value" in told["ok=yes"]
    assert summary["rows"]["rejected"] == 0
    (entry,) = [each for each in summary["balance"] if each["value"] == "a"]
    assert entry["rows"] == 300 == entry["train"] + entry["valid"] + entry["test"]
    assert entry["test_groups"] == entry["test"] >= 30
    off = looked_at(project, rows, slices=["topic"], checks={"balance": "off"})
    assert (off["balance"], one(off, "balance")["count"]) == ([], 0)


def test_data_html_shows_findings_balance_languages_and_what_is_off(project) -> None:
    rows = [
        dialogue(f"Is shop {n} open on Monday?", f"Shop {n} opens at {n}.", topic="ab"[n % 2])
        for n in range(60)
    ]
    rows.append(dialogue("And the last?", "<b>No.</b> {{name}}"))
    source = project.write("a.jsonl", rows)
    folder = project.prepare(source, slices=["topic"], checks={"refusal": "off"})
    page = (folder / "data.html").read_text(encoding="utf-8")
    assert "has the HTML tag &lt;b&gt;" in page and "has {{name}}" in page
    assert "Switched off in <code>data.checks</code>: refusal." in page
    assert "turns are too short to tell" in page and "test groups" in page
    assert load_summary(folder)["languages"]["turns"]["en"] >= 60


def test_rejected_rows_are_listed_and_leave_room_for_sound_ones(project) -> None:
    """A damaged row must not displace the sound one that asks the same."""
    rows = [
        dialogue("Is it open?", "Itâ€™s open."),
        dialogue("Is it open?", "It is."),
        dialogue("No?", "No."),
    ]
    summary = looked_at(project, rows, checks={"encoding": "reject"})
    assert found(summary) == {"encoding": 1} and summary["rows"]["kept"] == 2
    assert one(summary, "conflict")["count"] == 0


def test_the_fingerprint_covers_settings_and_libraries(project, dialogues, monkeypatch) -> None:
    source = project.write("a.jsonl", dialogues)
    folders = {project.prepare(source), project.prepare(source, checks={"html": "reject"})}
    monkeypatch.setattr(fingerprint_room, "version", lambda package: f"{package} of tomorrow")
    assert len({*folders, project.prepare(source)}) == 3


@pytest.mark.parametrize("case", ["finance", "medical", "ecommerce", "blank"])
def test_synthetic_dialogues_are_flagged_for_what_they_are_only(project, case) -> None:
    """They decline some questions and have set phrases, and nothing else is wrong with them."""
    rows = list(synthesize(load_grammar(recipes_folder() / case / "dialogues.yaml"), 400, 7))
    languages = ["en", "fr", "es"] if case == "ecommerce" else ["en"]
    summary = looked_at(project, rows, languages=languages, expected=["answerable"])
    assert set(found(summary)) <= {"boilerplate", "refusal"}
    declined = found(summary)["refusal"]
    unanswerable = sum(not json.loads(json.dumps(row)).get("answerable", True) for row in rows)
    assert declined >= 0.5 * unanswerable > 0


@pytest.mark.parametrize(
    ("find", "text"),
    [
        (damaged, "Ã©t"),
        (damaged, "prÃ©sente"),
        (markup, 'See <a href="https://example.org">here</a>'),
        (markup, "one<br/>two"),
        (markup, "caf&#233;"),
        (refusal, "Je suis désolé, je ne peux pas vous aider."),
        (refusal, "Lo siento, no puedo ayudar con eso."),
        (refusal, "很抱歉，我无法回答这个问题。"),
        (refusal, "I’m not able to give advice on that."),
        (lambda text: template_mark(text, "assistant"), "作为一个人工智能，我没有感情。"),
        (lambda text: template_mark(text, "user"), "Hola %{user_name}:"),
        (lambda text: template_mark(text, "user"), "<<SYS>> Be kind. <</SYS>>"),
        (lambda text: template_mark(text, "user"), "<start_of_turn>user"),
    ],
)
def test_what_is_found(find, text: str) -> None:
    assert find(text)


def test_only_words_count_towards_a_language() -> None:
    assert spelled_words("Order GT-2547 left at 10 a.m.; 您好") == 6  # Order GT left at, and two characters
