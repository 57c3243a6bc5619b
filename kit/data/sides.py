"""What the two sides of preferences differ in beside what they say: their length, and how many there are."""

from collections import Counter
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from kit.data.check import Findings
from kit.data.rows import Row
from kit.data.words import words

FEWEST = 30
"""So many rows say something about all."""
LENGTH_SHARE = 0.6
"""Chosen answers that are longer in more of the pairs, or shorter, teach length beside what they say."""
ONE_SIDE_SHARE = 0.95
"""Labels of one kind in so many of the rows leave little to tell the two apart by."""


@dataclass
class Sides:
    """The answers of pairs, and the labels of answers, of all splits."""

    chosen_words: Counter[int] = field(default_factory=Counter)
    """Length in words -> pairs."""
    rejected_words: Counter[int] = field(default_factory=Counter)
    longer: int = 0
    """Pairs whose chosen answer has more words,"""
    shorter: int = 0
    """and fewer."""
    labels: Counter[bool] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count a row; one that is no preference counts for nothing."""
        if row.label is not None:
            self.labels[row.label] += 1
        if row.rejected is not None:
            chosen, rejected = (len(words(one["content"])) for one in (row.messages[-1], row.rejected))
            self.chosen_words[chosen] += 1
            self.rejected_words[rejected] += 1
            self.longer += chosen > rejected
            self.shorter += chosen < rejected

    def note(self, findings: Findings) -> None:
        """Note by the check `balance` what a model could learn instead of the preference."""
        differ = self.longer + self.shorter
        if differ >= FEWEST:
            share = max(self.longer, self.shorter) / differ
            # Two standard errors from even: fewer pairs may lean so far by chance.
            if share > max(LENGTH_SHARE, 0.5 + 1 / sqrt(differ)):
                which = "longer" if self.longer > self.shorter else "shorter"
                text = (
                    f"the chosen answer is the {which} one in {share:.0%} of the pairs that differ in length "
                    f"({median(self.chosen_words):g} and {median(self.rejected_words):g} words, medians): "
                    "the model will learn length as well"
                )
                findings.note("balance", "pairs", text)
        total = self.labels.total()
        most, count = self.labels.most_common(1)[0] if total else (True, 0)
        if total and (count == total or (total >= FEWEST and count >= ONE_SIDE_SHARE * total)):
            missed = "is not wanted" if most else "is wanted"
            text = f"{count} of {total} answers have this label: little shows what {missed}"
            findings.note("balance", f"label={str(most).lower()}", text)

    def as_json(self) -> dict[str, Any] | None:
        """For `data.json`; None where no row is a preference."""
        pairs = self.chosen_words.total()
        if not pairs and not self.labels:
            return None
        return {
            "pairs": pairs,
            "chosen_longer": round(self.longer / pairs, 4) if pairs else None,
            "chosen_shorter": round(self.shorter / pairs, 4) if pairs else None,
            "chosen_words": median(self.chosen_words) if pairs else None,
            "rejected_words": median(self.rejected_words) if pairs else None,
            "desirable": self.labels[True],
            "undesirable": self.labels[False],
        }


def median(counts: Counter[int]) -> float:
    """Of values with their counts, as `statistics.median`."""
    middle = counts.total() / 2
    below, seen = None, 0
    for value in sorted(counts):
        seen += counts[value]
        if below is not None:
            return (below + value) / 2
        if seen > middle:
            return value
        if seen == middle:
            below = value
    return 0
