"""Every safety miss of the tuned model: answers that break a critical rule or miss an emergency.

All are shown, not the first few: each one is a reason not to release. Only where they would make the file
too large are the last ones listed by id and reason.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from kit.evaluate.naming import BASE_AND_TUNED, names_of
from kit.report.formatting import count, plural, shortened, visible
from kit.report.nearest import nearest_of
from kit.report.read import Json
from kit.report.scores import decoding_name
from kit.report.transcripts import ANSWER_LIMIT, prompt_lines, reason_named
from kit.report.view_evidence import Miss, Misses

ROOM = 1_000_000
"""Bytes that misses may fill, so that a report stays under 3 MB."""
_MARKUP = 1_000
"""Bytes of the tags around one."""
LISTED = 2_000
"""Misses that are listed where there is no room to show them."""

EMERGENCIES = "escalation_recall"
"""The metric whose failures are emergencies that were not sent on."""
UNDER_TRIAGE = "under_triage"
"""The metric among whose failures those of the most urgent case are missed emergencies."""

_NONE = (
    "No metric of this case has critical rules or emergencies, so nothing here says which answers are "
    "dangerous."
)


@dataclass(frozen=True)
class _Found:
    """A tuned answer with what makes it a miss."""

    item: Json
    decoding: str
    """How it was drawn, for people."""
    answers: Json
    """It and the base's."""
    reasons: list[str]


def find_misses(scores: Json, titles: dict[str, str], most_urgent: str) -> Misses:
    """The safety misses of the tuned model under every decoding, in the order of the prompts.

    Args:
        scores: the contents of `scores.json`.
        titles: what the policy's rules are called, by their code.
        most_urgent: the policy's most urgent recommendation; empty where it has none.
    """
    critical = _critical_rules(scores)
    measured = {metric["name"] for metric in scores["metrics"]}
    has_emergencies = EMERGENCIES in measured or (UNDER_TRIAGE in measured and bool(most_urgent))
    if critical is None and not has_emergencies:
        return Misses(_NONE, [], "", [])
    looked_at = [said["tuned"] for item in scores.get("items") or [] for _, said in _answers(item, scores)]
    found = [
        _Found(item, decoding, said, reasons)
        for item in scores.get("items") or []
        for decoding, said in _answers(item, scores)
        if (reasons := _reasons(said["tuned"], critical or set(), most_urgent))
    ]
    shown, rest = _fitting(found, titles, scores)
    return Misses(
        note=_note(found, looked_at, critical is not None, has_emergencies, scores),
        shown=shown,
        left_out_note=_left_out_note(len(shown), len(rest)),
        listed=[
            (one.item["id"], one.decoding, "; ".join(reason_named(reason, titles) for reason in one.reasons))
            for one in rest[:LISTED]
        ],
    )


def _critical_rules(scores: Json) -> set[str] | None:
    """The critical rules that any answer breaks; None where no metric judges by rules."""
    counted = [metric["severities"]["critical"] for metric in scores["metrics"] if metric.get("severities")]
    drawn = scores.get("worst_at_k")
    counted += [severities["critical"] for severities in (drawn["severities"] if drawn else {}).values()]
    if not counted:
        return None
    return {rule for systems in counted for found in systems.values() for rule in found["rules"]}


def _answers(item: Json, scores: Json) -> Iterator[tuple[str, Json]]:
    """How each answer to a prompt was drawn, for people, and both systems' answers."""
    for decoding in ("greedy", "sampled"):
        if decoding in item:
            yield decoding_name(scores, decoding), item[decoding]
    if drawn := item.get("drawn"):
        for sample in range(scores["worst_at_k"]["further"]["tuned"], len(drawn["tuned"])):
            which = f"{decoding_name(scores, 'sampled')}, answer {sample + 1}"
            yield which, {system: drawn[system][sample] for system in drawn}


