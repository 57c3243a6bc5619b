"""What a judge says of the criteria of rows' own rubrics: of each answer, whether each criterion is met."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kit.config.errors import DataError, Problem
from kit.evaluate.criteria import Criterion, criteria_of
from kit.evaluate.judge_labels import Labelled, LabelRow, labelled
from kit.evaluate.judge_questions import Asking, Question
from kit.evaluate.prompts import Prompt
from kit.evaluate.timing import SYSTEMS

SIGN = "points"
"""The column that tells labels of wanted criteria from those of faults."""
_MOST_PROBLEMS = 20
_HINT = "see the card of rubric_score, or set `evaluate.judge.row_rubrics: false`"


@dataclass(frozen=True)
class JudgedCriteria:
    """The verdicts on criteria."""

    rubrics: list[list[Criterion]]
    """One a prompt; empty where its row has none."""
    verdicts: dict[str, list[list[list[str]] | None]]
    """System -> prompt -> criterion -> all its verdicts, of which the first counts; None where the answer is
    invalid, which is not asked about."""
    labelled: list[Labelled]
    labels_left_out: int
    """Labels of answers that are not in this evaluation, or are invalid."""
    drawn: list[dict[str, list[list[list[str]] | None]]] = field(default_factory=list)
    """Of the first, second, … sampled answers the verdicts, as those of the greedy ones; empty where they are
    not asked about."""

    def on(self, places: Sequence[int]) -> "JudgedCriteria":
        """What was said of the prompts at some places."""
        return replace(
            self,
            rubrics=[self.rubrics[place] for place in places],
            verdicts={s: [verdicts[place] for place in places] for s, verdicts in self.verdicts.items()},
            drawn=[
                {s: [verdicts[place] for place in places] for s, verdicts in sample.items()}
                for sample in self.drawn
            ],
        )


def read_rubrics(prompts: Sequence[Prompt]) -> list[list[Criterion]]:
    """The rubric of every prompt's row, checked before any answer is made.

    Raises:
        DataError: rubrics that no judge could be asked by, or no row has one.
    """
    rubrics, problems = [], []
    for prompt in prompts:
        try:
            rubrics.append(criteria_of(prompt.expected.get("rubric")))
        except ValueError as error:
            problems.append(Problem(f"{prompt.source}:{prompt.line}", str(error), _HINT))
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        rest = [Problem("test rows", f"and {more} more such rubrics", _HINT)] if more > 0 else []
        raise DataError(problems[:_MOST_PROBLEMS] + rest)
    if not any(rubrics):
        what = f"none of the {len(prompts)} test rows asked has a `rubric` for `evaluate.judge.row_rubrics`"
        raise DataError(Problem("test rows", what, "name the column `rubric` in `data.expected`"))
    return rubrics


@dataclass(frozen=True)
class AskedCriteria:
    """The questions about criteria, shaped as `JudgedCriteria` is."""

    rubrics: list[list[Criterion]]
    questions: dict[str, list[list[list[Question]] | None]]
    labels: list[tuple[LabelRow, Question | None]]
    """None: its answer is not in this evaluation, or is invalid."""
    drawn: list[dict[str, list[list[list[Question]] | None]]]
    """Those about sampled answers."""

    def settle(self, verdict: Callable[[Question], str], prompts: Sequence[Prompt]) -> JudgedCriteria:
        """What the replies say.

        Args:
            verdict: the verdict on a question, `unparsable` where the reply states none.
        """
        by_id = {prompt.id: prompt for prompt in prompts}
        known = [labelled(row, by_id, verdict(asked)) for row, asked in self.labels if asked]

        def read(lines: list[list[Question]] | None) -> list[list[str]] | None:
            return None if lines is None else [[verdict(run) for run in runs] for runs in lines]

        return JudgedCriteria(
            rubrics=self.rubrics,
            verdicts={system: [read(lines) for lines in asked] for system, asked in self.questions.items()},
            labelled=known,
            labels_left_out=len(self.labels) - len(known),
            drawn=[
                {system: [read(lines) for lines in asked] for system, asked in sample.items()}
                for sample in self.drawn
            ],
        )


def ask_criteria(
    asking: Asking,
    prompts: Sequence[Prompt],
    answers: Mapping[str, Sequence[str | None]],
    labels: Sequence[LabelRow],
    runs: int,
    drawn: Sequence[Mapping[str, Sequence[str | None]]] = (),
) -> AskedCriteria:
    """Ask of every valid answer whether it meets each criterion of its row's rubric.

    Args:
        answers: of each system one a prompt; None for an invalid one.
        labels: those of a criterion.
        runs: how often each question is asked.
        drawn: the sampled answers, the first of every prompt first; they are asked about once.

    Raises:
        DataError: a rubric is none, or a label is of a criterion that its row does not have.
    """
    rubrics = read_rubrics(prompts)

    def questions(place: int, who: str, answer: str | None, runs: int) -> list[list[Question]] | None:
        prompt = prompts[place]
        if answer is None:
            return None
        found = []
        for number, criterion in enumerate(rubrics[place], start=1):
            about = f"{prompt.id} {who}, criterion {number}"
            first = asking.criterion(criterion.text, prompt.messages, answer, about)
            found.append([first, *(asking.again(first, run) for run in range(1, runs))])
        return found

    asked = {s: [questions(n, s, answer, runs) for n, answer in enumerate(answers[s])] for s in SYSTEMS}
    asked_drawn = [
        {
            s: [questions(n, f"{s}, sample {sample}", answer, 1) for n, answer in enumerate(given[s])]
            for s in SYSTEMS
        }
        for sample, given in enumerate(drawn)
    ]
    places = {prompt.id: place for place, prompt in enumerate(prompts)}
    found: list[tuple[LabelRow, Question | None]] = []
    for row in labels:
        place = places.get(row.id or "")
        if place is None:
            found.append((row, None))
            continue
        text = answers[row.system or ""][place] if row.output is None else row.output
        criterion = _named(row, rubrics[place])
        about = f"label {row.where.rpartition(':')[2]}"
        conversation = prompts[place].messages
        row = replace(row, slices={**row.slices, SIGN: criterion.sign})
        found.append((row, asking.criterion(criterion.text, conversation, text, about) if text else None))
    return AskedCriteria(rubrics, asked, found, asked_drawn)


def _named(row: LabelRow, rubric: Sequence[Criterion]) -> Criterion:
    """The criterion that a label is of.

    Raises:
        DataError: the row has none with these words.
    """
    for criterion in rubric:
        if criterion.text == (row.criterion or "").strip():
            return criterion
    told = "; ".join(criterion.text for criterion in rubric) or "no rubric"
    what = f"the `rubric` of {row.id} has no criterion {row.criterion!r:.80}; it has: {told:.300}"
    raise DataError(Problem(row.where, what, "copy the criterion's text as it stands in the row"))
