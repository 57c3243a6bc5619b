"""The evaluator on systems whose verdict is known: each recipe's own settings, rows from its grammar, answers
made here. From files of answers to the report; no model is loaded."""

import json
import random
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from compare_samples import read, write
from metric_samples import OF_RECORDS, WITH_POLICY

from kit import pipeline
from kit.config import load_config
from kit.data.grammar_load import load_grammar
from kit.data.synth import synthesize
from kit.evaluate.comparison import comparison_settings
from kit.evaluate.metrics import metric_names

RECIPES = Path(__file__).parents[2] / "recipes"
CASES = ("finance", "medical", "ecommerce")
ROWS = 240
FEWER = 120
REFUSALS = {
    "en": "I'm sorry, but I can't help with that.",
    "fr": "Je suis désolé, je ne peux pas vous aider.",
    "es": "Lo siento, no puedo ayudarle.",
}
OTHER_LANGUAGE = {
    "en": "Bitte wenden Sie sich mit Ihrer Frage morgen noch einmal an uns, wir melden uns dann bei Ihnen.",
    "fr": "Please come back to us tomorrow with your question, and we will answer you as soon as possible.",
    "es": "Veuillez revenir vers nous demain avec votre question, et nous vous répondrons dès que possible.",
}
WORDS = (
    "lamp",
    "river",
    "seven",
    "under",
    "quickly",
    "green",
    "table",
    "walk",
    "of",
    "the",
    "paper",
    "spoon",
)

Answer = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Recipe -> its project and the rows that are asked, with good and general answers."""
    found = {}
    for case in CASES:
        project = tmp_path_factory.mktemp(case)
        (project / "conf").mkdir()
        for name in ("recipe.yaml", "policy.yaml"):
            shutil.copy(RECIPES / case / name, project / "conf" / name)
        (project / "conf" / "project.yaml").write_text("evaluate: {bootstrap_draws: 400}\n")
        found[case] = project, _rows(case, load_config(project).config)
    return found


def _rows(case: str, config: Any) -> list[dict[str, Any]]:
    grammar = load_grammar(RECIPES / case / "dialogues.yaml")
    kinds = [list(islice(synthesize(grammar, ROWS, 11, kind), ROWS)) for kind in ("good", "general")]
    return [
        {
            "id": f"{number:04}",
            "prompt": good["messages"][-2]["content"],
            "answer": good["messages"][-1]["content"],
            "general": general["messages"][-1]["content"],
            "language": good["language"],
            "expected": {name: good.get(name) for name in (*config.data.expected, *config.data.slices)},
            "slices": {name: good[name] for name in config.data.slices},
            "group": str(number),
        }
        for number, (good, general) in enumerate(zip(*kinds, strict=True))
    ]


def answers(path: Path, rows: list[dict[str, Any]], answer: Answer) -> Path:
    asked = ("id", "prompt", "answer", "expected", "slices", "group")
    return write(path, [{key: row[key] for key in asked} | {"output": answer(row)} for row in rows])


def compare(project: Path, out: Path, *files: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit code, report.json and scores.json."""
    config, root = comparison_settings(project, None, [], None)
    result = pipeline.compare(config, root, [str(path) for path in files], out, project)
    return int(result.exit_code), read(out / "report.json"), read(out / "scores.json")


def good(row: dict[str, Any]) -> str:
    return row["answer"]


def general(row: dict[str, Any]) -> str:
    return row["general"]


def mixed(row: dict[str, Any]) -> str:
    return row["answer"] if int(row["id"]) % 3 else row["general"]


def refuse(row: dict[str, Any]) -> str:
    return REFUSALS[row["language"]]


@pytest.mark.parametrize("case", CASES)
def test_good_answers_pass_what_they_can_be_judged_by(cases, case, tmp_path):
    """The control of the tests below: only gates that answers given once cannot meet stay open."""
    project, rows = cases[case]
    files = answers(tmp_path / "general.jsonl", rows, general), answers(tmp_path / "good.jsonl", rows, good)
    code, report, scores = compare(project, tmp_path / "out", *files)
    config = load_config(project).config
    sampled = {gate.name for gate in config.gates if gate.decoding == "sampled"}
    timed = {gate.name for gate in config.gates if gate.metric in OF_RECORDS or gate.on}
    thin = {gate.name for gate in config.gates if gate.min_n > ROWS}
    # Self-harm, newborns with a fever and emergencies are few among so many questions.
    few = ("disclosure_rate", "escalation_recall")
    thin |= {gate.name for gate in config.gates if "min_n" in gate.model_fields_set and gate.metric in few}
    open_ = {gate["name"] for gate in report["gates"] if gate["status"] == "not enough evidence"}
    assert {gate["name"] for gate in report["gates"] if gate["status"] == "failed"} == set()
    assert open_ == sampled | timed | thin and code == (3 if open_ else 0)
    measured = {metric["name"] for metric in scores["metrics"]}
    uses = {use.name for use in config.evaluate.metrics}
    assert measured == uses - OF_RECORDS, "every metric of the recipe is met here"


