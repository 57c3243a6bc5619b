"""Reviews as rows of the report."""

from collections.abc import Sequence

from kit.report.formatting import count, shortened
from kit.report.read import Json
from kit.report.reviews import Carried, count_reviews, output_sha256
from kit.report.view_evidence import Misses, Transcripts
from kit.report.view_release import ReviewMark, ReviewRow, ReviewsView

_SAID = {"accept": "accepted", "reject": "rejected"}
_HEADING = 110


def reviews_view(
    carried: Sequence[Carried], items: Sequence[Json], shown: Transcripts, misses: Misses
) -> ReviewsView:
    """What the page says of reviews; rejected answers first, then those that changed since.

    Args:
        items: those of `scores.json`.
        shown, misses: the answers on the page, which can be reviewed there.
    """
    by_id = {item["id"]: item for item in items}
    counts, rows = count_reviews(carried), []
    marks: dict[tuple[str, str], list[ReviewMark]] = {}
    for entry in carried:
        if entry.state == "not asked":
            continue
        mark = _mark(entry)
        marks.setdefault((entry.review.id, entry.review.decoding), []).append(mark)
        if mark.changed or mark.verdict == "rejected":
            prompt, left_out = shortened(" ".join(by_id[entry.review.id]["prompt"].split()), _HEADING)
            rows.append(ReviewRow(entry.review.id, prompt + ("…" if left_out else ""), mark))
    on_page = {(entry.id, "greedy") for entry in (*shown.regressions, *shown.gains)}
    # Further sampled answers have no decoding of their own, by which a line of reviews.jsonl names an answer.
    on_page |= {(miss.id, miss.decoding) for miss in misses.shown if miss.decoding in by_id[miss.id]}
    names = (
        ("Accepted", "accepted"),
        ("Rejected", "rejected"),
        ("Answer changed since", "changed"),
        ("No longer asked", "not_asked"),
    )
    return ReviewsView(
        counts=[(name, count(counts[key])) for name, key in names] if carried else [],
        marks=marks,
        rows=sorted(rows, key=lambda row: (row.mark.changed, row.id)),
        hashes={
            (id_, decoding): output_sha256(by_id[id_][decoding]["tuned"]["output"])
            for id_, decoding in sorted(on_page)
        },
    )


def _mark(entry: Carried) -> ReviewMark:
    review = entry.review
    answer = review.system if review.decoding == "greedy" else f"{review.system}, {review.decoding}"
    return ReviewMark(
        verdict=_SAID[review.verdict],
        changed=entry.state == "answer changed",
        answer=answer,
        reviewer=review.reviewer,
        date=review.date[:10],
        note=review.note,
    )
