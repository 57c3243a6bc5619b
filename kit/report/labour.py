"""Labour cost in a report: what the model says, what was typed for it, and which of that matters most."""

from functools import partial

from kit.report import plots
from kit.report.formatting import JOIN, MINUS, count, interval, number, quantity
from kit.report.read import Json
from kit.report.tornado import Bar, tornado_plot
from kit.report.view_evidence import Figure
from kit.report.view_speed import LabourCost, TornadoRow
from kit.report.words import sentence

_INPUTS = {
    "contained_base": "Contained share, base",
    "contained_tuned": "Contained share, tuned",
    "contacts": "Contacts a month",
    "minutes_per_contact": "Minutes a contact, by hand",
    "hourly_wage": "Wage an hour",
    "review_share": "Contained contacts reviewed",
    "minutes_per_review": "Minutes a review",
    "inference_cost": "Cost of the model a contact",
}
_SHARES = ("contained_base", "contained_tuned", "review_share")
_MONEY = ("hourly_wage", "inference_cost")
_WHO = {"people": "People alone", "base": "People and base", "tuned": "People and tuned"}


def labour_cost(model: Json | None, scores: Json) -> LabourCost | None:
    """The cost model as words; None where the project types no assumptions."""
    if model is None:
        return None
    if model["saving"] is None:
        told = f"The cost of labour could not be modelled: {sentence(model['why'])}"
        return LabourCost(told, contained="", costs=[], assumptions=[], tornado=[], plot=None)
    currency = model["currency"]
    rows = [_tornado_row(row, currency) for row in model["tornado"]]
    return LabourCost(
        sentence=_sentence(model),
        contained=_contained(model, scores),
        costs=[
            (words, _amount(model["per_contact"][who], currency), _amount(model["per_month"][who], currency))
            for who, words in _WHO.items()
        ],
        assumptions=[
            (
                _INPUTS[name],
                _value(name, told["low"], currency),
                _value(name, told["best"], currency),
                _value(name, told["high"], currency),
            )
            for name, told in model["assumptions"].items()
        ],
        tornado=rows,
        plot=_plot(model, rows) if rows else None,
    )


def _sentence(model: Json) -> str:
    return (
        "Modelled, not measured: the tuned model changes the cost of labour by "
        f"{_change(model['saving'])} against the base model, and by "
        f"{_change(model['saving_against_people'])} against people alone. Square brackets hold the worst and "
        "the best case over every corner of the ranges; they are no confidence interval."
    )


def _change(saving: Json) -> str:
    """A saving as a fall: −65.5% [−71.0, −52.3]."""
    span = interval(-saving["high"], -saving["low"], "rate")
    return f"{quantity(-saving['estimate'], 'rate')} {span}"


def _contained(model: Json, scores: Json) -> str:
    found = model["contained"]
    made = "synthetic " if scores["synthetic"] else ""
    shares = " and ".join(
        f"{quantity(found[s]['best'], 'rate')} {interval(found[s]['low'], found[s]['high'], 'rate')} for {s}"
        for s in ("base", "tuned")
    )
    return (
        f"The contained share d is the one thing measured: {found['label']}, on {count(found['n'])} "
        f"{made}prompts of the test set, {shares}. That a contact like these needs no person is an "
        "assumption as well: real customers come back, ask for a person or write otherwise. The two shares "
        "are moved apart, though the prompts are the same, so the range is rather too wide."
    )


def _amount(cost: Json, currency: str) -> str:
    digits = 3 if cost["high"] < 10 else 2 if cost["high"] < 1000 else 0
    text = number(cost["estimate"], digits) + _unit(currency)
    if cost["low"] == cost["high"]:
        return text
    return f"{text} [{number(cost['low'], digits)},{JOIN}{number(cost['high'], digits)}]"


def _value(name: str, value: float, currency: str) -> str:
    """An input as it was typed, with its unit."""
    if name in _SHARES:
        return quantity(value, "rate")
    text = f"{value:,.10g}".replace("-", MINUS)
    return text + _unit(currency) if name in _MONEY else text


def _unit(currency: str) -> str:
    return f"{JOIN}{currency}" if currency else ""


def _tornado_row(row: Json, currency: str) -> TornadoRow:
    name = row["input"]
    return TornadoRow(
        input=_INPUTS[name],
        measured=row["measured"],
        low=_value(name, row["low"], currency),
        high=_value(name, row["high"], currency),
        at_low=quantity(row["at_low"], "rate"),
        at_high=quantity(row["at_high"], "rate"),
        swing=f"{number(100 * row['swing'])}{JOIN}points",
    )


def _plot(model: Json, rows: list[TornadoRow]) -> Figure:
    bars = [
        Bar(told.input, f"{told.low} to {told.high}", row["at_low"], row["at_high"], row["measured"])
        for row, told in zip(model["tornado"], rows, strict=True)
    ]
    title = (
        "Saving of labour cost against base, each input alone moved from low to high; widest: "
        f"{rows[0].input}, {rows[0].swing}"
    )
    return plots.figure(partial(tornado_plot, bars, model["saving"]["estimate"], title))
