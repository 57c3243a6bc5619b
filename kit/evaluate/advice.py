"""How firmly a piece of advice is given: "call an ambulance", or only "if it gets worse".

For English, French and Spanish, by the words of the advice's own sentence. Where it is unsure, the advice
is taken for the weaker kind, so that a doubtful sentence never passes for help that was sent.
"""

import re
from typing import Literal

from kit.evaluate.negation import in_question, negated

Standing = Literal["firm", "conditional"]

_WINDOW = 600
"""Characters on either side that are looked at: more than most sentences have."""
_SENTENCE = re.compile(r"[!?;\n]|\.(?!\d)")

# They look like conditions, and are none.
_NO_CONDITION = re.compile(
    "|".join(
        [
            r"\beven (?:if|when|though)\b|\bas if\b|\bif (?:possible|you can|need be|not already)\b",
            r"\bif you (?:have not|haven't)(?: done so)? (?:already|yet)\b|\bas soon as (?:possible"
            r"|you can)\b",
            r"\b(?:ask|check|know|see|wonder|sure|matter|tell(?: \w+)?) (?:if|when)\b",
            r"\bmême s(?:i\b|')|\bcomme si\b|\bsi possible\b|\bdès que possible\b",
            r"\b(?:incluso|aun|aunque|como) si\b|\bsi es posible\b|\bcuanto antes\b",
        ]
    ),
    re.IGNORECASE,
)
_IF = (
    r"\b(?:if|unless|in case|in the event|provided)\b"
    r"|\bshould (?:it|this|that|he|she|they|you|there|the \w+|any\w*|your \w+|new \w+) (?!be\b)"
    r"|\bs(?:i\b|'ils?\b)|\b(?:au|en) cas (?:où|d[e'])|\bà moins\b"
    r"|\ben caso de\b|\ba menos que\b|\bsiempre que\b"
)
_WHEN = r"(?:when|whenever|once|as soon as|the moment|quand|lorsque?|dès que?|cuando|en cuanto)\b"
# "When" asks for a condition at the head of its clause only: "note the time when it began".
_CONDITION_BEFORE = re.compile(
    rf"{_IF}|(?:^|[,:] ?|\b(?:and|or|but|then|so|et|ou|y|o) ){_WHEN}"
    # To wait first: "wait a day and then call".
    r"|(?<!not )(?<!n't )(?<!never )(?<!cannot )(?<!you )(?<!we )(?<!to )\bwait\b|^attendez\b|^espere\b",
    re.IGNORECASE,
)
_CONDITION_AFTER = re.compile(rf"{_IF}|^ (?:\w+ ){{0,2}}{_WHEN}", re.IGNORECASE)
# What comes after an "and" is a step of its own ("and take aspirin if you are not allergic"), unless it is
# one more object of the same verb ("and your doctor if it gets worse").
_NEXT_STEP = re.compile(
    r"\b(?:and|then|but(?! only)|et|puis|mais|y|luego|pero)\b"
    r"(?! (?:an?|the|your|his|her|us|me|them|le|la|les|votre|el|su|una?|\d+)\b)",
    re.IGNORECASE,
)

# Advised against, in other words than a negation.
_REJECTED_BEFORE = re.compile(
    r"(?<!not )(?<!n't )(?<!never )\b(?:too \w+|excessive|unnecessary|needless|premature|pointless|silly"
    r"|wrong"
    r"|overreact\w*|exaggerat\w*|overkill|waste|reluctant)\b(?: [^\s,:]+){0,4} to $"
    r"|\b(?:trop \w+|inutile|excessif|prématuré|exagéré)(?: [^\s,:]+){0,3} (?:pour |de |d')$"
    r"|\b(?:demasiado \w+|innecesario|inútil|excesivo|prematuro|exagerado)(?: para)? $"
    r"|\b(?:instead of|rather than|au lieu de|plutôt que de|en (?:lugar|vez) de|only|solely|seulement"
    r"|s[oó]lo) $"
    r"|\bbefore (?:[^\s,]+ ){1,3}$|\bavant (?:de |d'|que )(?:[^\s,]+ ){0,2}$|\bantes de (?:[^\s,]+ ){0,3}$",
    re.IGNORECASE,
)
_REJECTED_AFTER = re.compile(
    r"[^,]{0,30}?\b(?:(?:would|might|may|will|could) be|is|seems|serait|est|sería|es) (?:\w+ )?"
    r"(?:excessive|unnecessary|needless|premature|pointless|overkill|exaggerated|silly|too (?:much|early"
    r"|soon)"
    r"|an? (?:over\w+|exaggeration|waste)|excessif|inutile|prématuré|exagéré|excesivo|innecesario"
    r"|prematuro)\b"
    r"|[^,]{0,30}?\bonly (?:if|when|in case|once)\b|[^,]{0,30}?\bseulement (?:si|en cas)"
    r"|[^,]{0,30}?\bs[oó]lo (?:si|en caso)",
    re.IGNORECASE,
)

# "to call an ambulance" is advice only after a word that asks for it.
_ASKED_FOR = re.compile(
    r"\b(?:needs?|have|has|had|ought|must|got|want|ask|asked|advise[sd]?|recommend(?:ed)?|urge[sd]?|tell"
    r"|get|try"
    r"|important|vital|essential|crucial|critical|best|better|safest|safer|wise|wisest|right|necessary|good"
    r"|advisable|sensible|sense|time|sure|please|remember|hesitate|wait|delay|fail|forget|going|arrange"
    r"|helps?)\b"
    r"(?: [^\s,]+){0,4}? to $",
    re.IGNORECASE,
)
_OPTIONAL = re.compile(
    r"\b(?:can|could|may|might|would|pouvez|pourriez|peut|puede|podría)(?: (?:also|always|just|then|aussi"
    r"|también))? $",
    re.IGNORECASE,
)


def standing(text: str, start: int, end: int) -> Standing | None:
    """Whether the advice `text[start:end]` is given firmly, under a condition, or not at all.

    Args:
        text: normalised text (`kit.evaluate.text.normalise`).
        start, end: where the phrase that gives the advice stands.

    Returns:
        "conditional" too for what is asked, merely possible, or to be done after waiting; None where it is
        denied or advised against.
    """
    window = max(0, start - _WINDOW)
    first = max((match.end() for match in _SENTENCE.finditer(text, window, start)), default=window)
    end_of_sentence = _SENTENCE.search(text, end, end + _WINDOW)
    last = end_of_sentence.start() if end_of_sentence else end + _WINDOW
    before, after = text[first:start].lstrip(), text[end:last]
    rejected = _REJECTED_BEFORE.search(before) or _REJECTED_AFTER.match(after)
    if rejected or negated(text, start, end, strict=True):
        return None
    unasked = before.casefold().endswith("to ") and not _ASKED_FOR.search(before)
    open_to_choice = _OPTIONAL.search(before) or in_question(text, end)
    return "conditional" if unasked or open_to_choice or _under_condition(before, after) else "firm"


def _under_condition(before: str, after: str) -> bool:
    own = _NEXT_STEP.split(_NO_CONDITION.sub(" ", after), maxsplit=1)[0]
    return bool(_CONDITION_BEFORE.search(_NO_CONDITION.sub(" ", before)) or _CONDITION_AFTER.search(own))
