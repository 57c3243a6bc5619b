"""`casekit compare` with files that hold several answers a prompt."""

import json

import pytest
from compare_samples import accuracy, casekit, often_wrong, read, right, rows_of, write

__all__ = ["casekit"]  # a fixture

COUNT, ANSWERS = 60, 4


def samples(answer, answers=ANSWERS, **more):
    """Rows with so many answers a prompt, by `answer(number, sample)`: all first ones, then the others."""
    return [
        {**row, "sample": sample}
        for sample in range(answers)
        for row in rows_of(lambda number, sample=sample: answer(number, sample), COUNT, **more)
    ]


def mostly_right(number, sample):
    """One of four answers is wrong, another one at every prompt; at every sixth prompt none is."""
    wrong = number % 6 and (number + sample) % ANSWERS == 0
    return right(number + 1) if wrong else right(number)


def half_right(number, sample):
    return right(number + sample)


def worst(report):
    return next(one for one in report["worst_at_k"]["metrics"] if one["name"] == "closed_accuracy")


@pytest.fixture
def two(tmp_path):
    return write(tmp_path / "old.jsonl", samples(half_right)), write(
        tmp_path / "new.jsonl", samples(mostly_right)
    )


HOW = ("-m", "closed_accuracy", "-m", "macro_f1", "--out")


def test_the_worst_of_k_stands_beside_figures_of_the_first_answer(casekit, two, tmp_path):
    code, out, err = casekit("compare", *two, *HOW, tmp_path / "out")
    assert (code, err) == (0, ""), out
    report = read(tmp_path / "out" / "report.json")
    found = worst(report)
    assert found["n"] == COUNT and report["worst_at_k"]["answers"] == ANSWERS
    # Half of four answers are right: both of a pair in 1 of 6 pairs. 50 of 60 prompts have one wrong answer.
    assert [one["base"]["estimate"] for one in found["at"]] == pytest.approx([1 / 2, 1 / 6, 0, 0])
    assert [one["tuned"]["estimate"] for one in found["at"]] == pytest.approx(
        [(10 + 50 * (4 - k) / 4) / 60 for k in range(1, 5)]
    )
    assert found["verdict"] == "improved" and found["at"][-1]["difference"]["p_value"] < 0.01
    assert accuracy(report)["base"]["estimate"] == 1.0, "the first answers, all of which are right"
    (lost,) = report["worst_at_k"]["unscored"]
    assert lost["name"] == "macro_f1"
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Each system gave 4 answers to every prompt" in page and 'id="worst"' in page

    alone = [write(tmp_path / f"first-{path.name}", firsts(path)) for path in two]
    assert casekit("compare", *alone, *HOW, tmp_path / "alone")[0] == 0
    first = read(tmp_path / "alone" / "report.json")
    assert first["metrics"] == report["metrics"] and "worst_at_k" not in first


def firsts(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: line[key] for key in line if key != "sample"} for line in lines if not line["sample"]]


def test_the_order_of_lines_changes_nothing_and_swapped_files_mirror(casekit, two, tmp_path):
    casekit("compare", *two, *HOW, tmp_path / "out")
    for path in two:
        path.write_text("".join(sorted(path.read_text().splitlines(keepends=True))))
    casekit("compare", *two, *HOW, tmp_path / "again")
    casekit("compare", *reversed(two), *HOW, tmp_path / "swapped")
    one, again, swapped = (read(tmp_path / name / "scores.json") for name in ("out", "again", "swapped"))
    assert one == again
    gaps = [[at["difference"]["estimate"] for at in worst(found)["at"]] for found in (one, swapped)]
    assert gaps[0] == [-gap for gap in gaps[1]]


def test_a_gate_on_the_worst_of_k_decides(casekit, two, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "evaluate: {metrics: [closed_accuracy], sampling: {answers: 4}}\n"
        "gates:\n"
        "- {name: one, metric: closed_accuracy, at_least: 0.7, worst_of: 1}\n"
        "- {name: all, metric: closed_accuracy, at_least: 0.7, worst_of: 4}\n"
    )
    code, out, _ = casekit("compare", *two, "--config", settings, "--out", tmp_path / "out")
    assert code == 1 and "1 of 2 gates failed: all." in out
    assert "where it asks for at least 0.7, worst of 4 answers" in " ".join(out.split())
    three = casekit("compare", *two, two[0], "--config", settings, "--out", tmp_path / "three")[1]
    assert "where it asks for at least 0.7, worst of 4 answers" in " ".join(three.split())
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "expected worst of 4 answers" in page


