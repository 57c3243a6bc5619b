"""The metrics on real rows, where the right answer is known: what their cards say was measured."""

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.numbers import quantities
from kit.hooks import Hooks

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CASEKIT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def read(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data is not here: {path} (set CASEKIT_SHARED_DATA to its folder)")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judge(name, answers, references, **params):
    metric = load_metric(MetricUse(name=name, params=params), Hooks(), Path("/"))
    return score(metric, answers, references)


def listed(row):
    return row["answer"] if isinstance(row["answer"], list) else [str(row["answer"])]


def said(row, figures):
    scale = {"percent": "%", "": ""}.get(row["scale"], f" {row['scale']}")
    return f"It was {' and '.join(figure + scale for figure in figures)}."


def times_ten(figure):
    return re.sub(r"(\d)(?=(\.\d+)?\)?$)", r"\g<1>0", figure.replace(",", ""))


def test_the_figures_of_reports_are_right_in_their_scale_and_wrong_ten_times_too_large():
    rows = read("finance_tatqa_en.jsonl")
    references = [{"figures": listed(row), "scale": row["scale"]} for row in rows]
    right = judge("number_fidelity", [said(row, listed(row)) for row in rows], references)
    assert Counter(right.items) == {1.0: 765, None: 135}
    figures = [
        row for row in rows if all(re.fullmatch(r"[($-]*[1-9][\d,]*(\.\d+)?\)?", a) for a in listed(row))
    ]
    references = [{"figures": listed(row), "scale": row["scale"]} for row in figures]
    ten = [
        [re.sub(r"(\d)(?=(\.\d+)?\)?$)", r"\g<1>0", a.replace(",", "")) for a in listed(row)]
        for row in figures
    ]
    wrong = judge("number_fidelity", [said(row, a) for row, a in zip(figures, ten, strict=True)], references)
    assert len(figures) > 400 and wrong.mean == 0
    scaled = [row for row in figures if row["scale"] in ("thousand", "million", "billion")]
    references = [{"figures": listed(row), "scale": row["scale"]} for row in scaled]
    without = judge("number_fidelity", [f"It was {' and '.join(listed(row))}." for row in scaled], references)
    assert len(scaled) > 200 and without.mean == 0  # the scale left out is another figure


def test_problems_have_the_same_figures_in_english_french_and_spanish():
    problems = defaultdict(dict)
    for row in read("eval_mgsm_multi.jsonl"):
        figures = quantities(row["question"], row["language"])
        problems[row["idx"]][row["language"]] = {(figure.value, figure.unit) for figure in figures}
    found = problems.values()
    assert len(found) == 150
    assert sum(figures["fr"] == figures["en"] for figures in found) == 120
    assert sum(figures["es"] == figures["en"] for figures in found) == 135


def test_pubmedqa_accuracy_and_macro_f1_are_the_published_ones():
    rows = [row for row in read("paired/pubmedqa_human_pair.jsonl") if row["test_split"]]
    references = [{"label": row["gold"]} for row in rows]
    answers = {
        "always yes": ["yes"] * len(rows),
        "without the conclusion": [row["reasoning_required"] for row in rows],
        "with it": [f"The answer is {row['reasoning_free']}." for row in rows],
    }
    found = {
        name: [
            round(100 * judge(metric, given, references, labels=["yes", "no", "maybe"]).mean, 1)
            for metric in ("closed_accuracy", "macro_f1")
        ]
        for name, given in answers.items()
    }
    # Jin et al. 2019, table 4: human performance 78.0 and 72.2.
    assert found == {
        "always yes": [55.2, 23.7],
        "without the conclusion": [78.0, 72.2],
        "with it": [90.4, 84.2],
    }


SHOP = "ecom_bagisto_parallel_en_fr_es.jsonl"


def test_translated_shop_text_keeps_its_placeholders_but_for_two_that_are_wrong():
    rows = read(SHOP)
    failed = {}
    for language in ("fr", "es"):
        references = [{"source": row["en"], "source_language": "en", "language": language} for row in rows]
        found = judge("placeholder_fidelity", [row[language] for row in rows], references)
        assert sum(item is not None for item in found.items) == 91
        failed[language] = [row[language] for row, item in zip(rows, found.items, strict=True) if item == 0]
    assert failed == {"fr": [], "es": ["Para qty Cantidad a un precio fijo de :price", ":día"]}


def test_texts_have_the_form_of_their_own_locale_and_often_not_of_another():
    texts = {language: [row[language] for row in read(SHOP)] for language in ("en", "fr", "es")}
    for row in read("ecom_mschitchat_multi.jsonl"):
        texts[row["language"]].append(row["answer"])
    for row in read("eval_mgsm_multi.jsonl"):
        if row["language"] in texts:
            texts[row["language"]].append(row["question"])

    def faults(asked, written):
        references = [{"language": asked}] * len(texts[written])
        return judge("locale_form", texts[written], references).items.count(0)

    assert {language: faults(language, language) for language in texts} == {"en": 2, "fr": 0, "es": 2}
    assert faults("en", "es") > 200 and faults("es", "en") > 200 and faults("fr", "en") > 50


def test_translators_follow_a_glossary_of_five_terms(tmp_path):
    glossary = tmp_path / "glossary.yaml"
    glossary.write_text(
        "terms:\n"
        "  - say: {en: [cart], fr: [panier], es: [carrito, cesta]}\n"
        "  - say: {en: [customer], fr: [client], es: [cliente]}\n"
        "  - say: {en: [invoice], fr: [facture], es: [factura]}\n"
        "  - say: {en: [wishlist], fr: [liste de souhaits], es: [lista de deseos]}\n"
        "  - say: {en: [refund], fr: [rembours], es: [reembols]}\n"
    )
    rows = read(SHOP)
    for language, right in (("fr", 133), ("es", 137)):
        references = [{"source": row["en"], "source_language": "en", "language": language} for row in rows]
        found = judge(
            "glossary_adherence", [row[language] for row in rows], references, glossary=str(glossary)
        )
        assert Counter(found.items) == {1.0: right, 0.0: 142 - right, None: len(rows) - 142}


def test_answers_against_the_text_they_were_written_from_have_sacrebleus_figures():
    """Of sacreBLEU 2.6.0 and rouge_score 0.1.2, which is measured on plain ASCII only."""
    rows = read("ecom_hetpqa_en.jsonl")
    references = [{"answer": row["answer"]} for row in rows]
    answers = [row["candidate"] for row in rows]
    found = {name: judge(name, answers, references).mean for name in ("chrf", "bleu", "rouge_l")}
    assert found == pytest.approx(
        {"chrf": 39.304020945146, "bleu": 9.732997033927, "rouge_l": 0.333984814166}, abs=1e-9
    )


@pytest.mark.parametrize(
    ("name", "column", "mean"),
    [
        ("medical_medquad_en.jsonl", "answer", 0.041),
        ("ecom_bitext_en.jsonl", "response", 0.005),
        ("medical_toyhom_zh.jsonl", "answer", 0.020),
    ],
)
def test_written_answers_repeat_little(name, column, mean):
    answers = [row[column] or "" for row in read(name)]
    found = judge("repetition", answers, [{} for _ in answers])
    assert found.mean == pytest.approx(mean, abs=0.0005)


def test_the_diagnoses_of_clinical_notes_are_found_and_denied_ones_are_not():
    notes = [
        row["section_text"]
        for row in read("medical_mtsdialog_en.jsonl")
        if row["section_header"] in ("DIAGNOSIS", "ASSESSMENT") and re.match(r"1\.\s", row["section_text"])
    ]
    sets = [
        [part.strip(" .") for part in re.split(r"\s*\d+\.\s+", note) if part.strip(" .")] for note in notes
    ]
    references = [{"labels": labels} for labels in sets]

    def f1(answers):
        return judge("label_set_f1", answers, references).mean

    assert (len(notes), sum(map(len, sets))) == (20, 59)
    assert f1(notes) == 1
    assert f1([f"The patient has {' and '.join(labels)}." for labels in sets]) > 0.98
    assert f1([f"The patient has {labels[0]}." for labels in sets]) == pytest.approx(0.506, abs=0.001)
    assert f1([f"There is no {' and no '.join(labels)}." for labels in sets]) == 0
    assert f1(notes[1:] + notes[:1]) == 0
