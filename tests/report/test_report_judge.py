"""What a report says of a judge: beside the metrics, corrected where people labelled, else in red."""

import json
import re

import pytest
from report_samples import build, config

from kit.config.schema_judge import Judge, Rubric
from kit.evaluate.compare import Settings
from kit.evaluate.judge import Judged, Labelled, Pair, ReadyJudge
from kit.evaluate.judge_scores import add_judge, judge_scores
from kit.evaluate.prompts import Prompt
from kit.report.build import write_report

HOSTILE = '<script>alert("rubric")</script> | \u202e'
RUBRIC = {"question": "Does it promise a return?", "labels": ["complies", "violates"], "good": ["complies"]}
N = 200


def judged(labels=0, errors=0, **changes):
    """Base has 80 faults of 200, tuned 20, all of which the judge sees.

    Args:
        labels: how many answers of each system people labelled.
        errors: of how many of tuned's sound ones, labelled or not, the judge finds fault with.
    """
    said = {
        "base": ["violates"] * 80 + ["complies"] * 119 + [None],
        "tuned": ["violates"] * (20 + errors) + ["complies"] * (179 - errors) + ["unparsable"],
    }
    truth = {"base": 80, "tuned": 20}
    rows = [
        Labelled(
            system, str(place), {"topic": "funds"}, "violates" if place < truth[system] else "complies", word
        )
        for system, words in said.items()
        for place, word in list(enumerate(words))[:labels]
        if word is not None
    ]
    settings = Judge.model_validate(
        {"model": "judge-9b", "base_url": "https://judge.example/v1", "rubric": RUBRIC, **changes}
    )
    settings = settings.model_copy(update={"labels": "labels.jsonl" if labels else None})
    return Judged(
        ready=ReadyJudge(settings, settings.rubric, [], ""),
        verdicts=said,
        pairs=[Pair("tuned", True, ("second", "first"))] * 120
        + [Pair("changed with the order", True, ("first", "first"))] * 50
        + [Pair("tie", False)] * 30,
        labelled=rows,
        labels_left_out=3,
        repeated={"base": [["violates", "complies"], ["violates", "violates"]], "tuned": [["complies"] * 2]},
    )


def report(tmp_path, verdicts, gates=(), **changes):
    prompts = [
        Prompt(id=str(n), messages=[], expected={}, slices={"topic": "funds"}, group=str(n)) for n in range(N)
    ]
    sample = build(tmp_path, settings=config(gates=list(gates)))
    sample.change_scores(judge=judge_scores(verdicts, prompts, Settings(0.95, 500, 0)), **changes)
    result = write_report(*sample.arguments)
    faces = [(result.folder / name).read_text("utf-8") for name in ("report.html", "report.md")]
    return result, [" ".join(face.replace("\\", "").replace("\u00a0", " ").split()) for face in faces]


def test_without_a_judge_there_is_no_section(tmp_path):
    folder = write_report(*build(tmp_path).arguments).folder
    assert 'id="judge"' not in (folder / "report.html").read_text("utf-8")
    assert "## Judge" not in (folder / "report.md").read_text("utf-8")


def test_a_judge_without_labels_is_told_in_red(tmp_path):
    result, (page, markdown) = report(tmp_path, judged(), [{"name": "G", "metric": "judge", "at_most": 0.9}])
    why = "No answers labelled by people are named in `evaluate.judge.labels`."
    assert f'<p class="uncalibrated" role="note"><strong>Judge not calibrated.</strong> {why}' in page
    assert re.search(r"\.uncalibrated \{[^}]*color: var\(--bad\)", page)
    assert f"🔴 Judge not calibrated.** {why}" in markdown
    assert result.exit_code == 3 and result.verdict["status"] == "not enough evidence"
    for face in (page, markdown):
        assert "Judge not calibrated: no answers labelled by people" in face, "the gate says so too"
        assert "≤ 90.0%" in face and "Faults found by the judge" in face
        assert "no verdict" in face and "Corrected for its errors" not in face


def test_verdicts_pairs_and_unparsable_replies_are_shown(tmp_path):
    _, (page, markdown) = report(tmp_path, judged())
    section = page[page.index('<section id="judge"') :].split("</section>")[0]
    assert "judge-9b, at https://judge.example/v1, where prompts and answers were sent, judged" in section
    assert "40.2%" in section and "10.1%" in section  # 80 and 20 of 199: one reply could not be read
    for face in (section, markdown):
        assert "preferred tuned in 120 and base in 0; 30 were ties" in face
        assert "in 50 the preference changed with the order, which counts as a tie" in face
        assert "changed its verdict on 1 of 2 answers of base and 0 of 1 answer of tuned." in face
        assert "Preferred more often: tuned is preferred (+60.0 points" in face
    assert "| base | 119 | 80 | 0 | 1 |" in markdown and "| tuned | 179 | 20 | 1 | 0 |" in markdown