def first_alone(rows):
    """All answers but the first ones are empty."""
    return [row | {"output": row["output"] if not row["sample"] else ""} for row in rows]


def test_first_answers_do_not_hide_that_most_of_the_others_are_none(casekit, two, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "evaluate: {metrics: [closed_accuracy], sampling: {answers: 4}}\n"
        "gates:\n- {name: No loss, metric: closed_accuracy, worst_of: 2, non_inferior: {margin: 0.1}}\n"
    )
    broken = write(tmp_path / "broken.jsonl", first_alone(samples(mostly_right)))
    how = ("--config", settings, "--out", tmp_path / "out")
    code, out, _ = casekit("compare", two[0], broken, *how)
    assert code == 4 and "180 of 240 drawn answers of broken are invalid: empty 180." in " ".join(out.split())
    code, out, _ = casekit("compare", broken, two[1], *how)
    assert code == 3, "a base that says nothing is no base to be no worse than"
    (gate,) = read(tmp_path / "out" / "report.json")["gates"]
    assert gate["status"] == "not enough evidence" and "most answers of broken are invalid" in gate["why"]


def test_files_with_unlike_numbers_are_compared_on_what_both_have(casekit, two, tmp_path):
    more = write(tmp_path / "more.jsonl", samples(mostly_right, 6))
    code, _, err = casekit("compare", two[0], more, *HOW, tmp_path / "out")
    assert code == 0
    assert "old 4, more 6. The worst of k is of the first 4 of each." in " ".join(err.split())
    assert read(tmp_path / "out" / "report.json")["worst_at_k"]["answers"] == ANSWERS
    single = write(tmp_path / "single.jsonl", rows_of(often_wrong, COUNT))
    code, _, err = casekit("compare", single, more, *HOW, tmp_path / "out")
    assert code == 0 and "nothing is said of the worst of several" in " ".join(err.split())
    assert "worst_at_k" not in read(tmp_path / "out" / "report.json")


def lacking(rows):
    """Without one answer in the middle, and without the last answer of two other prompts."""
    lost = {("q003", 1), ("q005", 3), ("q006", 3)}
    return [row for row in rows if (row["id"], row["sample"]) not in lost]


def unlike(rows):
    return [
        row | ({"prompt": "Is 3 odd?"} if (row["id"], row["sample"]) == ("q003", 2) else {}) for row in rows
    ]


FAULTS = [
    (lambda rows: [*rows, rows[70]], "the id 'q010' has sample 1 twice"),
    (lambda rows: [*rows, rows_of(right, COUNT)[3]], "the id 'q003' stands twice"),
    (lacking, "the answers to 'q003' have the samples 0, 2, 3"),
    (lacking, "there are 4 answers to a prompt, and fewer to 'q003' (3), 'q005' (3), 'q006' (3)"),
    (unlike, "`prompt` of the id 'q003' is another than in"),
    (
        lambda rows: [rows[0] | {"sample": -1}, *rows[1:]],
        "`sample` is '-1', expected a whole number from 0 on",
    ),
    (lambda rows: [rows[0] | {"sample": True}, *rows[1:]], "`sample` is 'true', expected a whole number"),
]


@pytest.mark.parametrize(("broken", "told"), FAULTS)
def test_answers_that_are_lost_doubled_or_to_something_else_are_refused(casekit, two, tmp_path, broken, told):
    bad = write(tmp_path / "bad.jsonl", broken(samples(mostly_right)))
    code, _, err = casekit("compare", two[0], bad, *HOW, tmp_path / "out")
    assert code == 2 and told in err
    assert not (tmp_path / "out").exists()


def test_three_systems_have_a_curve_in_each_pair(casekit, two, tmp_path):
    code, *_ = casekit("compare", *two, two[0], *HOW, tmp_path / "out")
    assert code == 0
    pairs = [read(path) for path in sorted((tmp_path / "out").glob("*/report.json"))]
    assert [worst(pair)["verdict"] for pair in pairs] == ["improved", "not shown"]
    tested = [worst(pair)["at"][-1]["difference"] for pair in pairs]
    assert tested[0]["adjusted_p"] == pytest.approx(2 * tested[0]["p_value"]), "Holm over both systems"
