"""Settings of speed and labour: what is refused, and in which words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.config import ConfigError, Problem, load_config

Make = Callable[..., Path]

LABOUR = (
    "labour: {{contained: violation_rate, contacts: 1000, minutes_per_contact: {minutes}, hourly_wage: 20, "
    "review_share: {share}, minutes_per_review: 0, inference_cost: 0}}"
)


def problems_of(root: Path) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(root)
    return caught.value.problems


@pytest.mark.parametrize(
    ("evaluate", "said"),
    [
        ("{concurrency: [4]}", "begins with 1"),
        ("{concurrency: [1, 4, 2]}", "and rises"),
        ("{concurrency: [1, 1]}", "and rises"),
        ("{concurrency: []}", "begins with 1"),
        ("{concurrency: [1, 32]}", "needs as many timed prompts: `latency_prompts` is 16"),
        ("{concurrency: [1, 4], latency_prompts: 0}", "`latency_prompts` is 0"),
        (
            "{goodput: {time_to_first_token: 1, time_per_output_token: 1}, latency_prompts: 0}",
            "`latency_prompts` is 0",
        ),
        ("{goodput: {time_to_first_token: 1}}", "`evaluate.goodput.time_per_output_token` is missing"),
        ("{goodput: {time_to_first_token: 0, time_per_output_token: 1}}", "greater than 0"),
    ],
)
def test_what_cannot_be_timed_is_refused(make_project: Make, evaluate: str, said: str) -> None:
    (problem,) = problems_of(make_project(f"evaluate: {evaluate}"))
    assert said in problem.message


@pytest.mark.parametrize(
    ("minutes", "share", "said"),
    [
        ("[4, 6]", "0.1", "[low, best, high] in rising order"),
        ("[6, 4, 9]", "0.1", "[low, best, high] in rising order"),
        ("0", "0.1", "expected more than 0"),
        ("six", "0.1", "expected a number or a list of numbers"),
        ("6", "[0, 0.5, 1.5]", "expected a share from 0 to 1"),
        ("6", "-0.1", "expected a share from 0 to 1"),
    ],
)
def test_an_assumption_that_makes_no_sense_is_refused(
    make_project: Make, minutes: str, share: str, said: str
) -> None:
    (problem,) = problems_of(make_project(LABOUR.format(minutes=minutes, share=share)))
    assert said in problem.message and "`labour." in problem.message


def test_no_assumption_has_a_default(make_project: Make) -> None:
    found = problems_of(make_project("labour: {contained: violation_rate, currency: EUR}"))
    missing = {problem.message for problem in found}
    assert len(missing) == 6 and all("is missing" in message for message in missing)


def test_the_contained_share_is_a_metric_that_is_measured(make_project: Make) -> None:
    typed = LABOUR.format(minutes=6, share=0.1)
    assert load_config(make_project(typed)).config.labour is not None
    (problem,) = problems_of(make_project(typed.replace("violation_rate", "violation_rte")))
    assert "unknown metric 'violation_rte'" in problem.message and "violation_rate" in problem.hint


def test_a_modelled_claim_names_no_metric(make_project: Make) -> None:
    claim = "claims: [{name: c, modelled_by: labour, at_least: 0.6%s}]"
    assert load_config(make_project(claim % "")).config.claims[0].modelled_by == "labour"
    (problem,) = problems_of(make_project(claim % ", metric: violation_rate"))
    assert "has no `metric`" in problem.message


def test_the_how_tos_example_is_taken_as_it_is_written(make_project: Make) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/labour-cost.md").read_text(encoding="utf-8")
    block = next(part for part in page.split("```") if part.startswith("yaml\nlabour:"))
    root = make_project(block.removeprefix("yaml\n").replace("resolution_rate", "violation_rate"))
    labour = load_config(root).config.labour
    assert labour is not None and labour.minutes_per_contact == [4, 6, 9] and labour.currency == "EUR"