def test_the_judge_beside_people_and_the_corrected_effect(tmp_path):
    gates = [{"name": "G", "metric": "judge", "of": "difference", "at_most": -0.1, "bound": "upper"}]
    result, (page, markdown) = report(tmp_path, judged(labels=199, errors=60), gates)
    assert result.exit_code == 0
    section = page[page.index('<section id="judge"') :].split("</section>")[0]
    assert "uncalibrated" not in section
    for face in (section, markdown):
        assert "As the judge says" in face and "Corrected for its errors" in face
        assert "People labelled 398 answers, 199 of base and 199 of tuned. Left out: 3 labels" in face
        assert "system: base" in face and "topic: funds" in face
        assert "Answers of tuned: people's label by row" in face.replace("&#39;", "'")
    assert "| complies | 119 | 60 | 0 |" in markdown and "| violates | 0 | 20 | 0 |" in markdown
    # It calls 80 of 200 tuned answers faults where 20 are; of base 80 of 199, and one answer is invalid.
    assert "40.5%" in section and "9.7%" in section
    (entry,) = [json.loads((result.folder / "report.json").read_text("utf-8"))["judge"]["corrected"]["entry"]]
    assert entry["tuned"]["estimate"] == pytest.approx((80 / 200 + 119 / 179 - 1) / (119 / 179))
    assert entry["verdict"] == "improved"


@pytest.mark.parametrize(("left", "told"), [(199, "passed"), (6, "not enough evidence")])
def test_a_gate_on_a_judge_is_judged_without_leaks_too(tmp_path, left, told):
    """Of the prompts that did not leak the judge's figures are made again, with the same labels."""
    gate = {"name": "G", "metric": "judge", "of": "difference", "at_most": -0.1, "bound": "upper", "min_n": 7}
    sample = build(tmp_path, prompts=N, settings=config(gates=[gate]))
    scores = sample.scores()
    kept = ("prompts", "groups", "validity", "minimum_detectable_effect", "metrics", "unscored", "latency")
    place = {"where": "faq.csv:3", "id": "0" * 16, "text": "Can you block my card?"}
    leak = {"kind": "exact", "test": place, "train": place, "similarity": 1.0, "differs": ["", ""]}
    scores["leaks"] = [{**leak, "shared": "", "id": item["id"]} for item in scores["items"][left:]]
    scores["without_leaks"] = {key: scores[key] for key in kept} | {"judge": None}
    prompts = [
        Prompt(id=item["id"], messages=[], expected={}, slices={"topic": "funds"}, group=item["id"])
        for item in scores["items"]
    ]
    add_judge(scores, judged(labels=199), prompts, Settings(0.95, 500, 0))
    sample.change_scores(**scores)
    folder = write_report(*sample.arguments).folder
    found = json.loads((folder / "report.json").read_text("utf-8"))
    rest = found["without_leaks"]["judge"]
    assert {system: rest["verdicts"][system]["n"] for system in ("base", "tuned")} == {
        "base": left,
        "tuned": left,
    }
    assert rest["metric"]["n"] == min(left, 199) and len(rest["calibration"]["parts"]) > 1
    assert found["leak_change"]["status"] == told
    assert [gate["without"] for gate in found["leak_change"]["gates"]] == ([] if told == "passed" else [told])
    assert "Faults found by the judge, without leaks" in (folder / "report.md").read_text("utf-8")


def test_hostile_words_of_rubric_and_model_do_nothing(tmp_path):
    rubric = {**RUBRIC, "question": HOSTILE, "labels": ["complies", "<b>violates</b>"], "good": ["complies"]}
    verdicts = judged(rubric=rubric, model="<img src=x onerror=alert(1)>")
    words = {"violates": "<b>violates</b>"}
    said = {system: [words.get(word, word) for word in given] for system, given in verdicts.verdicts.items()}
    verdicts = Judged(verdicts.ready, said, verdicts.pairs, [], 0)
    result, _ = report(tmp_path, verdicts)
    page, markdown = ((result.folder / name).read_text("utf-8") for name in ("report.html", "report.md"))
    for face in (page, markdown):
        assert "<script>alert" not in face and "<img src=x" not in face and "<b>violates" not in face
        assert "\u202e" not in face
    assert "&lt;script&gt;" in page and "⟦U+202E⟧" in page


def test_grades_are_shown_with_their_mean(tmp_path):
    rubric = Rubric(question="How clear?", scale=[1, 5], good_from=4)
    settings = Judge(model="m", rubric=rubric)
    verdicts = Judged(
        ReadyJudge(settings, rubric, [], ""), {"base": ["2"] * N, "tuned": ["5"] * N}, [], [], 0
    )
    _, (page, markdown) = report(tmp_path, verdicts)
    for face in (page, markdown):
        assert "m, on this machine, judged every valid greedy answer" in face
        assert "Mean grade of base 2.000 [2.000, 2.000], of tuned 5.000 [5.000, 5.000]" in face
