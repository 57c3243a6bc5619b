"""Figures as values with units, and the metric that holds answers to them, on cases worked by hand."""

from decimal import Decimal
from pathlib import Path

import pytest

from kit.config.errors import DataError
from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.numbers import quantities
from kit.hooks import Hooks


def judge(*cases):
    metric = load_metric(MetricUse(name="number_fidelity"), Hooks(), Path("/"))
    return score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])


@pytest.mark.parametrize(
    ("text", "language", "value", "unit"),
    [
        ("5 mg", "", "5", "mg"),
        ("0.5 g", "", "500", "mg"),
        ("250 µg", "", "0.25", "mg"),
        ("5 mg/kg", "", "5", "mg/kg"),
        ("0.5 million", "", "500000", ""),
        ("500,000", "", "500000", ""),
        ("$1.5bn", "", "1500000000", "$"),
        ("$(9,982) million", "", "-9982000000", "$"),
        ("20 dollars", "", "20", "$"),
        ("3,5 %", "fr", "3.5", "%"),
        ("3,5 %", "", "3.5", "%"),
        ("10 pour cent", "fr", "10", "%"),
        ("1,500", "", "1500", ""),
        ("1,500", "fr", "1.5", ""),
        ("1.500 €", "es", "1500", "€"),
        ("1\u202f500,50 €", "fr", "1500.50", "€"),
        ("1.000.000", "es", "1000000", ""),
        ("1,234,567.8", "", "1234567.8", ""),
        ("2 billion", "", "2000000000", ""),
        ("2 billions", "fr", "2000000000000", ""),
        ("2 mil millones de euros", "es", "2000000000", "€"),
        ("3万元", "zh", "30000", "¥"),
        ("two weeks", "", "20160", "minutes"),
        ("14 días hábiles", "es", "14", "working days"),
        ("24-hour", "", "1440", "minutes"),
        ("2½ hours", "", "150", "minutes"),
        ("−5%", "", "-5", "%"),
        ("**12** months", "", "12", "months"),
        ("$30 an hour", "", "30", "$"),
        ("7 3/4 inches", "", "7.75", "inches"),
        ("3/4 inch", "", "0.75", "inches"),
        ("2 feet", "", "24", "inches"),
        ("200lbs", "", "200", "lb"),
        ("twenty-one days", "", "30240", "minutes"),
        ("for ages 8 and up", "", "96", "months"),
        ("8 years old", "", "96", "months"),
    ],
)
def test_a_figure_is_read_as_its_text_means_it(text, language, value, unit):
    (figure,) = quantities(f"It is {text}.", language)
    assert (figure.value, figure.unit) == (Decimal(value), unit)


@pytest.mark.parametrize(
    "text", ["COVID-19", "order A-12", "vitamin B12", "a 5G phone costs", "one of them", "3D"]
)
def test_names_and_pronouns_are_no_figures(text):
    assert [figure for figure in quantities(text) if figure.unit] == []
    assert not quantities(text) or text.startswith("a 5G")


def test_both_ends_of_a_range_have_its_unit_and_scale():
    for text in ("5-10 mg", "5 to 10 mg", "5 – 10 mg", "entre 5 y 10 mg"):
        assert [(int(figure.value), figure.unit) for figure in quantities(text)] == [(5, "mg"), (10, "mg")]
    low, high = quantities("between 5 and 10 million euros")
    assert (low.value, low.unit, high.value) == (5_000_000, "€", 10_000_000)
    assert [figure.unit for figure in quantities("120/80 mmHg")] == ["mmhg", "mmhg"]


def test_list_numbers_are_no_figures():
    assert [figure.text for figure in quantities("1. Take 2 tablets\n2) Rest 3 days")] == [
        "2 tablets",
        "3 days",
    ]


def test_number_fidelity_wants_value_and_unit():
    dose, fee = {"figures": ["5 mg"]}, {"answer": "The fee is $500,000.", "prompt": "On $2 million?"}
    cases = [
        ("Take 5 mg.", dose),
        ("Take 0.005 g.", dose),
        ("Take 50 mg.", dose),
        ("Take 5.", dose),
        ("Take 5 ml.", dose),
        ("Take 5 mg/kg.", dose),
        ("Take 5 mg, or 50 mg if needed.", dose),
        ("Take 5 mg for 3 days.", dose),
        ("It is $0.5 million.", fee),
        ("It is $500.", fee),
        ("Of your $2 million it is $500,000.", fee),
        ("It is $500,000, later $600,000.", fee),
        ("It is 500,000 euros.", fee),
        ("No fee.", {"answer": "There is no fee."}),
    ]
    found = judge(*cases)
    assert found.items == [1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, None]
    assert found.details[2] == ["1 of 1 figures missing", "contradicts: 10 times the reference's"]
    assert found.details[9] == ["1 of 1 figures missing", "contradicts: a 1,000th of the reference's"]
    assert found.details[11] == ["contradicts: another figure in $"]


def test_number_fidelity_in_french_and_spanish():
    cases = [
        ("Le taux est de 3,5 %.", {"answer": "The rate is 3.5%.", "language": "fr"}),
        ("Les frais sont de 1 500 €.", {"figures": ["1.500 €"], "language": "fr"}),
        ("Los gastos son de 1.500 €.", {"figures": ["1500 euros"], "language": "es"}),
        ("Los gastos son de 15.000 €.", {"figures": ["1500 euros"], "language": "es"}),
    ]
    assert judge(*cases).items == [1, 1, 1, 0]


def test_a_minus_may_be_said_by_a_word_but_not_dropped():
    reference = {"figures": ["-33.33"], "scale": "percent"}
    cases = [("It changed by -33.33%.", 1), ("It fell by 33.33%.", 1), ("It rose by 33.33%.", 0)]
    assert judge(*((text, reference) for text, _ in cases)).items == [item for _, item in cases]
    assert judge(("A change of -5%.", {"answer": "A rise of 5%."})).details[0] == [
        "1 of 1 figures missing",
        "contradicts: the other sign",
    ]


def test_the_scale_of_a_table_belongs_to_its_figures():
    reference = {"figures": ["$1,073.3", "97.2"], "scale": "million", "answer": "ignored 7"}
    cases = ["$1,073.3 million and 97.2 million", "$1.0733 billion and 97,200,000", "$1,073.3 and 97.2"]
    assert judge(*((text, reference) for text in cases)).items == [1, 1, 0]
    with pytest.raises(DataError, match=r"(?s)unknown scale 'dozen'.*known: percent, hundred, thousand"):
        judge(("12", {"figures": ["1"], "scale": "dozen"}))


def test_a_number_word_alone_is_a_figure_where_it_is_asked_for():
    def alone(text, language=""):
        return [int(figure.value) for figure in quantities(text, language, words_alone=True)]

    assert alone("nine organs and the two of them, one by one") == [9]
    assert alone("once upon a time in sept") == [] and alone("once piezas", "es") == [11]
    assert alone("for ages five through ten") == [60, 120]
    assert quantities("nine organs") == []


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("It is for ages 3 to 8.", "The range is 3 to 8 years old.", 1),
        ("It is for ages six and older.", "For children over the age of five.", 0),
        ("There are ten tiles in a pack.", "There are 12 tiles.", 0),
        ('The sides are 7 3/4".', 'The sides are 7.75".', 1),
        ("It holds 20 pounds.", "It holds 20 lbs.", 1),
        ("It costs £20.", "It costs 20 pounds.", 1),
    ],
)
def test_the_same_figure_in_other_words_is_right_and_another_wrong(reference, answer, right):
    assert judge((answer, {"answer": reference})).items == [right]
