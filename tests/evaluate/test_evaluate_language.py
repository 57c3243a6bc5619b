"""Language fidelity: the deployed languages, all others, and what cannot be told."""

from pathlib import Path

import pytest

from kit.config.errors import ConfigError
from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.hooks import Hooks

LONG_FRENCH = "Votre commande est en route et arrive demain matin."
LONG_SPANISH = "Su pedido está en camino y llega mañana por la mañana."
LONG_ENGLISH = "Your order is on its way and arrives tomorrow morning."


def judged(cases, languages):
    """What the metric finds for (answer, asked language) pairs."""
    metric = load_metric(MetricUse(name="language_fidelity"), Hooks(), Path("/"), languages)
    return score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])


def test_language_fidelity_judges_every_long_line():
    cases = [
        (LONG_FRENCH, {"language": "fr"}),
        (LONG_SPANISH, {"language": "es"}),
        (LONG_ENGLISH, {"language": "fr"}),
        (f"{LONG_FRENCH}\n{LONG_ENGLISH}", {"language": "fr"}),
        (f"{LONG_FRENCH}\nOK, thanks", {"language": "fr"}),  # the second line is too short to tell
        ("Oui.", {"language": "fr"}),
        (LONG_ENGLISH, {}),
        (LONG_FRENCH, {"language": "fr-CA"}),
    ]
    assert judged(cases, ["en", "fr", "es"]).items == [1, 1, 0, 0, 1, None, None, 1]


def test_language_fidelity_of_one_language_still_sees_others():
    assert judged([(LONG_FRENCH, {"language": "en"})], ["en"]).items == [0]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("您的订单已经发货，明天就会送到。", "cjk script"),
        ("Ваш заказ уже отправлен.", "cyrillic script"),
        ("Your order has left.\nВаш заказ уже отправлен и прибудет завтра.", "cyrillic script"),
        ("Ihre Bestellung ist unterwegs und kommt morgen früh an.", "de"),
        ("Il tuo ordine è in viaggio e arriverà domani mattina.", "it"),
        ("Uw bestelling is onderweg en komt morgenochtend aan.", "nl"),
        ("Seu pedido está a caminho e chegará amanhã de manhã.", "pt"),
    ],
)
@pytest.mark.parametrize("languages", [["en"], ["en", "fr", "es"]])
def test_language_fidelity_sees_languages_that_are_not_deployed(answer, found, languages):
    result = judged([(answer, {"language": "en"})], languages)
    assert result.items == [0] and result.details == [[f"{found} where en was asked"]]


def test_language_fidelity_keeps_short_lines_with_names_in_their_language():
    lines = ["Order GT-2547 is late.", "Hello, my name is Félix Baker.", "Morning (10 AM - 1 PM)"]
    cases = [(line, {"language": "en"}) for line in lines]
    assert judged(cases, ["en", "fr", "es"]).items == [1, 1, 1]
    chinese = ("您的订单已经发货。", {"language": "zh"})
    assert judged([chinese], ["zh", "en"]).items == [1]


def test_language_fidelity_tells_what_it_did_not_judge():
    answers = ["Oui.", f"{LONG_FRENCH}\nOK, merci", LONG_FRENCH]
    result = judged([(answer, {"language": "fr"}) for answer in answers], ["en", "fr"])
    assert result.items == [None, 1, 1]
    assert result.details == [
        ["not judged: no line of 5 words"],
        ["has short lines that were not judged"],
        [],
    ]


def test_an_unknown_language_is_told():
    with pytest.raises(ConfigError, match="xx"):
        load_metric(
            MetricUse(name="language_fidelity", params={"languages": ["en", "xx"]}), Hooks(), Path("/")
        )
