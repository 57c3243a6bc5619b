"""Share of answers that cite a passage they may rest on, and none that they may not."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from kit.evaluate.item_metric import ItemMetric, Judgement, Reference
from kit.evaluate.text import normalise

_KINDS = (
    r"rules?|(?:sub)?sections?|articles?|passages?|(?:sub-?)?paragraphs?|chapters?|guidance|regulations?"
    r"|règles?|alinéas?|artículos?|secci(?:ón|ones)|párrafos?"
)
_USUAL = re.compile(
    r"\bPMID:?\s?(?P<pubmed>\d+)|\b(?P<doi>10\.\d{4,9}/[^\s;,\])]+)|\barXiv:\s?(?P<arxiv>\d{4}\.\d{4,5})"
    r"|\[(?P<bracket>[^\][\n]{0,40}\d[^\][\n]{0,40})\]"
    rf"|(?:\b(?:{_KINDS})|§+)\s?(?!(?:19|20)\d\d\b)"  # "the Companies Regulations 2020" is a title
    r"(?P<passage>[A-Z]?\d[\w.-]*(?:\(\w{1,5}\))*|(?:\(\w{1,5}\))+)",
    re.IGNORECASE,
)
_NEXT = re.compile(
    r"(?:,\s?(?:(?:and|or|et|ou|y|o)\s)?|\s(?:and|or|to|et|ou|à|y|o|a)\s)(?!(?:19|20)\d\d\b)"
    r"([A-Z]?\d[\w.-]*(?:\(\w{1,5}\))*)(?![\w%]|\s%)",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"[^\W\d]+s\b|§§", re.IGNORECASE)
_PARTED = re.compile(r"\w[.(]\w")


class CitationFidelity(ItemMetric):
    """1 if an answer cites one of the row's `citations`, or a part of one, and nothing besides."""

    label = "Citations present and right"
    about = "agreement"
    kind = "rate"
    higher_is_better = True
    invalid_item = 0.0
    formula = "answers that cite an expected passage and no other / rows with citations"
    pattern: re.Pattern[str] = _USUAL

    def prepare(self, references: Sequence[Reference], **params: Any) -> None:
        """Take `pattern`, a regular expression whose groups, or else the whole of it, name what is cited.

        Raises:
            TypeError: another parameter was given.
            ValueError: the pattern does not compile, or matches where nothing stands.
        """
        if set(params) - {"pattern"}:
            found = ", ".join(sorted(params))
            raise TypeError(f"{self.name} takes one parameter, pattern=...; found {found}")
        if "pattern" in params:
            try:
                self.pattern = re.compile(str(params["pattern"]), re.IGNORECASE)
            except re.error as error:
                raise ValueError(f"`pattern` is no regular expression: {error}") from error
            if self.pattern.search(""):
                raise ValueError(f"`pattern` {params['pattern']!r} matches where nothing stands")

    def applies(self, reference: Reference) -> bool:
        """Whether the row names `citations`, what a right answer may rest on."""
        return bool(_listed(reference))

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with what is wrong: nothing cited, nothing right, or something else besides."""
        right = [_plain(name) for name in _listed(reference)]
        given = {_plain(name) for name in self._cited(str(reference.get("prompt") or ""))}
        cited = [_plain(name) for name in self._cited(prediction)]
        if not cited:
            return 0.0, ["cites nothing"]
        others = [name for name in cited if not any(_within(name, one) for one in right)]
        reasons = [] if len(others) < len(cited) else ["cites none of the expected passages"]
        reasons += ["cites another passage of the prompt"] if any(name in given for name in others) else []
        reasons += ["cites what nobody gave"] if any(name not in given for name in others) else []
        return float(not reasons), reasons

    def _cited(self, text: str) -> Iterator[str]:
        plain = normalise(text)
        for found in self.pattern.finditer(plain):
            yield next((group for group in found.groups() if group), found.group())
            if self.pattern is _USUAL and found["passage"]:
                yield from _others_of_list(plain, found)


def _others_of_list(text: str, first: re.Match[str]) -> Iterator[str]:
    """What else a list cites: "Rules 4.2.1 and 9", "Rule 4.2.1 or 4.2.7(a)"; in "section 5, 30 days" nothing.

    After one kind in the singular only a number in parts is a passage, for any other may count something.
    """
    several, end = _PLURAL.match(first.group()), first.end()
    while (found := _NEXT.match(text, end)) and (several or _PARTED.search(found[1])):
        yield found[1]
        end = found.end()


def _listed(reference: Reference) -> list[str]:
    value = reference.get("citations") or []
    return [str(name) for name in (value if isinstance(value, list) else [value])]


def _plain(name: str) -> str:
    """A passage's name without case, blanks, its kind and a mark at its end: "Rule 4.2.1.(2)" is 4.2.1(2)."""
    bare = re.sub(r"\s", "", re.sub(r"^(?:[^\W\d]+[.:]?\s+)+(?=\S*\d)", "", name.casefold()))
    return bare.replace(".(", "(").rstrip(".,;:")


def _within(cited: str, expected: str) -> bool:
    """Whether what is cited is the passage or a part of it: 4.2.1(2) of 4.2.1, but not 4.2.10."""
    return cited == expected or cited.startswith((f"{expected}.", f"{expected}("))
