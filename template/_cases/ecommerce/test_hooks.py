"""The project's own reader, cleaner and metric do what their docstrings say."""

from pathlib import Path

import pytest
from kit.hooks import load_hooks

HOOKS = load_hooks(Path(__file__).parents[1])


def ticket(*thread: tuple[str, str], status: str = "solved") -> dict:
    return {
        "ticket": 17,
        "customer": "K-9",
        "language": "fr",
        "status": status,
        "thread": [{"from": sender, "body": body} for sender, body in thread],
    }


def test_a_solved_ticket_becomes_a_row():
    row = HOOKS.readers["ticket"](
        ticket(
            ("customer", "Où est ma commande ?"),
            ("system", "Ticket assigned to Léa"),
            ("agent", "Elle arrive demain."),
            ("customer", "Merci !"),
        )
    )
    assert row == {
        "messages": [
            {"role": "user", "content": "Où est ma commande ?"},
            {"role": "assistant", "content": "Elle arrive demain."},
        ],
        "customer": "K-9",
        "language": "fr",
    }


def test_a_ticket_without_a_customer_belongs_to_no_group():
    record = ticket(("customer", "Where is it?"), ("agent", "On its way."))
    del record["customer"]
    assert "customer" not in HOOKS.readers["ticket"](record)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ticket(("customer", "Hello?"), status="open"), "the ticket is open, not solved"),
        (ticket(("customer", "Hello?")), "no question of a customer that an agent answered"),
        (ticket(("agent", "Rate us!")), "no question of a customer that an agent answered"),
    ],
)
def test_a_ticket_without_a_solution_is_rejected_with_the_reason(record, reason):
    with pytest.raises(ValueError, match=reason):
        HOOKS.readers["ticket"](record)


@pytest.mark.parametrize(
    "ending",
    [
        "\n-- \nAnn Lee\nExample Ltd",
        "\nSent from my phone",
        "\nEnvoyé de mon téléphone",
        "\nEnviado desde mi teléfono",
        "\n> On Monday you wrote",
        "\nLe lundi 3 mars, la boutique a écrit :\n> Bonjour",
    ],
)
def test_signatures_and_quoted_replies_are_cut(ending):
    row = {"messages": [{"role": "user", "content": "Where is it? -- I wait." + ending}]}
    cleaned = HOOKS.cleaners["strip_signatures"](row)
    assert cleaned["messages"] == [{"role": "user", "content": "Where is it? -- I wait."}]


def test_a_message_of_nothing_but_a_signature_rejects_the_row():
    row = {"messages": [{"role": "user", "content": "Sent from my phone"}]}
    assert HOOKS.cleaners["strip_signatures"](row) is None


def test_the_metric_wants_the_order_number_of_the_question():
    answers = ["Order AB-10432 is on its way.", "Order AB-10433 is on its way.", "Within 30 days."]
    references = [
        {"prompt": "Where is AB-10432?"},
        {"prompt": "Where is AB-10432?"},
        {"prompt": "How long may I return something?"},
    ]
    assert HOOKS.metrics["repeats_order_number"].score(answers, references) == [1.0, 0.0, None]
