"""What a shop or a bank types of its own service, so that a claim on labour cost can be answered."""

from pydantic import Field, field_validator

from kit.config.section import Section

Range = float | list[float]
"""A number, or the lowest, the likeliest and the highest that it may be."""


class Labour(Section):
    """Your assumptions for the cost model, none of them with a default: numbers, or [low, best, high].

    A month costs N·[(1 - d)·t_h·w + d·t_r·w·q + c]: people answer what the assistant does not contain, and
    review a share of what it does. The contained share d is measured on the test set; nothing else is.
    """

    contained: str = "resolution_rate"
    """The metric whose rate stands for d, the share of contacts that need no person."""
    contacts: Range
    """N: contacts a month."""
    minutes_per_contact: Range
    """t_h: a person's minutes for a contact that the assistant did not contain."""
    hourly_wage: Range
    """w: what an hour of that person costs, with everything on top."""
    review_share: Range
    """q: the share of contained contacts that a person reviews, from 0 to 1."""
    minutes_per_review: Range
    """t_r: a person's minutes for such a review."""
    inference_cost: Range
    """c: what the model costs a contact, in the wage's currency."""
    currency: str = Field(default="", max_length=8)
    """Printed beside amounts, such as EUR."""

    @field_validator("contacts", "minutes_per_contact", "hourly_wage")
    @classmethod
    def _above_zero(cls, value: Range) -> Range:
        if min(low_best_high(_rising(value))) <= 0:
            raise ValueError(f"found {value}, expected more than 0")
        return value

    @field_validator("minutes_per_review", "inference_cost")
    @classmethod
    def _not_below_zero(cls, value: Range) -> Range:
        if min(low_best_high(_rising(value))) < 0:
            raise ValueError(f"found {value}, expected 0 or more")
        return value

    @field_validator("review_share")
    @classmethod
    def _a_share(cls, value: Range) -> Range:
        low, _, high = low_best_high(_rising(value))
        if low < 0 or high > 1:
            raise ValueError(f"found {value}, expected a share from 0 to 1")
        return value


def low_best_high(value: Range) -> tuple[float, float, float]:
    """The three numbers of a range; a single number is all three."""
    if isinstance(value, list):
        low, best, high = value
        return low, best, high
    return value, value, value


def _rising(value: Range) -> Range:
    if isinstance(value, list) and (len(value) != 3 or sorted(value) != value):
        raise ValueError(f"found {value}, expected a number, or [low, best, high] in rising order")
    return value
