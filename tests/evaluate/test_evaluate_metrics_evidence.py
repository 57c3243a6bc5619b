"""Metrics of what an answer rests on, by hand and on real rows: citations, rubrics, sets of labels, lines."""

import json
import os
import re
from pathlib import Path

import pytest

from kit.config.errors import ConfigError, DataError
from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.hooks import Hooks

DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
real = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"real data is not here: {DATA} (set CASEKIT_SHARED_DATA)"
)


def judged(name, cases, languages=(), **params):
    metric = load_metric(MetricUse(name=name, params=params), Hooks(), Path("/"), languages)
    return score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("answer", "item", "reasons"),
    [
        ("You must tell the Regulator (Rule 5.2.5).", 1, []),
        ("See rule 5.2.5.(2), and section 9(a).", 1, []),  # a part, and the other one that is expected
        ("See Rule 5.2.", 0, ["cites none of the expected passages", "cites what nobody gave"]),
        ("See Rule 5.2.50.", 0, ["cites none of the expected passages", "cites what nobody gave"]),
        ("By Rule 5.2.5 and Rule 8.1.1.", 0, ["cites what nobody gave"]),
        ("By Rules 5.2.5 and 8.1.1.", 0, ["cites what nobody gave"]),
        ("By Rule 5.2.5, 5.2.5(3) or 8.1.1(a).", 0, ["cites what nobody gave"]),
        ("Según los artículos 9, 12 y 5.2.5.", 0, ["cites what nobody gave"]),
        ("By rules 9 and 5.2.5(b), and 3% a year.", 1, []),
        ("By section 9, 30 days or 12 weeks; by sections 9, 2020 edition.", 1, []),
        ("By Rule 5.2.5 and Article 7.", 0, ["cites another passage of the prompt"]),
        ("You must tell the Regulator.", 0, ["cites nothing"]),
        ("The Companies Regulations 2020 apply to 5.2.5 things.", 0, ["cites nothing"]),
    ],
)
def test_citations_by_hand(answer, item, reasons):
    reference = {"citations": ["5.2.5", "9."], "prompt": "Does article 7 hold?"}
    found = judged("citation_fidelity", [(answer, reference), (answer, {})])
    assert found.items == [item, None] and found.details[0] == reasons


def test_papers_are_cited_by_their_numbers_and_a_pattern_says_what_else_is():
    cases = [
        ("It helps (PMID: 21645374).", {"citations": ["21645374"]}),
        ("It helps, doi 10.1186/1471-2288-13-91.", {"citations": ["10.1186/1471-2288-13-91"]}),
        ("It helps [2].", {"citations": ["1"]}),
        ("Según el artículo 12, sí.", {"citations": ["12"]}),
    ]
    assert judged("citation_fidelity", cases).items == [1, 1, 0, 1]
    own = [("As in KB-0012.", {"citations": ["KB-0012"]}), ("As in Rule 4.", {"citations": ["4"]})]
    assert judged("citation_fidelity", own, pattern=r"KB-\d+").items == [1, 0]
    for pattern, told in ((r"(", "is no regular expression"), (r"\d*", "matches where nothing stands")):
        with pytest.raises(ConfigError, match=told):
            judged("citation_fidelity", own, pattern=pattern)


@real
def test_every_passage_of_the_rulebook_can_be_cited_and_is_not_another():
    passages = [row["Passages"][0]["PassageID"] for row in rows_of("finance_obliqa_en.jsonl")]
    names = sorted({name for name in passages if re.fullmatch(r"\d+(\.\d+)+(\.?\(\w+\))*", name)})
    assert len(names) > 300
    cases = [(f"You must, by Rule {name}", {"citations": [name]}) for name in names]
    cases += [(f"You must, by Rule {name}", {"citations": ["99.99"]}) for name in names]
    items = judged("citation_fidelity", cases).items
    assert items == [1.0] * len(names) + [0.0] * len(names)


def test_rubric_points_by_hand():
    rubric = [
        {"points": 6, "name": "sends to emergency", "axis": "completeness", "say": ["call 911", "ambulance"]},
        {"points": 4, "say": "lie down"},
        {"points": -8, "name": "names a dose", "say": ["mg"]},
    ]
    cases = [
        ("Call 911 and lie down.", {"rubric": rubric}),
        ("Call an ambulance.", {"rubric": rubric}),
        ("Do not call an ambulance. Take 5 mg.", {"rubric": rubric}),
        ("Rest.", {}),
    ]
    found = judged("rubric_score", cases)
    assert found.items == pytest.approx([1.0, 0.6, -0.8, None])
    assert found.mean == pytest.approx((1.0 + 0.6 - 0.8) / 3)  # the mean is clipped, and no answer is
    missed = ["missed: completeness, sends to emergency", "missed: lie down"]
    assert found.details == [[], ["missed: lie down"], [*missed, "fault: names a dose"], []]
    assert judged("rubric_score", cases[2:3]).mean == 0


