"""Whether a phrase is denied where it stands: "returns are not guaranteed" promises nothing.

Rules after NegEx (Chapman et al., J. Biomed. Inform. 2001, 34:301), for English, French and Spanish:
a negation holds within its clause and for a few words onward; "no" and "without" stop at an "and";
some phrases look like negations and are none ("not only", "do not hesitate to"). Where it is unsure
it says "not denied", so that a doubtful sentence counts against an answer rather than for it.
"""

import re

REACH = 6
"""A negation reaches this many words onward."""

# "and" may carry a denial on ("not fixed and guaranteed"), unless a sentence of its own follows it.
_NEW_SENTENCE = (
    r"\band (?=(?:the|it|its|your|our|this|that|we|you|i|they|call|go|seek|see|visit|contact|get)\b"
    r"|(?:\w+ ){1,3}(?:is|are|will|has|have|can)\b)",
    r"\bet (?=(?:le|la|les|il|elle|votre|vos|vous|nous|ce|cette|ces|son|sa|ses|je"
    r"|appelez|allez|rendez|consultez|contactez)\b|(?:\w+ ){1,3}(?:est|sont|sera|seront)\b)",
    r"\by (?=(?:el|la|los|las|su|sus|usted|le|te|llame|llama|vaya|ve|acuda|acude|consulte|contacte)\b"
    r"|(?:\w+ ){0,3}(?:es|son|será|serán|está|están)\b)",
)
_BREAKS = re.compile(
    "|".join(
        [
            r"[!?;:\n()\u2013\u2014¿¡]|\.(?!\d)",
            # The comma of a list carries a denial on: "not insured, guaranteed or protected".
            r",(?!\d)(?!\s*(?:\w+,?\s+){0,4}(?:or|nor|ou|ni|o|u)\b)",
            r"\b(?:but|however|although|though|yet|because|since|unless|instead|so)\b",
            r"\b(?:mais|cependant|pourtant|toutefois|parce que|car|sauf si)\b",
            r"\b(?:pero|sin embargo|aunque|porque|sino|salvo que)\b",
            *_NEW_SENTENCE,
        ]
    ),
    re.IGNORECASE,
)

_NO_NEGATION = re.compile(
    "|".join(
        [
            r"(?:\bnot|n't) (?:only|just|merely)\b",
            r"\bno (?:doubt|question|wonder)\b|\bwithout (?:a |any )?doubt\b",
            r"(?:\bnot|n't|\bnever) (?:hesitate|delay|wait|worry|forget|fail)\b",
            r"\b(?:non|pas) seulement\b|\b(?:sans|nul) (?:aucun )?doute\b",
            r"\bn'(?:hésitez|hésite|attendez|attends|oubliez) (?:pas|plus)\b|\bne tardez? pas\b",
            r"\bno (?:solo|sólo|solamente)\b|\bsin (?:ninguna )?duda\b",
            r"\bno (?:dudes?|esperes?|tardes?|olvides?|se preocupe)\b",
        ]
    ),
    re.IGNORECASE,
)
# They deny what is done or said.
_NOT = re.compile(
    r"\b(?:not|never|none|nobody|nothing|neither|nor|cannot|hardly)\b|n't\b"
    r"|\b(?:ne|pas|jamais|rien|ni)\b|\bn'(?=\w)"
    r"|\b(?:nunca|jamás|tampoco|nadie|nada)\b",
    re.IGNORECASE,
)
# They deny the noun that follows: "no fees and guaranteed returns" promises a guarantee.
_NO = re.compile(
    r"\b(?:no|without|aucune?|nul|nulle|sans|sin|ningun[ao]?|ningún)\b(?!.*\b(?:and|with|plus|et|avec|y|con)\b)",
    re.IGNORECASE,
)

# Denied by what follows: "guaranteed returns do not exist".
_DENIED_AFTER = re.compile(
    r"\W*(?:\w+\s+){0,2}?(?:"
    r"(?:(?:do|does|is|are|can|could)(?: not|n't| never)|cannot|never) (?:be |ever |being )?"
    r"(?:exist|possible|offered|given|available|promised|allowed|permitted|made|real)"
    r"|n'existe(?:nt)? pas|n'est (?:pas possible|jamais)|ne sont (?:pas possibles|jamais)"
    r"|no (?:existen?|es posible|son posibles|se ofrecen?|se dan?)"
    r")\b",
    re.IGNORECASE,
)


def negated(text: str, start: int, end: int) -> bool:
    """Whether the phrase `text[start:end]` is denied by its own clause.

    Args:
        text: normalised text (`kit.evaluate.text.normalise`), so that apostrophes are straight.
        start, end: where the phrase stands.
    """
    clause_start = max((match.end() for match in _BREAKS.finditer(text) if match.end() <= start), default=0)
    clause_end = next((match.start() for match in _BREAKS.finditer(text, end)), len(text))
    before = _NO_NEGATION.sub(" ", text[clause_start:start])
    near = " ".join(before.split()[-REACH:])
    return bool(_NOT.search(near) or _NO.search(near) or _DENIED_AFTER.match(text[end:clause_end]))
