"""The gates as JUnit XML, which every CI shows: a test case a gate, and one a metric against the baseline.

The shape is that of the Jenkins xUnit schema (https://github.com/jenkinsci/xunit-plugin): `failure` where a
gate failed, `skipped` where there is not enough evidence, `error` where the run is invalid. A CI that takes
skipped for passed still sees the command's exit code.
"""

from xml.etree import ElementTree as Xml

from kit.report.formatting import visible
from kit.report.view import GateRow, View
from kit.report.view_release import BaselineRow

_OUTSIDE = {0xFFFE, 0xFFFF}
"""Characters besides control characters and surrogates that XML 1.0 cannot hold."""


def junit(view: View) -> str:
    """`junit.xml`: a suite `gates`, and a suite `baseline` where a released report was compared with."""
    suites = [_gates(view)]
    if view.baseline is not None:
        suites.append(_baseline(view))
    root = Xml.Element("testsuites", {"name": _text(f"casekit: {view.project}")})
    for suite in suites:
        _count(suite)
        root.append(suite)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", "0")
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _gates(view: View) -> Xml.Element:
    suite = _suite(view, "gates")
    for gate in view.gates:
        case = _case(suite, "gates", gate.name)
        if view.verdict.status == "invalid":
            _result(case, "error", "InvalidRun", view.verdict.sentence, _told(gate))
        elif gate.status == "failed":
            _result(case, "failure", "GateFailed", _found_and_wanted(gate), _told(gate))
        elif gate.status != "passed":
            why = gate.why or "not enough evidence"
            _result(case, "skipped", "NotEnoughEvidence", f"not enough evidence: {why}", _told(gate))
        else:
            Xml.SubElement(case, "system-out").text = _text(_told(gate))
    if not view.gates:
        case = _case(suite, "gates", "a gate is set")
        if view.verdict.status == "invalid":
            _result(case, "error", "InvalidRun", view.verdict.sentence, "")
        else:
            _result(case, "skipped", "NotEnoughEvidence", "no gate is set", view.verdict.sentence)
    return suite


def _baseline(view: View) -> Xml.Element:
    assert view.baseline is not None  # noqa: S101  # asked by the caller
    suite = _suite(view, "baseline")
    for row in view.baseline.rows:
        case = _case(suite, "baseline", row.label)
        if row.status == "regressed":
            message = f"regressed: {row.then} to {row.now}, {row.tolerance}"
            _result(case, "failure", "Regression", message, _compared(row))
        elif row.status == "not compared":
            _result(case, "skipped", "NotCompared", f"not compared: {row.why}", "")
        else:
            Xml.SubElement(case, "system-out").text = _text(_compared(row))
    return suite


def _suite(view: View, name: str) -> Xml.Element:
    suite = Xml.Element("testsuite", {"name": name, "time": "0"})
    if view.date:
        suite.set("timestamp", f"{view.date}T00:00:00")
    facts = {
        "evaluation": view.evaluation,
        "run": view.run,
        "base model": view.base_model,
        "casekit": view.kit_version,
        "verdict": view.verdict.status,
        "exit code": str(view.verdict.exit_code),
        "sentence": view.verdict.sentence,
    }
    properties = Xml.SubElement(suite, "properties")
    for key, value in facts.items():
        Xml.SubElement(properties, "property", {"name": key, "value": _text(value)})
    return suite


def _case(suite: Xml.Element, kind: str, name: str) -> Xml.Element:
    return Xml.SubElement(
        suite, "testcase", {"name": _text(name), "classname": f"casekit.{kind}", "time": "0"}
    )


def _result(case: Xml.Element, tag: str, kind: str, message: str, text: str) -> None:
    Xml.SubElement(case, tag, {"message": _text(message), "type": kind}).text = _text(text)


def _count(suite: Xml.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))


def _found_and_wanted(gate: GateRow) -> str:
    where = f" in {gate.slice}" if gate.slice else ""
    return f"found {f'{gate.found} {gate.found_interval}'.strip()}{where}, wanted {gate.wanted}"


def _told(gate: GateRow) -> str:
    on = f"{gate.n} prompts{f' in {gate.groups}' if gate.groups else ''}"
    lines = [gate.asks, f"{_found_and_wanted(gate)}, on {on}", gate.why]
    lines += [f"Why this threshold: {gate.because}"] if gate.because else []
    return "\n".join(line for line in lines if line)


def _compared(row: BaselineRow) -> str:
    change = f"{row.difference} {row.difference_interval}".strip()
    text = f"{row.then} to {row.now}, {change}, on {row.n}; {row.tolerance}"
    return f"{text}\n{row.why}" if row.why else text


def _text(value: str) -> str:
    """A text without characters that XML cannot hold or that deceive a reader."""
    return "".join("\ufffd" if ord(char) in _OUTSIDE else char for char in visible(value))
