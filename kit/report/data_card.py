"""The data card: metadata the Hub reads, then where rows came from, what was checked, and who is in them."""

from collections.abc import Iterable

from kit.config.schema import Config
from kit.report.card import hub_licence
from kit.report.formatting import NONE, count, plural, quantity, visible
from kit.report.markdown import bullets, code, escape, table
from kit.report.read import Json
from kit.report.view import View

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_ACTIONS = {
    "report": "found rows are counted and kept as they are",
    "mask": "each value is replaced by a placeholder",
    "reject": "rows that hold any are turned away",
    "off": "nobody looked for it",
}
UNKNOWN = "to be filled in"


def data_card(view: View, data: Json, config: Config) -> str:
    """`DATA_CARD.md`: YAML front matter for a dataset's page on the Hub, and the card itself.

    Args:
        data: the contents of `data.json`.
    """
    parts = [
        f"---\n{_metadata(view, data, config)}\n---",
        f"# Data of {escape(view.project)}",
        *(f"> **Read this first.** {escape(notice)}" for notice in _notices(data)),
        escape(
            f"The prompts and answers that the model of run {view.run} was tuned and tested on. Fingerprint "
            f"{data['fingerprint']}: it covers the files, the settings, the tokenizer and casekit's version."
        ),
        *_sources(data, config),
        *_splits(view, data),
        *_personal(data),
        *_languages(view, data),
        *_checks(view, data),
        "## Limits",
        bullets(_limits(data)),
    ]
    return "\n\n".join(parts) + "\n"


def licence_of(source: str, config: Config) -> str:
    """A source's licence as the project states it; empty where it does not."""
    return config.report.data_licences.get(source, "")


def synthetic_rows(data: Json) -> int:
    """How many of the kept rows were made from a grammar."""
    return sum(int(source.get("kept") or 0) for source in data["sources"] if source["synthetic"])


def _metadata(view: View, data: Json, config: Config) -> str:
    from huggingface_hub import DatasetCardData

    made = synthetic_rows(data)
    creators = [*(["machine-generated"] if made else []), *(["found"] if made < data["rows"]["kept"] else [])]
    stated = {licence_of(source["name"], config) for source in data["sources"]}
    # One licence is the whole set's; several, or one that is not stated, are not.
    licence, licence_name = hub_licence(stated.pop()) if len(stated) == 1 else (None, None)
    card = DatasetCardData(
        language=view.languages,
        license=licence,
        license_name=licence_name,
        language_creators=creators,
        multilinguality="monolingual" if len(view.languages) == 1 else "multilingual",
        pretty_name=visible(f"{view.project}: tuning and test data"),
        size_categories=_size(data["rows"]["kept"]),
        task_categories=["text-generation"],
        tags=["casekit", *(["synthetic"] if made else [])],
    )
    return str(card.to_yaml()).strip()


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>1T" if rows > 10**12 else "other")


def _notices(data: Json) -> list[str]:
    made, kept = synthetic_rows(data), data["rows"]["kept"]
    if not made:
        return []
    share = quantity(made / kept if kept else None, "rate")
    return [f"{share} of the kept rows are synthetic: made from a phrase grammar, not written by people."]


def _sources(data: Json, config: Config) -> list[str]:
    rows = [
        [
            escape(source["name"]),
            escape(str(source.get("format") or NONE)),
            count(source["rows"]),
            count(source.get("kept")),
            "yes" if source["synthetic"] else "no",
            escape(licence_of(source["name"], config) or UNKNOWN),
            code(source["sha256"]),
        ]
        for source in data["sources"]
    ]
    columns = ["source", "format", ">rows", ">kept", "synthetic", "licence", "sha256"]
    return ["## Sources", table(columns, rows)]


def _splits(view: View, data: Json) -> list[str]:
    rows = data["rows"]
    kept = rows["kept"]
    parts = [
        [name, count(rows[key]), quantity(rows[key] / kept if kept else None, "rate")]
        for name, key in (("train", "train"), ("validation", "valid"), ("test", "test"))
    ]
    said = (
        f"{plural(rows['read'], 'row')} read, {count(rows['rejected'])} rejected, "
        f"{count(rows.get('left_out') or 0)} left out by the mix, {count(kept)} kept. "
        "Rows that belong together (a customer, a ticket, the same prompt) are in one split."
    )
    made = synthetic_rows(data)
    facts = [f"Synthetic: {count(made)} of {count(kept)} kept rows"]
    known = view.data.facts if view.data else []
    facts += [f"{name}: {value}" for name, value in known if name.startswith("Tokens")]
    return ["## Splits", said, table(["split", ">rows", ">share"], parts), bullets(facts)]


def _personal(data: Json) -> list[str]:
    personal = data.get("personal")
    if not personal:
        return ["## Personal data", "It is not known whether personal data was looked for."]
    action = f"Setting `data.personal: {personal['action']}`: {_ACTIONS.get(personal['action'], 'as set')}."
    rows = [
        [escape(kind["kind"].replace("_", " ")), count(kind["rows"]), count(kind["values"])]
        for kind in personal["kinds"]
    ]
    found = table(["kind", ">rows", ">values"], rows) if rows else "No kind was looked for."
    return ["## Personal data", action, found]


def _languages(view: View, data: Json) -> list[str]:
    found = data.get("languages")
    parts = ["## Languages", f"Deployed: {escape(', '.join(view.languages))}."]
    if not found:
        return [*parts, "The rows' languages were not detected."]
    turns = sorted(found["turns"].items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [[escape(language), count(number)] for language, number in turns]
    unsure = f"{plural(found['not_judged'], 'turn')} too short to tell."
    return [*parts, table(["language, detected", ">turns"], rows), unsure]


def _checks(view: View, data: Json) -> list[str]:
    rows = [
        [escape(check.name), escape(check.what), escape(check.severity), check.count]
        for check in (view.data.checks if view.data else [])
    ]
    parts = ["## Checks", table(["check", "looks for", "on a find", ">rows"], rows)]
    held_out = data.get("benchmarks") or []
    if held_out:
        parts += ["Training rows were held against these benchmarks:", bullets(_names(held_out))]
    return parts


def _names(sources: Iterable[Json]) -> list[str]:
    return [f"{source['name']} (sha256 {source['sha256']})" for source in sources]


def _limits(data: Json) -> list[str]:
    limits = [
        "The forms of personal data are found by rules: what has no form, such as a story that identifies "
        "somebody, is not.",
        "A check finds what it looks for: rows that passed were not read by a person for that.",
    ]
    if synthetic_rows(data):
        limits.append("Synthetic rows know only the phrases of their grammar; customers know more.")
    return limits