def _reasons(answer: Json, critical: set[str], most_urgent: str) -> list[str]:
    """What makes an answer a safety miss: rules broken, emergencies missed; empty for others."""
    details = answer.get("details") or {}
    reasons = [reason for said in details.values() for reason in said if reason in critical]
    if answer["scores"].get(EMERGENCIES) == 0:
        reasons += details.get(EMERGENCIES) or ["red flag missed"]
    elif answer["scores"].get(UNDER_TRIAGE) == 1 and most_urgent:
        said = details.get(UNDER_TRIAGE) or []
        reasons += [reason for reason in said if reason.startswith(f"{most_urgent} sent to")]
    return list(dict.fromkeys(reasons))


def _fitting(
    found: Sequence[_Found], titles: dict[str, str], scores: Json
) -> tuple[list[Miss], list[_Found]]:
    """As many misses as there is room for, from the first on, and those that are left."""
    shown: list[Miss] = []
    room = ROOM
    for place, one in enumerate(found):
        miss = _miss(one, titles, scores)
        texts = (miss.heading, miss.prompt, miss.output, *miss.reasons, *miss.slices)
        room -= _MARKUP + sum(_bytes(text) for text in texts)
        if room < 0:
            return shown, list(found[place:])
        shown.append(miss)
    return shown, []


def _bytes(text: str) -> int:
    return len(escape(visible(text)).encode())


def _miss(found: _Found, titles: dict[str, str], scores: Json) -> Miss:
    item, answers = found.item, found.answers
    heading, prompt = prompt_lines(item["prompt"])
    output, left_out = shortened(answers["tuned"]["output"], ANSWER_LIMIT)
    base = answers["base"]["details"] or {}
    shared = {reason for said in base.values() for reason in said} & set(found.reasons)
    return Miss(
        id=item["id"],
        decoding=found.decoding,
        heading=heading,
        prompt=prompt,
        output=output,
        left_out=count(left_out) if left_out else "",
        reasons=[reason_named(reason, titles) for reason in found.reasons],
        base=f"{names_of(scores).base}: {_base(shared, found.reasons)}",
        slices=[f"{column}: {value}" for column, value in item.get("slices", {}).items()],
        nearest=nearest_of(item),
    )


def _base(shared: set[str], reasons: Sequence[str]) -> str:
    if not shared:
        return "no such miss"
    return "the same miss" if shared == set(reasons) else "some of it"


def _note(
    found: Sequence[_Found], answers: Sequence[Json], has_rules: bool, has_emergencies: bool, scores: Json
) -> str:
    """How many misses there are, and what counts as one here."""
    names = names_of(scores)
    looked_at = f"{plural(len(answers), 'answer')} of {names.tuned}"
    if names == BASE_AND_TUNED:
        looked_at = plural(len(answers), "tuned answer")
    one = len(found) == 1 or not found
    counted = [
        *([f"{'breaks' if one else 'break'} a critical rule of the policy"] if has_rules else []),
        *([f"{'does' if one else 'do'} not send an emergency on"] if has_emergencies else []),
    ]
    what = " or ".join(counted)
    if not found:
        return f"None of {looked_at} {what}.{_unusable(answers)}"
    by_decoding = Counter(miss.decoding.partition(", answer ")[0] for miss in found)
    told = ", ".join(f"{count(n)} {decoding}" for decoding, n in sorted(by_decoding.items()))
    return f"{count(len(found))} of {looked_at} ({told}) {what}.{_unusable(answers)}"


def _unusable(answers: Sequence[Json]) -> str:
    """That answers which are none count as violations in the scores, though they break no rule."""
    invalid = sum(bool(answer["invalid"]) for answer in answers)
    if not invalid:
        return ""
    one = invalid == 1
    return (
        f" {plural(invalid, 'answer')} {'is' if one else 'are'} unusable (see Validity): "
        f"{'it counts' if one else 'they count'} as {'a violation' if one else 'violations'} in the scores, "
        "and a rule is broken only where one is named here."
    )


def _left_out_note(shown: int, rest: int) -> str:
    if not rest:
        return ""
    listed = (
        "listed by id and reason" if rest <= LISTED else f"not shown; the first {count(LISTED)} are listed"
    )
    return (
        f"The first {count(shown)} are shown. To keep this file under 3 MB the other {count(rest)} are "
        f"{listed}; their text stands in predictions.jsonl."
    )
