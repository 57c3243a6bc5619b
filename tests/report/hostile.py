"""A project in which every text that can be foreign is hostile."""

from pathlib import Path
from typing import Any

from report_samples import Sample, build, config, data, manifest, save

HOSTILE = (
    """</script></style><script>alert('x')</script><img src=x onerror="alert(1)">'"&lt; | a | b |"""
    " `code` ``` [link](javascript:alert(1)) ![i](http://evil.example/i.png) <b>bold</b> **strong** "
    "@everyone https://evil.example \u202egnp.exe\u202c\n# heading\n\n- item\x00\x1b[31m "
    "{{ 7 * 7 }} {% raw %}"
)

TRAPS = (
    "</p></details></script><script>window.pwned = 'script'</script>"
    "<img src=x onerror=\"window.pwned = 'img'\"><svg onload=\"window.pwned = 'svg'\">"
    "<a href=\"javascript:window.pwned = 'link'\">open me</a>"
    "'\"><input autofocus onfocus=\"window.pwned = 'focus'\">"
    "<iframe srcdoc='<script>top.pwned = 1</script>'></iframe>"
    "<style>* { display: none }</style><base href='http://evil.example/'> \u202eesrever\u202c \u200fRTL"
)
"""What would say so if any of it acted in a browser."""


def build_hostile(root: Path, prompts: int = 80, text: str = HOSTILE) -> Sample:
    """A project with an evaluation of so many prompts, full of `text`."""
    gate = {"name": text, "metric": "violation_rate", "at_most": 0.5, "because": text}
    claim = {"name": text, "metric": None, "at_least": 0.6, "source": text}
    recipe = {"title": text, "summary": text, "not_for": [text]}
    settings = config(gates=[gate], claims=[claim], recipe=recipe, project={"name": text})
    sample = build(root, prompts=prompts, settings=settings)
    scores = sample.scores()
    for item in scores["items"]:
        item |= {"prompt": text, "answer": text, "slices": {text: text}}
        for system in ("base", "tuned"):
            item["greedy"][system] |= {"output": text, "invalid": text}
            item["greedy"][system]["details"] = {"violation_rate": [text]}
    for metric in scores["metrics"]:
        metric |= {"label": text, "details": {"base": {text: 3}, "tuned": {}}}
        for part in metric["slices"]:
            part |= {"column": text, "value": text}
        if metric["name"] == "violation_rate":
            metric["severities"] = severities({text: 3})
    scores["validity"]["greedy"]["base"]["reasons"] = {text: 3}
    scores["conditions"]["base"][text] = text
    scores |= {
        "model": text,
        "unscored": [{"name": "x", "label": text, "decoding": "greedy", "why": text}],
    }
    save(sample.evaluation / "scores.json", scores)
    summary = data()
    summary["sources"][0] |= {"name": text, "format": text}
    summary["checks"][0] |= {"name": text, "what": text}
    save(sample.prepared / "data.json", summary)
    run = manifest(sample.run.name)
    run["environment"] |= {"platform": text, "packages": {text: text}}
    run["golden"]["metric"] = text
    save(sample.run / "manifest.json", run)
    return sample


def severities(rules: dict[str, int]) -> dict[str, Any]:
    """The `severities` of a metric whose critical rules are these, each broken so often by either system."""
    found = {"n": 80, "groups": 80, "found": sum(rules.values()), "rules": rules}
    return {severity: {"base": found, "tuned": found} for severity in ("critical", "major", "minor")}
