"""What a report shows besides this evaluation's own scores: the baseline, and reviewers' verdicts.

Numbers are already words here, as in `kit.report.view`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class BaselineRow:
    """One metric of the tuned models of then and now."""

    label: str
    better: str
    n: str
    then: str
    now: str
    difference: str
    difference_interval: str
    tolerance: str
    """What may be lost, in words; `informs` where the metric does not decide."""
    status: str
    why: str


@dataclass(frozen=True)
class BaselineView:
    """The comparison with the released report."""

    evaluation: str
    status: str
    sentence: str
    prompts: str
    """How many prompts both share, of how many."""
    conditions: list[str]
    """Conditions that both were not asked under alike."""
    rows: list[BaselineRow]


@dataclass(frozen=True)
class ReviewMark:
    """One reviewer's verdict on an answer."""

    verdict: str
    """`accepted`, `rejected`, or what it was before the answer changed."""
    changed: bool
    answer: str
    """Which answer: tuned, or with its system and decoding where it is another."""
    reviewer: str
    date: str
    note: str


@dataclass(frozen=True)
class ReviewRow:
    """A reviewed answer that a reader should look at: rejected, or changed since."""

    id: str
    prompt: str
    mark: ReviewMark


@dataclass(frozen=True)
class ReviewsView:
    """Reviewers' verdicts that were carried over, and what a page needs to take new ones."""

    counts: list[tuple[str, str]]
    """Empty where nobody has reviewed anything."""
    marks: dict[tuple[str, str], list[ReviewMark]]
    """By the prompt's id and the decoding."""
    rows: list[ReviewRow]
    hashes: dict[tuple[str, str], str]
    """Of every tuned answer on the page, by the prompt's id and the decoding."""
