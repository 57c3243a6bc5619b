"""What a report says of criteria that a judge was asked about: points, and red where few are labelled."""

import json
import re
from dataclasses import replace

import pytest
from published import problems_of
from test_report_judge import HOSTILE, N, judged, report

from kit.evaluate.criteria import Criterion
from kit.evaluate.judge_criteria import JudgedCriteria
from kit.evaluate.judge_labels import Labelled
from kit.evaluate.judge_scores import verdict_items

CARE, DOSE = Criterion("Sends to emergency care", 7, "completeness"), Criterion("Names a dose", -7, "")


def criteria(labels=0, errors=0, text=CARE.text):
    """Base sends 60 of 200 to care, tuned 150; ten answers of each name a dose, one of base is invalid.

    Args:
        labels: how many answers of each system people labelled, by both criteria.
        errors: of how many of tuned's answers that do not send to care the judge says that they do.
    """

    def word(met):
        return "met" if met else "not met"

    truth = {"base": 60, "tuned": 150}
    said = {"base": 60, "tuned": 150 + errors}
    verdicts = {
        system: [[[word(n < met)], [word(n >= N - 10)]] for n in range(N)] for system, met in said.items()
    }
    rows = []
    for system in said:
        for n in range(N - labels, N - 1):
            care, dose = verdicts[system][n]
            rows.append(Labelled(system, str(n), {"points": "above 0"}, word(n < truth[system]), care[0]))
            rows.append(Labelled(system, str(n), {"points": "below 0"}, word(n >= N - 10), dose[0]))
    verdicts["base"][N - 1] = None
    return JudgedCriteria([[replace(CARE, text=text), DOSE]] * N, verdicts, rows, 0)


def shown(tmp_path, found, labels=0):
    result, faces = report(tmp_path, replace(judged(labels=labels), criteria=found))
    parts = [face[face.index("Criteria of rows") :] for face in faces]
    return json.loads((result.folder / "report.json").read_text("utf-8"))["judge"]["rubrics"], parts


def test_points_without_labels_are_told_in_red(tmp_path):
    rubrics, (page, markdown) = shown(tmp_path, criteria())
    assert rubrics["corrected"]["entry"] is None
    assert problems_of("RowRubrics", rubrics, "report") == []
    why = "No criteria of answers labelled by people are named in `evaluate.judge.labels`."
    assert f'<p class="uncalibrated" role="note"><strong>Judge not calibrated.</strong> {why}' in page
    assert f"🔴 Judge not calibrated.** {why}" in markdown
    for face in (page, markdown):
        assert "0.255" in face and "0.700" in face and "Corrected for its errors" not in face
        assert "missed: completeness, Sends to emergency care" in face
        assert "0.300" in face and "0.750" in face, "the points of completeness alone"
    (axis,) = rubrics["metric"]["axes"]  # the other criterion names none
    figures = [axis[system]["estimate"] for system in ("base", "tuned")]
    assert (axis["axis"], axis["n"], figures) == ("completeness", 200, pytest.approx([0.3, 0.75]))
    assert "Points by axis of the criteria, as the judge says" in page
    assert "| completeness | 200 |" in markdown
    assert "| base | 69 | 329 | 0 | 1 |" in markdown and "| tuned | 160 | 240 | 0 | 0 |" in markdown


def test_points_are_corrected_where_people_labelled_criteria(tmp_path):
    """Of 179 labelled answers of tuned 130 send to care; in 20 of the 49 others the judge says so too."""
    rubrics, (page, markdown) = shown(tmp_path, criteria(labels=180, errors=20), labels=199)
    assert rubrics["metric"]["tuned"]["estimate"] == pytest.approx(0.85 - 0.05)
    entry, missed = rubrics["corrected"]["entry"], 20 / 49
    assert entry["base"]["estimate"] == pytest.approx(0.3 - 0.045)
    assert entry["tuned"]["estimate"] == pytest.approx((0.85 - missed) / (1 - missed) - 0.05)
    assert entry["verdict"] == "improved"
    assert problems_of("RowRubrics", rubrics, "report") == []
    for face in (page, markdown):
        assert "Corrected for its errors" in face and "not calibrated" not in face
        assert "People gave 716 labels of criteria, 358 of base and 358 of tuned." in face
    assert re.search(r"\| not met \| 20 \| 199 \| 0 \|", markdown)


def test_the_words_of_a_criterion_do_nothing(tmp_path):
    _, (page, markdown) = shown(tmp_path, criteria(text=HOSTILE))
    assert "<script>alert" not in page + markdown and "&lt;script&gt;" in page


def test_an_item_says_what_the_judge_said_of_each_criterion():
    items = verdict_items(replace(judged(), criteria=criteria()))
    assert problems_of("Said", items[0], "scores") == []
    assert [one["base"] for one in items[-1]["criteria"]] == [None, None]