@pytest.mark.parametrize("case", CASES)
def test_a_constant_refuser_fails(cases, case, tmp_path):
    project, rows = cases[case]
    files = answers(tmp_path / "good.jsonl", rows, good), answers(tmp_path / "refuser.jsonl", rows, refuse)
    code, report, _ = compare(project, tmp_path / "out", *files)
    failed = {gate["metric"] for gate in report["gates"] if gate["status"] == "failed"}
    assert code == 1 and "over_refusal_rate" in failed
    refused = next(metric for metric in report["metrics"] if metric["name"] == "over_refusal_rate")
    assert refused["tuned"]["estimate"] == 1.0 and refused["verdict"] == "worse"
    passed = next(metric for metric in report["metrics"] if metric["name"] == "violation_rate")
    assert passed["tuned"]["estimate"] == 0.0, "it breaks no rule: safety alone would let it pass"


GIBBERISH: dict[str, Answer] = {
    "random words": lambda row: " ".join(random.Random(row["id"]).choices(WORDS, k=20)),
    "repeated": lambda row: "the fund " * 30,
    "empty": lambda row: " \n",
    "other language": lambda row: OTHER_LANGUAGE[row["language"]],
}


@pytest.mark.parametrize("kind", GIBBERISH)
@pytest.mark.parametrize("case", CASES)
def test_gibberish_fails(cases, case, kind, tmp_path):
    project, rows = cases[case][0], cases[case][1][:FEWER]
    bad = answers(tmp_path / "gibberish.jsonl", rows, GIBBERISH[kind])
    code, report, scores = compare(
        project, tmp_path / "out", answers(tmp_path / "a.jsonl", rows, general), bad
    )
    assert code in (1, 4)
    assert [gate["name"] for gate in report["gates"] if gate["status"] == "failed"]
    if kind in ("repeated", "empty"):
        assert code == 4 and scores["validity"]["greedy"]["tuned"]["invalid"] == FEWER
        safe = [metric for metric in scores["metrics"] if not metric["higher_is_better"]]
        assert safe and all(metric["tuned"]["estimate"] == 1.0 for metric in safe), "no answer is no safety"


def mirrored(interval: dict[str, Any]) -> tuple[Any, Any, Any]:
    low, high = interval["low"], interval["high"]
    return (
        None if interval["estimate"] is None else 0.0 - interval["estimate"],
        None if high is None else 0.0 - high,
        None if low is None else 0.0 - low,
    )


def as_told(interval: dict[str, Any]) -> tuple[Any, Any, Any]:
    return interval["estimate"], interval["low"], interval["high"]


OPPOSITE = {"improved": "worse", "worse": "improved", "not shown": "not shown"}


def assert_mirrors(one: dict[str, Any], other: dict[str, Any]) -> int:
    """Every figure of one comparison against that of the systems swapped, to the last digit; how many."""
    seen = 0
    assert [metric["name"] for metric in one["metrics"]] == [metric["name"] for metric in other["metrics"]]
    for ours, theirs in zip(one["metrics"], other["metrics"], strict=True):
        for mine, swapped in [(ours, theirs), *zip(ours["slices"], theirs["slices"], strict=True)]:
            where = (ours["name"], mine.get("value"))
            assert mine["n"] == swapped["n"], where
            assert (mine["base"], mine["tuned"]) == (swapped["tuned"], swapped["base"]), where
            assert as_told(mine["difference"]) == mirrored(swapped["difference"]), where
            assert mine["difference"]["p_value"] == swapped["difference"]["p_value"], where
            assert mine["difference"].get("q_value") == swapped["difference"].get("q_value"), where
            assert mine["verdict"] == OPPOSITE[swapped["verdict"]], where
            seen += 1
        assert ours["details"]["base"] == theirs["details"]["tuned"]
    return seen


@pytest.mark.parametrize("case", CASES)
def test_swapped_systems_mirror(cases, case, tmp_path):
    project, rows = cases[case][0], cases[case][1][:FEWER]
    files = answers(tmp_path / "a.jsonl", rows, general), answers(tmp_path / "b.jsonl", rows, mixed)
    _, _, one = compare(project, tmp_path / "ab", *files)
    _, _, other = compare(project, tmp_path / "ba", *reversed(files))
    assert assert_mirrors(one, other) > 10
    verdicts = {metric["verdict"] for metric in one["metrics"]}
    assert "improved" in verdicts, "something must differ for a mirror to show it"
    assert " -0.0," not in (tmp_path / "ba" / "scores.json").read_text(), "nothing is minus nothing"


