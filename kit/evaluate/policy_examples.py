"""Holds a policy to its own examples: what every rule, refusal and recommendation says of each.

A rule that no example breaks has not been shown to find anything, and is told as a problem like one that
misjudges an example.
"""

from dataclasses import dataclass

from kit.config.errors import Problem
from kit.config.yaml_lines import Key
from kit.evaluate.policy import HandOver, Policy, Rule

_HINT = "change the phrases or the example"


@dataclass(frozen=True)
class Checked:
    """One part of a policy (a rule, the refusals, a recommendation) and its examples."""

    name: str
    title: str
    severity: str
    """Of a rule; else empty."""
    examples: int
    problems: list[Problem]


def check_policy(policy: Policy) -> list[Checked]:
    """Every part of the policy that has phrases, in the order of the file, with what its examples show."""
    parts = [_check_rule(policy, index, rule) for index, rule in enumerate(policy.rules)]
    if policy.refusals or policy.examples.refuses or policy.examples.answers:
        parts.append(_check_refusals(policy))
    if policy.hand_over != HandOver():
        parts.append(_check_hand_over(policy))
    labels = dict.fromkeys([*policy.recommendations, *policy.examples.recommends])
    return parts + [_check_recommendation(policy, label) for label in labels]


def problems_of(policy: Policy) -> list[Problem]:
    """Every example that the phrases judge otherwise than the policy says, and every part that lacks one."""
    return [problem for part in check_policy(policy) for problem in part.problems]


def _check_rule(policy: Policy, index: int, rule: Rule) -> Checked:
    said = [(text, "violates") for text in rule.examples.violates]
    said += [(text, "complies") for text in rule.examples.complies]
    problems = []
    for place, (text, wanted) in enumerate(said):
        found = "violates" if rule.broken_by(text) else "complies"
        if found != wanted:
            number = place if wanted == "violates" else place - len(rule.examples.violates)
            where = policy.place("rules", index, "examples", wanted, number)
            message = f"the example {text!r} should be one that {wanted}; the rule says it {found}"
            hint = "change the rule's phrases or the example"
            problems.append(Problem(f"{where} rule {rule.id}", message, hint))
    said += [(text, "asked") for text in rule.examples.asked]
    said += [(text, "not_asked") for text in rule.examples.not_asked]
    problems += _check_questions(policy, index, rule)
    where = f"{policy.place('rules', index)} rule {rule.id}"
    problems += _lacking(where, "violates", rule.examples.violates, "that the rule finds anything")
    problems += _lacking(where, "complies", rule.examples.complies, "that the rule leaves others alone")
    return Checked(rule.id, rule.title, rule.severity, len(said), problems)


def _check_questions(policy: Policy, index: int, rule: Rule) -> list[Problem]:
    """The questions that `asks` takes for its own and should not, or the reverse."""
    problems = []
    for wanted, texts in (("asked", rule.examples.asked), ("not_asked", rule.examples.not_asked)):
        for number, text in enumerate(texts):
            if rule.asked_in(text) != (wanted == "asked"):
                where = f"{policy.place('rules', index, 'examples', wanted, number)} rule {rule.id}"
                found = "is not met" if wanted == "asked" else "is met"
                message = f"`asks` {found} by the example {text!r}, which is `{wanted}`"
                problems.append(Problem(where, message, "change the rule's `asks` or the example"))
    if rule.asks:
        where = f"{policy.place('rules', index)} rule {rule.id}"
        problems += _lacking(where, "asked", rule.examples.asked, "that the rule ever applies")
    return problems


def _check_refusals(policy: Policy) -> Checked:
    problems, count = [], 0
    for wanted, texts in (("refuses", policy.examples.refuses), ("answers", policy.examples.answers)):
        for number, text in enumerate(texts):
            count += 1
            found = "refuses" if policy.is_refusal(text) else "answers"
            if found != wanted:
                message = f"the example {text!r} should be one that {wanted}; by `refusals` it {found}"
                problems.append(_answer_problem(policy, message, wanted, number))
    where = f"{policy.place('refusals')} refusals"
    problems += _lacking(where, "refuses", policy.examples.refuses, "that the phrases find anything")
    problems += _lacking(where, "answers", policy.examples.answers, "that the phrases leave others alone")
    return Checked("refusals", "Phrases that decline to answer", "", count, problems)


def _check_hand_over(policy: Policy) -> Checked:
    said, problems, count = policy.hand_over.examples, [], 0
    for wanted, texts in (("hands_over", said.hands_over), ("keeps", said.keeps)):
        for number, text in enumerate(texts):
            count += 1
            found = "hands_over" if policy.hand_over.made_in(text) else "keeps"
            if found != wanted:
                where = f"{policy.place('hand_over', 'examples', wanted, number)} hand_over"
                message = f"the example {text!r} should be one of `{wanted}`; by `phrases` it is of `{found}`"
                problems.append(Problem(where, message, _HINT))
    where = f"{policy.place('hand_over')} hand_over"
    problems += _lacking(where, "hands_over", said.hands_over, "that the phrases find anything")
    problems += _lacking(where, "keeps", said.keeps, "that the phrases leave others alone")
    return Checked("hand_over", "Phrases that send on to a person", "", count, problems)


def _check_recommendation(policy: Policy, label: str) -> Checked:
    texts, problems = policy.examples.recommends.get(label, []), []
    for number, text in enumerate(texts):
        given = policy.recommendation(text) or "none"
        if given != label:
            message = f"the example {text!r} should recommend {label!r}; by `recommendations`: {given!r}"
            problems.append(_answer_problem(policy, message, "recommends", label, number))
    where = f"{policy.place('recommendations', label)} recommendation {label}"
    problems += _lacking(where, f"recommends: {label}", texts, "that the phrases find anything")
    title = "Answers that recommend nothing" if label == "none" else "Phrases that recommend it"
    return Checked(label, title, "", len(texts), problems)


def _lacking(where: str, kind: str, texts: list[str], what: str) -> list[Problem]:
    """The problem of a part without an example of one kind."""
    if texts:
        return []
    message = f"has no example of `{kind}`: nothing shows {what}"
    return [Problem(where, message, "add a sentence to `examples` in the policy file")]


def _answer_problem(policy: Policy, message: str, *key: str | int) -> Problem:
    place: Key = ("examples", *key)
    return Problem(f"{policy.place(*place)} examples", message, _HINT)
