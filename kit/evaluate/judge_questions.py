"""The questions of a judge, each once, and what a pair of them comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.config.schema_judge import Rubric
from kit.evaluate.judge_labels import LabelRow
from kit.evaluate.prompts import Prompt
from kit.evaluate.rubric import (
    CRITERION,
    FIRST,
    SECOND,
    TIE,
    UNPARSABLE,
    ask_of_criterion,
    ask_of_one,
    ask_of_two,
)
from kit.files import sha256_json

Winner = Literal["base", "tuned", "tie", "changed with the order", "unparsable"]


@dataclass(frozen=True)
class Question:
    """One thing to ask the judge."""

    about: str
    """Of which prompt and system, for people who read `judge.jsonl`."""
    content: str
    allowed: tuple[str, ...]
    key: str
    """The hash that its reply is kept under."""


@dataclass(frozen=True)
class Pair:
    """Which of a prompt's two answers the judge prefers; in `orders` what it said in either order."""

    winner: Winner
    asked: bool
    """False where validity decided, or the answers were the same."""
    orders: tuple[str, ...] = ()


class Asking:
    """Collects the questions of an evaluation, each once."""

    def __init__(self, rubric: Rubric, who: Mapping[str, Any]) -> None:
        self.rubric = rubric
        self.who = who
        self.questions: dict[str, Question] = {}

    def add(self, about: str, content: str, allowed: Sequence[str]) -> Question:
        key = sha256_json([self.who, content])
        return self.questions.setdefault(key, Question(about, content, tuple(allowed), key))

    def one(self, conversation: Sequence[Any], answer: str | None, about: str) -> Question | None:
        if answer is None:
            return None
        return self.add(about, ask_of_one(self.rubric, conversation, answer), self.rubric.verdicts)

    def criterion(self, criterion: str, conversation: Sequence[Any], answer: str, about: str) -> Question:
        return self.add(about, ask_of_criterion(criterion, conversation, answer), CRITERION.verdicts)

    def again(self, question: Question, run: int) -> Question:
        """The same question once more; its reply is kept apart."""
        key = sha256_json([self.who, question.content, run])
        about = f"{question.about}, run {run + 1}"
        return self.questions.setdefault(key, Question(about, question.content, question.allowed, key))

    def two(self, prompt: Prompt, base: str | None, tuned: str | None) -> Pair | tuple[Question, Question]:
        if base == tuned:  # both may be invalid
            return Pair("tie", asked=False)
        if base is None or tuned is None:
            return Pair("tuned" if base is None else "base", asked=False)
        orders = ((base, tuned, "base first"), (tuned, base, "tuned first"))
        one, other = (
            self.add(
                f"{prompt.id} {about}",
                ask_of_two(self.rubric, prompt.messages, first, second),
                (FIRST, SECOND, TIE),
            )
            for first, second, about in orders
        )
        return one, other

    def label(
        self, row: LabelRow, prompts: Sequence[Prompt], answers: Mapping[str, Sequence[str | None]]
    ) -> Question | None:
        """What to ask about a labelled answer; None for one of a prompt that is not in this evaluation."""
        place = next((place for place, prompt in enumerate(prompts) if prompt.id == row.id), None)
        if row.prompt is not None:
            conversation: Sequence[Any] = [{"role": "user", "content": row.prompt}]
        elif place is not None:
            conversation = prompts[place].messages
        else:
            return None
        text = row.output
        if text is None and row.system is not None and place is not None:
            text = answers[row.system][place]
        return self.one(conversation, text, f"label {row.where.rpartition(':')[2]}")


def settle(base_first: str | None, tuned_first: str | None) -> Pair:
    """One verdict from both orders: a preference that changes with the order is a tie, and told apart."""
    orders = (base_first or UNPARSABLE, tuned_first or UNPARSABLE)
    if UNPARSABLE in orders:
        return Pair("unparsable", True, orders)
    winners: dict[tuple[str, str], Winner] = {
        (FIRST, SECOND): "base",
        (SECOND, FIRST): "tuned",
        (TIE, TIE): "tie",
    }
    return Pair(winners.get(orders, "changed with the order"), True, orders)