@pytest.mark.parametrize("answer", [general, refuse, GIBBERISH["empty"], GIBBERISH["random words"]])
@pytest.mark.parametrize("case", CASES)
def test_identical_systems_show_no_difference(cases, case, answer, tmp_path):
    project, rows = cases[case][0], cases[case][1][:FEWER]
    same = answers(tmp_path / "a.jsonl", rows, answer)
    _, report, scores = compare(project, tmp_path / "out", same, same)
    assert scores["metrics"]
    for metric in scores["metrics"]:
        for part in (metric, *metric["slices"]):
            if part["n"]:
                assert part["difference"]["estimate"] == 0, metric["name"]
                assert part["difference"]["p_value"] in (1.0, None), metric["name"]
                assert part["difference"]["low"] <= 0 <= part["difference"]["high"]
            assert part["verdict"] == "not shown", metric["name"]
    # That nothing was lost is true of identical systems.
    compared = [g for g in report["gates"] if g["of"] != "tuned" and g["kind"] != "non_inferior"]
    assert not [gate for gate in compared if gate["status"] == "passed"]


@pytest.mark.parametrize("case", CASES)
def test_shuffled_rows_change_no_byte_of_the_scores(cases, case, tmp_path):
    project, rows = cases[case][0], cases[case][1][:FEWER]
    written = []
    for turn in range(2):
        files = [
            answers(
                tmp_path / f"{name}.jsonl", random.Random(f"{turn}{name}").sample(rows, len(rows)), answer
            )
            for name, answer in (("a", general), ("b", mixed))
        ]
        compare(project, tmp_path / "out", *files)
        written.append((tmp_path / "out" / "scores.json").read_bytes())
    assert written[0] == written[1]


GLOSSARY = "terms:\n  - say: {en: [cart], fr: [panier]}\n    avoid: {fr: [chariot]}\n"


@pytest.fixture(scope="module")
def every_metric(tmp_path_factory):
    """A file of settings with every metric that scores answers, and rows that concern all of them."""
    folder = tmp_path_factory.mktemp("every")
    shutil.copy(RECIPES / "medical" / "policy.yaml", folder / "policy.yaml")
    (folder / "glossary.yaml").write_text(GLOSSARY)
    names = [name for name in metric_names() if name not in OF_RECORDS]
    uses = []
    for name in names:
        params = {"policy": "policy.yaml"} if name in WITH_POLICY else {}
        params |= {"glossary": "glossary.yaml"} if name == "glossary_adherence" else {}
        uses.append({"name": name, "params": params})
    settings = {"evaluate": {"metrics": uses, "bootstrap_draws": 300}, "data": {"slices": ["language"]}}
    (folder / "settings.yaml").write_text(json.dumps(settings))
    return folder / "settings.yaml", names


def rich_rows() -> list[dict[str, Any]]:
    """Rows that have every field that some metric reads, with a right and a wrong answer."""
    rows = []
    for number in range(60):
        french = number % 3 == 0
        dose, order = f"{number + 2} mg", f"A{number:04}"
        right = f"Yes. Call 911 now. Take {dose} for asthma; your cart {{{{total}}}} is order {order}."
        if french:
            right = f"Votre panier {{{{total}}}} porte le numéro {order} : oui, {dose} en cas d'asthme."
        rows.append(
            {
                "id": str(number),
                "prompt": f"May I take {dose}, order {order}?",
                "answer": right,
                "wrong": f"No. Take {number + 20} mg of it, rest at home, and call the cart of order B1.",
                "slices": {"language": "fr" if french else "en"},
                "group": str(number // 2),
                "expected": {
                    "label": ("yes", "no", "maybe")[number % 3],
                    "labels": ["asthma"] if number % 2 else ["asthma", "flu"],
                    "recommendation": ("emergency", "today", "self_care")[number % 3],
                    "red_flag": number % 3 == 0,
                    "topic": ("fever", "injury")[number % 2],
                    "answerable": number % 4 != 0,
                    "required": [dose],
                    "forbidden": ["chariot"],
                    "slots": [order],
                    "figures": [dose],
                    "hand_over": number % 2 == 0,
                    "citations": [f"Rule {number + 1}.2"],
                    "rubric": [{"points": 3, "say": [dose]}, {"points": -5, "say": ["rest at home"]}],
                    "language": "fr" if french else "en",
                },
            }
        )
    return rows


def test_no_metric_of_the_kit_breaks_the_mirror_or_crashes_on_identical_systems(every_metric, tmp_path):
    settings, names = every_metric
    rows = rich_rows()

    def files_of(**systems: Answer) -> list[str]:
        return [str(answers(tmp_path / f"{name}.jsonl", rows, answer)) for name, answer in systems.items()]

    def scores(*files: str) -> dict[str, Any]:
        config, root = comparison_settings(tmp_path, settings, [], None)
        pipeline.compare(config, root, files, tmp_path / "out")
        return read(tmp_path / "out" / "scores.json")

    files = files_of(
        a=lambda row: row["wrong"],
        b=lambda row: row["answer"] if int(row["id"]) % 5 else "",
    )
    one = scores(files[0], files[1])
    scored = {metric["name"] for metric in one["metrics"]}
    assert scored | {lost["name"] for lost in one["unscored"]} == set(names)
    assert len(names) - len(scored) <= 2, one["unscored"]
    assert_mirrors(one, scores(files[1], files[0]))
    for metric in scores(files[1], files[1])["metrics"]:
        assert (metric["verdict"], metric["difference"]["p_value"]) == ("not shown", 1.0), metric["name"]
