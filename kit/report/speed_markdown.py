"""Response times and labour cost as Markdown; escaping, tables and lists come from `markdown`."""

from collections.abc import Callable, Sequence

from kit.report.trust_markdown import Escape, Table
from kit.report.view import View

Bullets = Callable[[Sequence[str]], str]


def response_time(view: View, escape: Escape, table: Table, bullets: Bullets) -> list[str]:
    """How long answers take, where a speed-up comes from, and what many requests at once come to."""
    found = view.latency
    if found is None:
        return []
    rows = [[escape(label), base, tuned] for label, base, tuned in found.rows]
    parts = [
        "## Response time",
        escape(f"{found.sentence} {found.how} {found.percentiles}"),
        table(["measured", ">base", ">tuned"], rows),
        escape(found.origin),
    ]
    if found.parts:
        factors = [[escape(part), factor, escape(what)] for part, factor, what in found.parts]
        parts.append(table(["part of the speed-up", ">factor", "measured on"], factors))
    if found.load:
        load = [
            [
                row.concurrency,
                row.system,
                row.requests,
                row.requests_per_second,
                row.tokens_per_second,
                row.first_token,
                row.per_token,
                *([row.goodput] if found.load.limits else []),
                row.batching,
            ]
            for row in found.load.rows
        ]
        columns = ["at once", "system", ">requests", ">answers/s", ">tokens/s", ">TTFT", ">TPOT"]
        columns += [*([">goodput/s"] if found.load.limits else []), ">by batching"]
        parts += [escape(f"{found.load.how} {found.load.limits}"), table(columns, load)]
        parts += [bullets(found.load.gains)] if found.load.gains else []
    return parts


def labour_cost(view: View, escape: Escape, table: Table) -> list[str]:
    """What a cost model says of the work, with what was typed for it."""
    found = view.labour
    if found is None:
        return []
    parts = ["## Labour cost, modelled", escape(f"{found.sentence} {found.contained}")]
    if found.costs:
        typed = [[escape(cell) for cell in row] for row in found.assumptions]
        parts.append(table(["typed, not measured", ">low", ">best", ">high"], typed))
        costs = [[escape(cell) for cell in row] for row in found.costs]
        parts.append(table(["who answers", ">a contact", ">a month"], costs))
    if found.tornado:
        swings = [
            [escape(cell) for cell in (row.input, row.low, row.high, row.at_low, row.at_high, row.swing)]
            for row in found.tornado
        ]
        columns = ["input moved alone", ">from", ">to", ">saving at low", ">saving at high", ">swing"]
        parts.append(table(columns, swings))
    return parts
