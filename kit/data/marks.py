"""What does not belong into a dialogue: damaged text, markup, leftovers of prompts, answers that decline.

Each function takes one text and returns what it found, shortened, or None. The rules, and how often each
was right on real data, are in docs/reference/data.md and docs/explanation/real-data.md.
"""

import re
from html.entities import html5

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_REPLACEMENT = "\ufffd"

_ELEMENTS = (
    "a abbr address article aside b big blockquote body br button center cite code col dd del div dl dt em "
    "embed fieldset figcaption figure font footer form h[1-6] head header hr html i iframe img input ins kbd "
    "label legend li link main mark meta nav object ol option p param pre q s samp script section select "
    "small span strike strong style sub sup svg table tbody td textarea tfoot th thead title tr tt u ul video"
)
_TAG = re.compile(
    rf"</?(?:{'|'.join(_ELEMENTS.split())})(?:\s+[\w:-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s<>]+))?)*\s*/?>"
    r"|<!--|<!doctype html",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)

_TEMPLATE = re.compile(
    r"<\|[^|<>\s]{2,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<[｜|][^｜|<>\n]{2,40}[｜|]>"
    r"|^\s*#{2,3} ?(?:Response|Instruction|Input|Human|Assistant|User|System) ?:"
    r"|\{\{[^{}\n]{1,60}\}\}"
    # {name}, %{name} or ${name}; not LaTeX's \text{cost} and x_{max}, nor the body of f(x){return}.
    r"|(?<![\\\w^{})])[%$]?\{[A-Za-z][\w.-]+(?: [A-Za-z]\w*){0,3}\}",
    re.IGNORECASE | re.MULTILINE,
)
_SPEAKS_AS_AI = re.compile(
    r"\bas an? (?:ai\b|artificial intelligence|(?:large )?language model)|\bI(?:'m| am) (?:just |only )?an? "
    r"(?:ai (?:language )?model|(?:large )?language model)"
    r"|\ben tant qu(?:e modèle de langage|'(?:ia\b|intelligence artificielle))"
    r"|\bcomo (?:una (?:ia\b|inteligencia artificial)|(?:un )?modelo de lenguaje)"
    r"|作为(?:一[个种名款])?(?:人工智能|AI|大?语言模型)",
    re.IGNORECASE,
)

_REFUSALS = (
    # English
    r"\b(?:I|we) (?:am |are )?(?:can(?:no|')t|can not|could ?n[o']t|won't|will not|unable to|not able to)"
    r"(?: really| currently)? (?:help|assist|answer|advise|comment|recommend(?!.{0,40}\benough)|discuss"
    r"|comply|fulfil|share that|provide|give (?:you )?|do that|do this|say|speak to|talk about|tell you)",
    r"\bI(?:'m| am) (?:unable|not able|not allowed|not permitted|not comfortable|not qualified) (?:to )?"
    r"(?:help|assist|answer|advis|comment|recommend|discuss|comply|provid|giv|do|say)",
    r"\bI(?:'d| would) rather not\b|\bI (?:must|have to) (?:decline|refuse)\b",
    # French
    r"\bje ne (?:peux|suis|saurais) (?:pas|malheureusement pas)(?: malheureusement)?(?: pas)? ?(?:en mesure "
    r"de |autorisée? à |capable de |encore )?(?:vous |te |y )?(?:aider|répondre|donner|fournir|conseiller"
    r"|me prononcer|dire|faire)",
    # Spanish
    r"\bno (?:puedo|podemos|podría|soy capaz de|me es posible) (?:ayudar|responder|dar|proporcionar"
    r"|aconsejar|recomendar|opinar|hacer|decir|contestar)",
    # Chinese
    r"(?:抱歉|对不起)[^。！？\n]{0,20}(?:无法|不能)|我(?:无法|不能|没有办法)(?:回答|提供|给出|帮|满足|预测)"
    r"|因此[，,]?(?:我)?无法(?:给出|回答|提供|得出)",
)
_REFUSAL = re.compile("|".join(_REFUSALS), re.IGNORECASE)
_OPENING = 240
"""An answer that declines says so at once; further on it speaks of something else."""

_VARIABLE = re.compile(r"\(?:[a-z]", re.IGNORECASE)  # Laravel's (:count
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def damaged(text: str) -> str | None:
    """Replacement and control characters, and text that ftfy would decode anew (`Ã©` for `é`)."""
    if _REPLACEMENT in text:
        shown = _shown(text, text.index(_REPLACEMENT))
        return f"has the replacement character U+FFFD, for one that was lost: {shown!r}"
    if control := _CONTROL.search(text):
        return f"has the control character U+{ord(control[0]):04X}: {_shown(text, control.start())!r}"
    if text.isascii():
        return None
    from ftfy import fix_encoding

    mended = fix_encoding(text)
    if mended == text:
        return None
    place = next((i for i, (a, b) in enumerate(zip(text, mended, strict=False)) if a != b), len(mended))
    return f"was decoded wrongly: {_shown(text, place)!r} for {_shown(mended, place)!r}"


def markup(text: str) -> str | None:
    """HTML tags and entities, unless they are quoted as code."""
    if "<" not in text and "&" not in text:
        return None
    plain = without_code(text)
    if tag := _TAG.search(plain):
        return f"has the HTML tag {_shown(tag[0])}"
    entities = (entity[0] for entity in _ENTITY.finditer(plain))
    known = next((e for e in entities if e[1] == "#" or e[1:] in html5), None)
    return f"has the HTML entity {known}" if known else None


def template_mark(text: str, role: str) -> str | None:
    """Marks of chat templates and prompts, unfilled placeholders; in answers, "as an AI"."""
    if role == "assistant" and (said := _SPEAKS_AS_AI.search(text)):
        return f"says {said[0]!r}"
    if not any(sign in text for sign in "<[#{"):
        return None
    mark = _TEMPLATE.search(without_code(text))
    return f"has {_shown(mark[0].strip())}" if mark else None


def refusal(text: str) -> str | None:
    """The words with which an answer declines."""
    said = _REFUSAL.search(text[:_OPENING].replace("’", "'"))
    return f"declines: {said[0]!r}" if said else None


def without_code(text: str) -> str:
    """The text without what stands between back quotes."""
    return _CODE.sub(" ", text) if "`" in text else text


def prose(text: str) -> str:
    """The text without tags, placeholders, addresses and names of variables: what has a language."""
    if any(sign in text for sign in "<[#{"):
        text = _TEMPLATE.sub(" ", _TAG.sub(" ", text))
    return " ".join(word for word in text.split() if not _is_no_word(word))


def _is_no_word(word: str) -> bool:
    return "_" in word or "@" in word or "://" in word or (word[0] in "(:" and bool(_VARIABLE.match(word)))


def _shown(text: str, place: int = 0) -> str:
    """A short piece of a text around a place."""
    return " ".join(text[max(0, place - 20) : place + 40].split())
