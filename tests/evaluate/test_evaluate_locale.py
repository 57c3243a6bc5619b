"""What several languages need, by hand: placeholders kept, the locale's form, the glossary's names."""

from pathlib import Path

import pytest

from kit.config.errors import ConfigError
from kit.config.schema import MetricUse
from kit.evaluate.metrics import load_metric, score
from kit.hooks import Hooks

GLOSSARY = """
terms:
  - say: {en: [cart], fr: [panier], es: [carrito, cesta]}
    avoid: {fr: [chariot]}
  - say: {en: [refund], fr: [remboursement]}
"""


def judge(name, cases, root=Path("/"), **params):
    metric = load_metric(MetricUse(name=name, params=params), Hooks(), root)
    return score(metric, [answer for answer, _ in cases], [reference for _, reference in cases])


def kept(source, answer, **more):
    return judge("placeholder_fidelity", [(answer, {"source": source, "language": "fr", **more})])


@pytest.mark.parametrize(
    ("source", "right", "wrong"),
    [
        ("Order {{Order Number}}", "Commande {{Order Number}}", "Commande {{Numéro}}"),
        ("Hello {name}, {name}", "{name} : bonjour {name}", "Bonjour {name}"),
        ("%{count} items", "%{count} articles", "%(count) articles"),
        ("Sent to :order_id at 12:30", "Le :order_id à 12:30", "Le order_id à 12:30"),
        ("%s of %d", "%d sur %s", "%d sur %d"),
        ("See https://shop.example/a?b=1.", "Voir https://shop.example/a?b=1", "Voir https://shop.example/a"),
        ("Write to help@shop.example.", "Écrivez à help@shop.example", "Écrivez à aide@shop.example"),
        ("Order A-1234", "Commande A-1234", "Commande A-1243"),
        ("Parcel #98", "Colis #98", "Colis #89"),
        ("You pay $1,500.50", "Vous payez 1 500,50 $", "Vous payez 1 500 $"),
        ("No. 4412345", "N° 4412345", "N° 44123456"),
    ],
)
def test_marks_come_through_unchanged(source, right, wrong):
    assert kept(source, right).items == [1]
    assert kept(source, wrong).items == [0]


def test_what_is_new_is_told_unless_the_customer_wrote_it():
    source = "We refund $20 for {{order}}."
    found = kept(source, "Nous remboursons 20 $ et 30 $ pour {{order}} {{x}}.")
    assert found.details == [["new amount", "new placeholder"]]
    said = {"prompt": "J'ai payé 30 $ pour A-1"}
    assert kept(source, "Des 30 $ de A-1 nous rendons 20 $ pour {{order}}.", **said).items == [1]
    assert kept("No marks.", "Rien.").items == [None]
    answer = {"answer": "Track A-12 at www.shop.example"}
    cases = [("See www.shop.example for A-12.", answer), ("See www.shop.example", answer)]
    assert judge("placeholder_fidelity", cases).items == [1, 0]


@pytest.mark.parametrize(
    ("language", "right", "wrong", "reason"),
    [
        ("fr", "Le taux est de 3,5 %.", "Le taux est de 3.5 %.", "decimal"),
        ("es", "Son 1.234,56 en total.", "Son 1,234.56 en total.", "decimal"),
        ("en", "It is 3.5%, or 1,500 people.", "It is 3,5%.", "decimal"),
        ("fr", "Appelez le 01.45.39.40.00.", "Il y en a 2.5.", "decimal"),
        ("fr", "Cela coûte 20 €.", "Cela coûte €20.", "currency"),
        ("es", "Cuesta 20 €, o $20 en México.", "Cuesta €20.", "currency"),
        ("en", "It costs €20.", "It costs 20€.", "currency"),
        ("es", "Hola, ¿cómo está? ¡Bien!", "¿Cómo está? Bien!", "marks"),
        ("es", "Véase https://a.example/?b=1 aquí.", "Cómo está?", "marks"),
        ("fr", "Comment allez-vous ?", "¿ Comment allez-vous ?", "marks"),
    ],
)
def test_the_form_of_the_locale(language, right, wrong, reason):
    found = judge("locale_form", [(right, {"language": language}), (wrong, {"language": language})])
    assert found.items == [1, 0] and found.details[1] == [f"{reason} of another locale"]


