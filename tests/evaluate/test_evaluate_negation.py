"""Findings that a clinical note denies, and the words that end such a denial."""

from pathlib import Path

import pytest

from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.evaluate.negation import denials, negated, stated
from kit.hooks import Hooks

ROOT = Path(__file__).resolve().parents[2]
DENIED = [
    "Denies diabetes.",
    "The patient denies any history of diabetes.",
    "She denies fever, chills, chest pain, cough and diabetes.",
    "Negative for asthma, hypertension, diabetes.",
    "Family history is negative for diabetes.",
    "He denied having diabetes.",
    "The patient denies that she has diabetes.",
    "There is no evidence of diabetes.",
    "No signs of acute diabetes were seen.",
    "There was no history of asthma, coronary artery disease, stroke, cancer or diabetes.",
    "A fasting sugar of 5 rules out diabetes.",
    "La patiente nie tout antécédent de diabetes.",
    "Négatif pour asthme, diabetes.",
    "El paciente niega fiebre, tos y diabetes.",
]
SAID = [
    "Denies fever. Has diabetes.",
    "Denies fever, but diabetes is known.",
    "Denies chest pain, has diabetes.",
    "Denies fever and reports diabetes.",
    "Negative for asthma, positive for diabetes.",
    "He was denied insurance for diabetes.",
    "If your insurer denies the claim, write to the diabetes centre.",
    "The insurer denies what you, with diabetes, need.",
    "The number is negative: diabetes.",
    "Denies pain in the left arm and the left shoulder blade since last winter, diabetes.",
]


@pytest.mark.parametrize("text", DENIED)
def test_a_finding_that_a_note_denies_is_not_said(text):
    start = text.index("diabetes")
    assert negated(text, start, start + 8) and not stated(text, start, start + 8)


@pytest.mark.parametrize("text", SAID)
def test_a_denial_ends_with_its_list(text):
    start = text.index("diabetes")
    assert not negated(text, start, start + 8)


def test_a_diagnosis_that_is_denied_is_not_named():
    metric = load_metric(MetricUse(name="label_set_f1"), Hooks(), ROOT)
    note = "Positive for asthma. She denies hypertension, pneumonia and diabetes."
    references = [{"labels": ["asthma"]}, {"labels": ["diabetes", "hypertension", "pneumonia"]}]
    assert score(metric, [note, note], references).items == [1.0, 0.0]


def test_a_finding_denied_counts_among_the_denials_of_a_clause():
    clause = "The patient denies fever"
    assert denials(clause) == [clause.index(" fever")]
