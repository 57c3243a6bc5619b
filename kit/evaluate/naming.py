"""What the two systems of a comparison are called: base and tuned, or by the files their answers are in.

`base` and `tuned` stay the keys of every file, whatever the systems are called: the system that others are
held against, and the one that is held against it.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Names:
    """The names of both systems, as sentences and tables show them."""

    base: str = "base"
    tuned: str = "tuned"

    @property
    def the_base(self) -> str:
        """The base in a sentence on its answers."""
        return "the base model" if self.base == "base" else self.base

    @property
    def the_tuned(self) -> str:
        """The tuned one in a sentence on its answers."""
        return "the tuned model" if self.tuned == "tuned" else self.tuned

    def of(self, system: str) -> str:
        """The name of `base` or `tuned`."""
        return self.base if system == "base" else self.tuned

    @property
    def heads(self) -> dict[str, str]:
        """What stands in tables and legends in the place of base and tuned; a file's name as it is."""
        base, tuned = ("Base", "Tuned") if self == BASE_AND_TUNED else (self.base, self.tuned)
        return {"Base": base, "Tuned": tuned, "base": self.base, "tuned": self.tuned}


BASE_AND_TUNED = Names()


def names_of(scores: dict[str, Any]) -> Names:
    """The names in `scores.json` or `report.json`; base and tuned where it does not say."""
    return Names(**scores.get("systems", {}))
