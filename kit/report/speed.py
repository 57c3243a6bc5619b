"""Response time in a report: what was measured, what a speed-up is made of, what serving several gives."""

from collections.abc import Callable
from functools import partial

from kit.report import plots
from kit.report.formatting import JOIN, NONE, count, estimate, number, plural, quantity
from kit.report.plots import Range, Row
from kit.report.read import Json
from kit.report.view_evidence import Figure
from kit.report.view_speed import Latency, Load, LoadRow

_TIMES = (
    ("Time to first token (TTFT)", "seconds_to_first_token"),
    ("Time per output token (TPOT)", "seconds_per_output_token"),
    ("Between two tokens", "inter_token_seconds"),
    ("Whole answer (E2E)", "seconds"),
)
_AT = (("median", "p50"), ("95th percentile", "p95"), ("99th percentile", "p99"), ("slowest", "max"))


def latency(scores: Json) -> Latency | None:
    """Response time with the speed-up taken apart; None where it was not measured."""
    found = scores.get("latency")
    if not found:
        return None
    base, tuned = found["base"], found["tuned"]
    shown = _verdict(scores) != "not shown" and found["decomposition"] is not None
    figure, note = _figure(base, tuned)
    return Latency(
        rows=_rows(base, tuned),
        sentence=_speed_sentence(scores),
        how=_how_timed(found),
        percentiles=_percentiles(found),
        parts=_parts(found) if shown else [],
        origin=_origin(scores),
        plot=figure,
        plot_note=note,
        load=_load(found),
    )


def seconds(value: float | None) -> str:
    """A time: milliseconds where it is a token's, else as all seconds of a report."""
    if value is not None and 0 <= value < 0.1:
        return f"{number(value * 1000, 1)}{JOIN}ms"
    return quantity(value, "seconds")


def _rows(base: Json, tuned: Json) -> list[tuple[str, str, str]]:
    """Every percentile that was measured on enough prompts."""
    rows = [
        (f"{label}, {words}", seconds(base[part][at]), seconds(tuned[part][at]))
        for label, part in _TIMES
        for words, at in _AT
        if base[part][at] is not None or tuned[part][at] is not None
    ]
    for label, part in (("Tokens a second", "tokens_per_second"), ("Tokens an answer", "new_tokens")):
        rows.append((f"{label}, median", number(base[part]["p50"]), number(tuned[part]["p50"])))
    return rows


def _percentiles(found: Json) -> str:
    """Which percentiles are not shown, and what they would take."""
    n, needed = found["tuned"]["n"], found["percentiles_need"]
    lacking = [
        f"the {at.removeprefix('p')}th takes {count(least)}" for at, least in needed.items() if n < least
    ]
    if not lacking:
        return ""
    return (
        f"{plural(n, 'prompt')} cannot show every percentile: {' and '.join(lacking)} "
        "(evaluate.latency_prompts), or even the slowest answer may lie below it."
    )


def _verdict(scores: Json) -> str:
    verdicts = [m["verdict"] for m in scores["metrics"] if m["name"] == "response_time"]
    return str(verdicts[0]) if verdicts else "not shown"


def _speed_sentence(scores: Json) -> str:
    """What the times show: a change, or that they show none."""
    speed = f"{estimate(scores['latency']['speedup'], 'factor')} as fast"
    verdict = _verdict(scores)
    if verdict == "not shown":
        return f"No change is shown: {speed}, and chance alone could explain it."
    return f"The tuned model answers {'faster' if verdict == 'improved' else 'more slowly'}: {speed}."


def _how_timed(found: Json) -> str:
    order = "base and tuned in turn"
    if found["order"] == "alone":
        order = "first all of base, then all of tuned, so a machine that changed its pace counts as theirs"
    how = (
        f"Measured on {plural(found['tuned']['n'], 'prompt')}, one at a time, {order}; the warm-up is "
        "dropped. Tokens are counted as they came, from the first with text to the stop token."
    )
    if found["left_out"]:
        failed = found["failed"]
        lost = plural(found["left_out"], "more prompt")
        how += (
            f" Left out: {lost}, to which an answer was empty or cut ({count(failed['base'])} of base, "
            f"{count(failed['tuned'])} of tuned): those are failures and not fast answers."
        )
    return how


def _parts(found: Json) -> list[tuple[str, str, str]]:
    """The factors of the speed-up, which multiply to it."""
    parts, base, tuned = found["decomposition"], found["base"], found["tuned"]

    def medians(part: str, told: Callable[[float | None], str]) -> str:
        return f"median {told(base[part]['p50'])} to {told(tuned[part]['p50'])}"

    return [
        (
            "Length of the answers",
            quantity(parts["length"], "factor"),
            f"the rest of the product; tokens an answer, {medians('new_tokens', number)}",
        ),
        (
            "Time per output token",
            quantity(parts["per_token"], "factor"),
            medians("seconds_per_output_token", seconds),
        ),
        (
            "Share of the time before the first token",
            quantity(parts["first_token"], "factor"),
            f"time to first token, {medians('seconds_to_first_token', seconds)}",
        ),
        ("All together", quantity(found["speedup"]["estimate"], "factor"), "ratio of the median times"),
    ]