def test_quotes_and_register_are_looked_at_when_asked_for():
    french, spanish = {"language": "fr"}, {"language": "es-MX"}
    quotes = [('Le "panier" est vide.', french), ("Le « panier » est vide.", french)]
    assert judge("locale_form", quotes).items == [1, 1]
    assert judge("locale_form", quotes, checks=["quotes"]).items == [0, 1]
    people = [("Votre colis arrive.", french), ("Ton colis arrive.", french), ("Tu pedido llega.", spanish)]
    assert judge("locale_form", people, register="formal").details == [[], ["not formal"], ["not formal"]]
    assert judge("locale_form", people, register="informal").items == [0, 1, 1]
    assert judge("locale_form", [("3,5", {"language": "de"}), ("3,5", {})]).items == [None, None]


def test_a_verb_tells_the_register_where_no_pronoun_does():
    spanish, french = {"language": "es"}, {"language": "fr"}
    informal = [
        "¿Estás seguro?",
        "Prepárate para verlo.",
        "Nos alegra verte.",
        "Podrás verlo mañana.",
        "Haz clic.",
    ]
    formal = [
        "¿Está seguro?",
        "Prepárese.",
        "Nos alegra verle.",
        "Volver atrás.",
        "El trámite tiene un límite.",
    ]
    said = [(text, spanish) for text in informal + formal]
    assert judge("locale_form", said, register="formal").items == [0] * 5 + [1] * 5
    said = [("Ta commande arrive.", french), ("Je vais t'aider.", french), ("L'avis d'aujourd'hui.", french)]
    assert judge("locale_form", said, register="formal").items == [0, 0, 1]


def test_an_unknown_check_or_register_is_told():
    with pytest.raises(ConfigError, match="unknown checks dates; known: decimal, currency, marks, quotes"):
        judge("locale_form", [], checks=["dates"])
    with pytest.raises(ConfigError, match="unknown register 'polite'; known: formal, informal"):
        judge("locale_form", [], register="polite")


def test_glossary_adherence_by_hand(tmp_path):
    (tmp_path / "glossary.yaml").write_text(GLOSSARY)
    source = {"source": "Your cart and your refund.", "language": "fr"}
    cases = [
        ("Votre panier et vos remboursements.", source),
        ("Votre chariot et votre remboursement.", source),
        ("Votre panier.", source),
        ("Su cesta.", {**source, "language": "es"}),  # no Spanish name of a refund is asked for
        ("Su carro.", {**source, "language": "es"}),
        ("Votre panier.", {"answer": "Le chariot est vide.", "language": "fr"}),
        ("Il est vide.", {"answer": "Votre panier est vide.", "language": "fr"}),
        ("Bonjour.", {"answer": "Bonjour.", "language": "fr"}),
    ]
    found = judge("glossary_adherence", cases, tmp_path, glossary="glossary.yaml")
    assert found.items == [1, 0, 0, 1, 0, 1, 0, None]
    assert found.details[1] == ["without 'panier'", "avoided name for 'panier'"]


def test_mistakes_in_the_glossary_are_told_with_their_line(tmp_path):
    (tmp_path / "glossary.yaml").write_text("terms:\n  - say: {en: [cart]}\n  - says: {en: [a]}\n")
    with pytest.raises(ConfigError, match=r"glossary.yaml:3: terms.1.say: Field required") as told:
        judge("glossary_adherence", [], tmp_path, glossary="glossary.yaml")
    assert "terms.1.says" in str(told.value)
    with pytest.raises(ConfigError, match="takes one parameter, glossary="):
        judge("glossary_adherence", [], tmp_path)
