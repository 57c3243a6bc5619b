"""A reviewer at the terminal: an answer at a time, accepted or rejected, with a note."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kit.config.errors import ConfigError, Problem
from kit.report.formatting import visible
from kit.report.read import read_report, read_scores
from kit.report.reviews import Review, carry_over, output_sha256
from kit.report.transcripts import pick_transcripts
from kit.report.view_evidence import Side, Transcript

_ASK = "accept (a), reject (r), skip (s) or stop (q)? "


def ask_reviews(project: Path, report: Path, before: Sequence[Review], reviewer: str | None) -> list[Review]:
    """Show each transcript of a report whose tuned answer nobody has judged yet, and ask for a verdict.

    Args:
        before: the project's reviews so far.
        reviewer: their name; asked for where it is not given.

    Returns:
        The new reviews, as far as the reviewer got.
    """
    evaluation = project / "evaluations" / read_report(report)["evaluation"]
    scores = read_scores(evaluation)
    items = {item["id"]: item for item in scores["items"]}
    judged = {
        entry.review.id
        for entry in carry_over(before, scores["items"])
        if entry.state == "holds" and (entry.review.system, entry.review.decoding) == ("tuned", "greedy")
    }
    shown = pick_transcripts(scores, {})
    left = [entry for entry in (*shown.regressions, *shown.gains) if entry.id not in judged]
    console = Console()
    reviews: list[Review] = []
    if not left:
        return []
    name = reviewer or _answer(console, "your name? ")
    if not name:
        raise ConfigError(Problem("--reviewer", "a verdict needs a name", "give yours"))
    for place, entry in enumerate(left, start=1):
        console.print(_as_text(entry, f"{place} of {len(left)}"))
        verdict = _choice(console)
        if verdict == "q":
            break
        if verdict != "s":
            output = items[entry.id]["greedy"]["tuned"]["output"]
            reviews.append(_review(entry.id, output, verdict, _answer(console, "note? "), name))
    return reviews


def _review(id_: str, output: str, verdict: str, note: str, name: str) -> Review:
    return Review(
        id=id_,
        output_sha256=output_sha256(output),
        verdict="accept" if verdict == "a" else "reject",
        note=note,
        reviewer=name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _choice(console: Console) -> str:
    while True:
        word = _answer(console, _ASK, at_end="q").lower()[:1]
        if word in ("a", "r", "s", "q"):
            return word


def _answer(console: Console, question: str, at_end: str = "") -> str:
    try:
        return console.input(question).strip()
    except EOFError:
        return at_end


def _as_text(entry: Transcript, place: str) -> Text:
    text = Text(f"\n{place}: {entry.kind}, {visible(entry.changed)}\n", style="bold")
    text.append(f"{visible(entry.prompt or entry.heading)}\n\n", style="not bold")
    for side in (entry.base, entry.tuned):
        text.append(f"{side.system}  ", style="cyan")
        text.append(f"{visible(side.output) or '(empty)'}{_failed(side)}\n\n", style="not bold")
    if entry.reference:
        text.append("reference  ", style="cyan")
        text.append(f"{visible(entry.reference)}\n", style="not bold")
    return text


def _failed(side: Side) -> str:
    reasons = [reason for mark in side.marks for reason in mark.reasons]
    return f"\n({visible('; '.join(reasons))})" if reasons else ""