def _origin(scores: Json) -> str:
    """What can make a tuned model faster, and which of it is to be seen here."""
    base, tuned = scores["conditions"]["base"], scores["conditions"]["tuned"]
    alike = {
        words: base.get(key) == tuned.get(key) and tuned.get(key)
        for key, words in (("device", "hardware"), ("quantization", "quantisation"))
    }
    same = [f"the same {words} ({found})" for words, found in alike.items() if found]
    text = (
        "Tuning leaves a model of the same size: an adapter merged into the same weights cannot change the "
        "time per token, so a gain comes from shorter answers, quantisation, batching or hardware."
    )
    text += f" Here both ran one at a time{''.join(f', on {part}' for part in same)}."
    parts = scores["latency"]["decomposition"]
    if _verdict(scores) == "not shown" or parts is None:
        return text
    gained = _verdict(scores) == "improved"
    name = (max if gained else min)(parts, key=lambda part: float(parts[part]))
    pace = "which the same weights hardly explain: look at the machine"
    if not all(alike.values()):
        pace = "and what they ran on is not known to be the same"
    words = {
        "length": f"the {'shorter' if gained else 'longer'} answers",
        "per_token": f"the time per token, {pace}",
        "first_token": "the wait for the first token",
    }
    text += f" So {'most of it' if gained else 'most of the loss'} is {words[name]}: {_factor(parts[name])}."
    if "not merged" in (tuned.get("adapter") or ""):
        text += " The adapter ran beside the base; merged, it would cost no time of its own."
    return text


def _factor(value: float) -> str:
    return quantity(value, "factor")


def _load(found: Json) -> Load | None:
    """The table by concurrency; None where nothing was asked beyond one at a time."""
    entries, limits = found["load"], found["limits"]
    if len(entries) < 2 and limits is None:
        return None
    rows = [
        _load_row(entry, system, limits)
        for entry in entries
        for system in ("base", "tuned")
        if entry[system] is not None
    ]
    missing = [f"{count(entry['concurrency'])} at once: {entry['why']}." for entry in entries if entry["why"]]
    told = ""
    if limits is not None:
        told = (
            f"A good answer has its first token within {seconds(limits['time_to_first_token'])} and then one "
            f"every {seconds(limits['time_per_output_token'])} or faster, and ends by itself."
        )
    how = "Rates count complete answers; they are those of one run, without intervals."
    if len(entries) > 1:
        how = (
            "Requests are sent together and served as one static batch: none joins while others run, all "
            "wait for the longest prompt, and the next batch waits for the longest answer. A server with "
            f"continuous batching usually does better. {how} Prompts that fill no whole batch are left out."
        )
    return Load(rows=rows, limits=told, gains=[*map(_gain, entries[1:]), *missing], how=how)


def _load_row(entry: Json, system: str, limits: Json | None) -> LoadRow:
    found = entry[system]
    failed = f", {count(found['failed'])} failed" if found["failed"] else ""
    return LoadRow(
        concurrency=count(entry["concurrency"]),
        system=system,
        requests=f"{count(entry['requests'])}{failed}",
        requests_per_second=number(found["requests_per_second"], 2),
        tokens_per_second=number(found["tokens_per_second"]),
        first_token=seconds(found["seconds_to_first_token"]["p50"]),
        per_token=seconds(found["seconds_per_output_token"]["p50"]),
        goodput="" if limits is None else _goodput(found, entry["requests"]),
        batching=NONE if found["batching"] is None else _factor(found["batching"]),
    )


def _goodput(found: Json, requests: int) -> str:
    return f"{number(found['goodput'], 2)} ({count(found['good'])} of {count(requests)})"


def _gain(entry: Json) -> str:
    gain = entry["gain"]
    if gain is None:
        return f"{count(entry['concurrency'])} at once: no gain can be told, a system completed no answer."
    return (
        f"{count(entry['concurrency'])} at once, tuned completes {_factor(gain['whole'])} as many answers a "
        f"second as base one at a time: {_factor(gain['answers'])} by how it answers and "
        f"{_factor(gain['batching'])} by batching, which base gains from as well."
    )


def _figure(base: Json, tuned: Json) -> tuple[Figure, str]:
    """Median to 95th percentile; to the slowest where too few prompts show a percentile."""
    end = "p95" if tuned["seconds"]["p95"] is not None else "max"
    words = {"p95": "95th percentile", "max": f"slowest of {plural(tuned['n'], 'prompt')}"}[end]
    rows = [
        Row(label, "", _span(base[part], end), _span(tuned[part], end))
        for label, part in (("First token", "seconds_to_first_token"), ("Whole answer", "seconds"))
    ]
    title = f"Response time: median (dot) and {words} (end of the line), base and tuned"
    return plots.figure(partial(plots.latency_plot, rows, title)), f"dot: median; end of the line: {words}"


def _span(measured: Json, end: str) -> Range:
    return Range(measured["p50"], measured["p50"], measured[end], quantity(measured["p50"], "seconds"))
