"""JUnit XML: the shape that CI systems read, and what they show of a gate."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from report_samples import build, config
from saved_project import add_evaluation

from kit.report.build import write_report

Run = Callable[..., tuple[int, str, str]]

SHAPE: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"time", "skipped", "disabled"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time"},
        {"skipped", "timestamp", "hostname", "id", "package", "disabled"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name", "classname"},
        {"time", "status", "assertions"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"message", "type"}, set()),
    "error": (set(), {"message", "type"}, set()),
    "skipped": (set(), {"message", "type"}, set()),
    "system-out": (set(), set(), set()),
}
"""Element -> needed attributes, further ones, children: the common part of the schemas of Jenkins (xUnit
plugin, junit-10.xsd), Ant (JUnit.xsd) and what GitLab and GitHub's reporters read."""


def check_shape(element: Xml.Element) -> None:
    needed, further, children = SHAPE[element.tag]
    assert needed <= set(element.keys()) <= needed | further, element.tag
    for key in ("tests", "failures", "errors", "skipped"):
        assert element.get(key, "0").isdigit()
    assert float(element.get("time", "0")) >= 0
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check_shape(child)


def read(folder: Path) -> Xml.Element:
    """A report's JUnit file, its shape and its counts checked."""
    root = Xml.parse(folder / "junit.xml").getroot()
    check_shape(root)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases) > 0
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(key, "")) == len(suite.findall(f"testcase/{tag}"))
    totals = [sum(int(suite.get(key, "")) for suite in root) for key in ("tests", "failures", "errors")]
    assert [int(root.get(key, "")) for key in ("tests", "failures", "errors")] == totals
    return root


def case(root: Xml.Element, name: str) -> Xml.Element:
    (found,) = [found for found in root.iter("testcase") if found.get("name") == name]
    return found


GATES = [
    {"name": "Holds", "metric": "violation_rate", "at_most": 0.5},
    {"name": "Fails", "metric": "violation_rate", "at_most": 0.0001, "because": "the law"},
    {"name": "Thin", "metric": "violation_rate", "at_most": 0.5, "min_n": 5000},
]


def test_every_gate_is_a_test_case(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=120, settings=config(gates=GATES))
    root = read(write_report(*sample.arguments).folder)
    assert [found.get("name") for found in root.iter("testcase")] == ["Holds", "Fails", "Thin"]
    assert [child.tag for child in case(root, "Holds")] == ["system-out"]
    failure = case(root, "Fails").find("failure")
    assert failure is not None
    estimate = next(m for m in sample.scores()["metrics"] if m["name"] == "violation_rate")["tuned"][
        "estimate"
    ]
    assert failure.get("message", "").startswith(f"found {100 * estimate:.1f}%")
    assert failure.get("message", "").endswith("wanted ≤ 0.0%")
    assert "Why this threshold: the law" in (failure.text or "")
    skipped = case(root, "Thin").find("skipped")
    assert skipped is not None and "120 scored prompts, the gate asks for 5000" in skipped.get("message", "")
    properties = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert properties["verdict"] == "failed" and properties["exit code"] == "1"


def test_in_an_invalid_run_every_gate_is_an_error(tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=120, settings=config(gates=GATES))
    conditions = sample.scores()["conditions"]
    sample.change_scores(conditions={**conditions, "mismatches": ["the chat template differs"]})
    root = read(write_report(*sample.arguments).folder)
    assert root.get("errors") == "3" and root.get("failures") == "0"
    for found in root.iter("testcase"):
        error = found.find("error")
        assert error is not None and "the chat template differs" in error.get("message", "")


@pytest.mark.parametrize(("mismatches", "tag"), [([], "skipped"), (["the data differs"], "error")])
def test_without_gates_nothing_looks_passed(mismatches: list[str], tag: str, tmp_path: Path) -> None:
    sample = build(tmp_path, prompts=60, settings=config(gates=[]))
    sample.change_scores(conditions={**sample.scores()["conditions"], "mismatches": mismatches})
    root = read(write_report(*sample.arguments).folder)
    assert [child.tag for child in case(root, "a gate is set")] == [tag]


def test_text_that_xml_cannot_hold_is_spelled_out(tmp_path: Path) -> None:
    name = "</testcase> \x00\x0b\ufffe & \u202e <b>"
    gates = [{**GATES[1], "name": name, "because": "]]> & \x1b[31m"}]
    sample = build(tmp_path, prompts=60, settings=config(gates=gates))
    root = read(write_report(*sample.arguments).folder)
    (found,) = root.iter("testcase")
    assert found.get("name") == "</testcase> ⟦U+0000⟧⟦U+000B⟧\ufffd & ⟦U+202E⟧ <b>"


def test_the_baseline_is_a_suite_of_its_own(project: Path, casekit: Run) -> None:
    casekit("report")
    add_evaluation(project, "worse", faults=0.6, seed=2)
    assert casekit("report", "--evaluation", "worse", "--baseline", "first")[0] == 1
    root = read(project / "reports/worse")
    assert [suite.get("name") for suite in root] == ["gates", "baseline"]
    failure = case(root, "Policy violations").find("failure")
    assert failure is not None and failure.get("message", "").startswith("regressed: 6.7% to ")
    skipped = case(root, "Response time (median, seconds)").find("skipped")
    assert skipped is not None and "Times belong to the machine" in skipped.get("message", "")
