"""The two-sided comparison in words, as a plot and as a table."""

from functools import partial
from typing import TYPE_CHECKING

from kit.evaluate.naming import BASE_AND_TUNED, Names
from kit.report import plots
from kit.report.formatting import count, difference, estimate, interval, quantity
from kit.report.plots import Range
from kit.report.safety_plot import Spot, safety_plot
from kit.report.view_evidence import PairRow, PairView

if TYPE_CHECKING:
    from kit.evaluate.two_sided import TwoSided

Figures = dict[str, float]


def pair_views(pairs: list["TwoSided"], names: Names = BASE_AND_TUNED) -> list[PairView]:
    """Every pair of metrics that is read as one point a system."""
    return [_view(pair, names) for pair in pairs]


def _view(pair: "TwoSided", names: Names) -> PairView:
    first, second = pair.labels
    return PairView(
        title=f"{first} against {_inside(second)}",
        status=pair.status,
        sentence=_sentence(pair),
        margin=_margin(pair),
        rows=[
            _row(label, name, n, pair)
            for label, name, n in zip(pair.labels, (pair.first, pair.second), pair.n, strict=True)
        ],
        plot=plots.figure(partial(_draw, pair, names)),
    )


def _draw(pair: "TwoSided", names: Names, width: float) -> str:
    described = "; ".join(
        f"{system}: {label} {estimate(figures[name], 'rate')}"
        for system, figures in ((names.base, pair.base), (names.tuned, pair.tuned))
        for label, name in zip(pair.labels, (pair.first, pair.second), strict=True)
    )
    return safety_plot(
        _spot(pair, pair.base),
        _spot(pair, pair.tuned),
        pair.margin,
        pair.labels,
        _sentence(pair),
        f"{described}. {_margin(pair)}",
        width,
        (names.base, names.tuned),
    )


def _spot(pair: "TwoSided", figures: dict[str, Figures]) -> Spot:
    return Spot(_range(figures[pair.first]), _range(figures[pair.second]))


def _range(figure: Figures) -> Range:
    return Range(figure["estimate"], figure["low"], figure["high"], quantity(figure["estimate"], "rate"))


def _row(label: str, name: str, n: int, pair: "TwoSided") -> PairRow:
    base, tuned, change = pair.base[name], pair.tuned[name], pair.difference[name]
    return PairRow(
        label=label,
        n=count(n),
        base=quantity(base["estimate"], "rate"),
        base_interval=interval(base["low"], base["high"], "rate"),
        tuned=quantity(tuned["estimate"], "rate"),
        tuned_interval=interval(tuned["low"], tuned["high"], "rate"),
        difference=difference(change["estimate"], "rate"),
        difference_interval=interval(change["low"], change["high"], "rate"),
    )


def _sentence(pair: "TwoSided") -> str:
    """The verdict of the pair, and what decides it."""
    verdict = {"win": "A win", "no win": "No win", "not shown": "No win is shown"}[pair.status]
    first, second = (_inside(label) for label in pair.labels)
    why = pair.why.replace("the first", first).replace("the second", second)
    moved = f"{pair.labels[0]} {_moved(pair.difference[pair.first])}, "
    return f"{verdict}: {why}. {moved}{second} {_moved(pair.difference[pair.second])}."


def _inside(label: str) -> str:
    """A label within a sentence."""
    return label[:1].lower() + label[1:]


def _moved(change: Figures) -> str:
    return f"{difference(change['estimate'], 'rate')} {interval(change['low'], change['high'], 'rate')}"


def _margin(pair: "TwoSided") -> str:
    first, second = (_inside(label) for label in pair.labels)
    by = f"set by the gate “{pair.margin_from}”" if pair.margin_from else "the default, as no gate sets one"
    return (
        f"A win needs {first} down and {second} up by at most {difference(pair.margin, 'rate')[1:]} "
        f"({by}), each over its whole interval."
    )
