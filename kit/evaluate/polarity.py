"""Whether two texts say opposite things of the same: "must be charged" and "must not be charged".

A text is taken apart into statements: the content words of a clause, and which of them it denies (the first
after each negation). Two statements are opposites where they share many words and one denies of these what
the other affirms, or where a word stands in for its opposite ("safe" and "dangerous"). For English, French
and Spanish, by words and not by meaning.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kit.data.words import words
from kit.evaluate.negation import denials
from kit.evaluate.text import normalise

SHARED = 0.5
"""Of two statements' words, twice the shared ones over all (Dice): so many make them about the same."""
FEWEST = 2
"""So many words must be shared at least: "it works" and "it does not work outdoors" share too little."""
SAME = 0.8
"""The same within one answer, where most sentences are about one thing anyway."""

BORNE_ON = 3
"""So many content words after a negation are denied: "does not include a power | adapter"."""

_CLAUSE_END = re.compile(
    r"[!;:\n()\u2013\u2014¿¡]|\.(?!\d)|(?<=\?)"
    r"|,\s*as\b|,?\s\b(?:but|however|although|though|whereas|while|because|since|so"
    r"|mais|cependant|alors que|parce que|car|donc|pero|aunque|sino|porque|mientras que)\b",
    re.IGNORECASE,
)
# What holds under a condition says nothing of what holds without it, nor does a question.
_OPEN = re.compile(
    r"\?|\b(?:if|unless|whether|until|except|si|s'il|sauf|à moins|excepto|salvo|a menos)\b", re.IGNORECASE
)
_LEAD = re.compile(
    r"\s*(?:(?P<yes>yes|yeah|yep|sure|certainly|of course|oui|bien sûr|sí|claro|por supuesto)"
    r"|(?P<no>no|nope|non))(?=\s*(?:[,.;:!]|$|\b(?:it|you|they|this|that|there|we|he|she)\b))",
    re.IGNORECASE,
)
_EMPTY_WORDS = """
a an the this that these those it its they them their he she his her we us our you your i me my is are
was were be been being am do does did done have has had having will would shall should can could may
might must ought need of to in on at by for from with within into onto about as and or nor than then
there here so too very also just only even still yes no not never none any some all each both either
neither which who whom whose what when where how why s t don doesn didn isn aren wasn weren won wouldn
couldn shouldn cannot can't don't doesn't didn't isn't aren't won't without un une le la les l d de du
des à au aux en et ou ne pas plus jamais rien est sont était ce cette ces il elle ils elles vous nous je
tu on se sa son ses votre vos notre nos qui que qu dans sur pour par avec sans oui non el los las uno una
unos unas del al y o u no ni nunca es son era este esta estos estas lo le se su sus usted ustedes yo que
quien en con sin por para sí
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())
# Beside the negations proper: "failed to predict", "little awareness of the costs".
_NEARLY = re.compile(
    r"\b(?:fail(?:s|ed)? to|lacks|lacked"
    r"|little (?:or no|evidence|effect|benefit|use|value|impact|awareness)"
    r"|échoue\w*|manquent?|carece\w*)\b",
    re.IGNORECASE,
)
_SECOND_OF_TWO = re.compile(r"\b(?:nor|ni|and|or|et|ou|y|o)\b", re.IGNORECASE)
_CANCEL = 2
_SUBJECT = re.compile(r"\b(?:nobody|none|nothing|nadie|nada|personne|rien)$", re.IGNORECASE)
# A negation bears on what follows these: "was not found to be a predictor", "does not seem to work".
_LIGHT_WORDS = """
seem seems seemed appear appears appeared found find show shown shows significantly significant really totally
able likely always necessarily much very true clear clearly evidence semble paraît parece
"""
_LIGHT = frozenset(_LIGHT_WORDS.split())
# Words that deny the first of their line where the other statement has it.
_OPPOSITES = {
    opposite: word
    for word, opposites in {
        "safe": "unsafe dangerous harmful",
        "increase": "decrease decreases decreased reduce reduces reduced lower lowers lowered",
        "higher": "lower",
        "more": "less fewer",
        "better": "worse",
        "normal": "abnormal",
        "continue": "stop stops",
        "included": "excluded",
        "same": "different",
        "open": "closed",
        "present": "absent",
        "sûr": "dangereux",
        "augmente": "diminue réduit",
        "continuez": "arrêtez",
        "seguro": "peligroso",
        "aumenta": "disminuye reduce",
        "siga": "deje suspenda",
    }.items()
    for opposite in opposites.split()
}
_PREFIX = re.compile(r"(?:un|in|im|ir|dis|non-?)(?=\w{5})")


@dataclass(frozen=True)
class Statement:
    """What one clause says, as stems of its content words."""

    words: frozenset[str]
    denied: frozenset[str]
    """Those of `words` that a negation bears on."""
    turned: frozenset[tuple[str, str]]
    """Words that one of `words` is the opposite of, each with that one."""
    text: str
    refused: bool = False
    """It is denied as a whole: a "no" to a question."""


def statements(text: str, question: str = "") -> list[Statement]:
    """The statements of a text, in its order.

    Args:
        question: what the text answers: "yes" and "no" at its head affirm or deny what was asked.
    """
    plain = normalise(text)
    found = []
    lead = _LEAD.match(plain)
    if lead:
        asked = _statement(_last_question(question))
        if asked:
            found.append(replace(asked, refused=bool(lead["no"]), text=lead.group().strip()))
        plain = plain[lead.end() :]
    for clause in _CLAUSE_END.split(plain):
        statement = None if _OPEN.search(clause) else _statement(clause)
        if statement:
            found.append(statement)
    return found


def opposites(one: Statement, other: Statement, shared: float = SHARED) -> bool:
    """Whether two statements are about the same and one denies it."""
    return overlap(one, other) >= shared and not _agree(one, other)


def overlap(one: Statement, other: Statement) -> float:
    """The Dice coefficient of two statements' words, from 0 to 1; 0 where fewer than `FEWEST` are shared."""
    common = len(one.words & other.words) + len(_turns(one, other))
    return 2 * common / (len(one.words) + len(other.words)) if common >= FEWEST else 0.0