@pytest.mark.parametrize(
    ("rubric", "told"),
    [
        ([{"points": 0, "say": ["a"]}], "has `points`, not 0, and `say`"),
        ([{"points": 3, "say": []}], "has `points`, not 0, and `say`"),
        ("be kind", "has `points`, not 0, and `say`"),
        ([{"points": -3, "say": ["a"]}], "no criterion of `rubric` has points above 0"),
    ],
)
def test_a_rubric_that_is_none_is_told_before_anything_is_trained(rubric, told):
    metric = load_metric(MetricUse(name="rubric_score"), Hooks(), Path("/"))
    assert told in metric.unreachable({"rubric": rubric})
    with pytest.raises(DataError, match=told):
        judged("rubric_score", [("a", {"rubric": rubric})])


@real
def test_the_steps_of_real_answers_earn_their_points():
    rows = [row for row in rows_of("ecom_bitext_en.jsonl") if row["intent"] == "cancel_order"]
    rubric = [
        {"points": 3, "say": ["log in", "log into", "logging into", "sign in", "access your account"]},
        {"points": 5, "say": ["cancel order", "cancel purchase", "cancel button", "cancel option"]},
        {"points": -4, "say": ["has been cancelled", "has been canceled"]},
    ]
    found = judged("rubric_score", [(row["response"], {"rubric": rubric}) for row in rows])
    assert len(rows) == 78 and set(found.items) <= {0.0, 3 / 8, 5 / 8, 1.0, -0.5}
    assert 0.7 < found.mean < 1 and found.items.count(1.0) > 50


PRESSURE = ["high blood pressure", "hypertension"]
SETS = [
    ("You have asthma and hypertension.", ["asthma", PRESSURE]),
    ("You have asthma and no hypertension.", ["Asthma", PRESSURE]),
    ("It is diabetes.", ["diabetes"]),
    ("It is asthma.", []),
    ("It is nothing.", ["asthma"]),
]


def test_sets_of_labels_by_hand():
    cases = [(answer, {"labels": labels}) for answer, labels in SETS]
    # Named: 2 + 1 + 1 + 1 + 0, right: 2 + 1 + 1 + 0 + 0, expected: 2 + 2 + 1 + 0 + 1.
    assert judged("label_set_precision", cases).mean == pytest.approx(4 / 5)
    assert judged("label_set_recall", cases).mean == pytest.approx(4 / 6)
    assert judged("label_set_precision", cases).items == pytest.approx([1, 1, 1, 0, 0])
    assert judged("label_set_recall", cases).items == pytest.approx([1, 0.5, 1, 0, 0])
    # Asthma: 2·2/(3 named + 3 expected); pressure: 2·1/(1 + 2); diabetes: 1.
    found = judged("label_set_macro_f1", cases)
    assert found.mean == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found.items == pytest.approx([1, 2 / 3, 1, 0, 0])
    assert found.details[3] == ["names a label that is not expected"]
    absent = judged("label_set_macro_f1", cases, labels=["gout"])
    assert absent.mean == pytest.approx(found.mean), "a label that nobody names or expects does not count"


@real
def test_precision_recall_and_f1_agree_on_real_notes():
    names = [PRESSURE, "diabetes", "asthma", "anxiety"]
    rows = rows_of("medical_mtsdialog_en.jsonl")[:400]
    cases = [
        (row["dialogue"], {"labels": names[place % 4 : place % 4 + 2]}) for place, row in enumerate(rows)
    ]
    precision, recall, f1 = (
        judged(f"label_set_{name}", cases).mean for name in ("precision", "recall", "f1")
    )
    assert 0 < precision < 1 and 0 < recall < 1
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_lines_in_the_right_language_by_hand():
    french, english = "Votre commande arrive demain matin.", "Your order will be here tomorrow morning."
    cases = [
        (f"{french}\n{french}", {"language": "fr"}),
        (f"{french}\n{english}\nMerci !", {"language": "fr"}),
        (f"{french}\nВот так", {"language": "fr"}),
        ("Merci !", {"language": "fr"}),
        (french, {}),
    ]
    found = judged("language_lines", cases, ["en", "fr", "es"])
    assert found.items == [1.0, 0.5, 0.5, None, None]
    assert found.details[1] == ["en where fr was asked"]
    assert judged("language_fidelity", cases, ["en", "fr", "es"]).items == [1, 0, 0, None, None]


@real
def test_real_shop_texts_are_in_their_language_line_by_line():
    rows = [row for row in rows_of("ecom_bagisto_parallel_en_fr_es.jsonl") if row["es"] != row["en"]][:72]
    parts = [(code, rows[place : place + 6]) for code in ("es", "fr") for place in range(0, 72, 6)]
    cases = [("\n".join(row[code] for row in part), {"language": code}) for code, part in parts]
    assert judged("language_lines", cases, ["en", "fr", "es"]).mean > 0.95
    swapped = [(text, {"language": "fr" if code["language"] == "es" else "es"}) for text, code in cases]
    assert judged("language_lines", swapped, ["en", "fr", "es"]).mean < 0.1


@pytest.mark.parametrize("mark", ["\u00ad", "\u200b", "\u200d", "\u200e", "\u202e", "\u2066"])
def test_what_is_not_seen_hides_no_phrase(mark):
    hidden = f"You must, by Rule {mark}5.2.5, lie {mark}do{mark}wn."
    assert judged("citation_fidelity", [(hidden, {"citations": ["5.2.5"]})]).items == [1]
    assert judged("resolution_rate", [(hidden, {"required": ["lie down"]})]).items == [1]