def _agree(one: Statement, other: Statement) -> bool:
    turns = _turns(one, other)
    if one.denied and other.denied:
        return True  # two denials: which of them denies what the other says, words do not tell
    shared = one.words & other.words | turns
    denials = [bool(side.denied & shared) != side.refused for side in (one, other)]
    return (sum(denials) + len(turns)) % 2 == 0


def _turns(one: Statement, other: Statement) -> frozenset[str]:
    """The words of one that a word of the other, which the one has not, is the opposite of."""
    return frozenset(
        word
        for a, b in ((one, other), (other, one))
        for word, opposite in a.turned
        if word in b.words and word not in a.words and opposite not in b.words
    )


def contradicted(said: Sequence[Statement], reference: Sequence[Statement]) -> list[tuple[str, str]]:
    """Every statement of a reference whose nearest statement in the answer says the opposite, with it."""
    found = []
    for wanted in reference:
        # Where one statement agrees and another, as near, does not, the agreeing one is meant.
        nearest = max(said, key=lambda s: (overlap(s, wanted), _agree(s, wanted)), default=None)
        if nearest is not None and opposites(nearest, wanted):
            found.append((nearest.text, wanted.text))
    return found


def against_itself(said: Sequence[Statement]) -> list[tuple[str, str]]:
    """Every pair of statements of one answer that say opposite things."""
    return [
        (one.text, other.text)
        for place, one in enumerate(said)
        for other in said[place + 1 :]
        if opposites(one, other, SAME)
    ]


def _last_question(text: str) -> str:
    """The last question of a message, or the message where it has no question mark."""
    sentences = re.findall(r"[^.?!\n]*\?", normalise(text))
    return sentences[-1] if sentences else text


def _statement(clause: str) -> Statement | None:
    """A clause as a statement; None where it has no content words."""
    plain = [word.casefold() for word in words(clause)]
    content = [word for word in plain if word not in _EMPTY]
    if not content:
        return None
    turned = {(_OPPOSITES[word], word) for word in plain if word in _OPPOSITES}
    turned |= {(_PREFIX.sub("", word, count=1), word) for word in content if _PREFIX.match(word)}
    return Statement(
        words=frozenset(map(_stem, content)),
        denied=frozenset(map(_stem, _denied(clause))),
        turned=frozenset((_stem(word), _stem(opposite)) for word, opposite in turned),
        text=clause.strip(" ,?"),
    )


def _denied(clause: str) -> list[str]:
    """The first content words after each negation; two verbs' negations in a row cancel each other."""
    ends = [*denials(clause), *(found.end() for found in _NEARLY.finditer(clause))]
    if len(ends) == _CANCEL and not _SECOND_OF_TWO.search(clause):
        return []
    return [word for end in ends for word in _borne_on(clause, end)]


def _borne_on(clause: str, end: int) -> list[str]:
    """The words that a negation ending there bears on; of a subject ("nobody can say …") the verb alone."""
    plain = [word.casefold() for word in words(clause[end:])]
    most = 1 if _SUBJECT.search(clause[:end]) else BORNE_ON
    return [word for word in plain if word not in _EMPTY and word not in _LIGHT][:most]


def _stem(word: str) -> str:
    """Cut to five letters, as good as a stemmer for European languages (McNamee and Mayfield 2004)."""
    plain = re.sub(r"(?<=\w{3})(?:'s|s)$", "", word)
    plain = re.sub(r"(?<=\w{4})(?:ed|ing)$", "", plain)
    return plain if any(character.isdigit() for character in plain) else plain[:5]
