"""Whether a phrase is denied where it stands: "returns are not guaranteed" promises nothing.

Rules after NegEx (Chapman et al., J. Biomed. Inform. 2001, 34:301), for English, French and Spanish:
a negation holds within its clause and for a few words onward; "no" and "without" stop at an "and";
some phrases look like negations and are none ("not only"); and a word between the negation and the
phrase may turn it around ("don't miss these guaranteed returns", "nothing beats a guaranteed return").
What clinicians deny ("denies fever, cough and diabetes", "negative for diabetes") runs on through a list.
"""

import re

REACH = 6
"""A negation reaches this many words onward, the phrase's first included."""
_WINDOW = 240
"""Characters on either side that are looked at: more than a negation can reach over."""

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
            r"\b(?:until|till|before|after|when|while|once|if) (?=(?:you|we|they|it|he|she|i)\b)",
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
            r"(?:\bnot|n't) (?:only|just|merely|least)\b|\bor not\b|\bnot to mention\b|\bwhy not\b",
            r"\bno (?:doubt|question|wonder|matter)\b|\bwithout (?:a |any )?doubt\b",
            r"\bcosts? (?:you )?nothing\b|\bne (?:vous )?coûte rien\b|\bno (?:le )?cuesta nada\b",
            r"\bnever before\b|\b(?:not|never) (?:without|impossible)\b",
            r"\b(?:non|pas) (?:seulement|sans|impossible)\b|\b(?:sans|nul) (?:aucun )?doute\b",
            r"\bno (?:solo|sólo|solamente|importa|sin|es imposible)\b|\bsin (?:ninguna )?duda\b",
        ]
    ),
    re.IGNORECASE,
)
# "ne manquez pas": the second half says nothing that the first has not said.
_SECOND_HALF = re.compile(r"\b(ne |n')((?:[\w']+\s){1,2}?)(?:pas|plus|jamais|rien)\b", re.IGNORECASE)
_FIRST_HALF = re.compile(r"\bne\b|\bn'(?=\w)", re.IGNORECASE)

# They deny what is done or said.
_NOT = re.compile(
    r"\b(?:not|never|none|nobody|nothing|nowhere|neither|nor|cannot|hardly|rarely|far from)\b|n't\b"
    r"|\b(?:dont|doesnt|didnt|isnt|arent|wasnt|cant|wont|shouldnt)\b"
    r"|\b(?:impossible|unable|forbidden|prohibited)\b|\b(?:wrong|false|misleading) to (?:say|claim|think"
    r"|promise)\b"
    r"|\b(?:ne|pas|jamais|rien|ni|interdit|loin)\b|\bn'(?=\w)"
    r"|\b(?:nunca|jamás|tampoco|nadie|nada|imposible|prohibido|lejos)\b",
    re.IGNORECASE,
)
# They deny the noun that follows: "no fees and guaranteed returns" promises a guarantee.
_NO_WORDS = r"\b(?:no|without|aucune?|nul|nulle|sans|sin|ningun[ao]?|ningún)\b"
_NO = re.compile(rf"{_NO_WORDS}(?!.*\b(?:and|with|plus|et|avec|y|con)\b)", re.IGNORECASE)
_ANY_NO = re.compile(_NO_WORDS, re.IGNORECASE)

# Between a negation and the phrase, they turn the denial away from it.
_TURNS = re.compile(
    "|".join(
        [
            # It is delay or neglect that is denied: "do not hesitate to call".
            r"\b(?:hesitate|delay|wait|worry|forget|fail)\b",
            r"\b(?:hésite[rz]?|attend(?:ez|re|s)|tarde[rz]?|oublie[rz]?|inquiéte[rz]?)\b",
            r"\b(?:dud[ae]r?|dudes|espere[ns]?|tard[ae]r?|tardes|olvid[ae]r?|olvides|preocupe)\b",
            # It is the price or the effort: "it costs nothing to make a complaint".
            r"\b(?:costs?|charges?|fees?|problem|catch|limit|deadline|questions)\b|\btoo (?:late|early"
            r"|soon) to\b",
            r"\b(?:frais|problème|souci|limite|coste|gastos|problema|límite)\b",
            r"\bneed (?!to\b)(?:\w+ ){1,5}?to\b|\bneed to be\b.*\bto\b|\bbesoin d.*\bpour\b"
            r"|\bnecesita .*\bpara\b",
            # It is a bound: "no later than 30 days".
            r"\bthan\b|\bplus (?:de|tard)\b|\bmás (?:de|tarde)\b",
        ]
    ),
    re.IGNORECASE,
)
# They may turn it, as sales talk does.
_MAY_TURN = re.compile(
    "|".join(
        [
            r"\b(?:los(?:e|es|ing)|miss(?:es|ing)?|pass(?:ing)? up|turn(?:ing)? down|giv(?:e|ing) up"
            r"|forgo)\b",
            r"\b(?:regret|ignore|overlook|skip|refuse|reject|resist|waste|doubt|go wrong|say no|let)\b",
            r"\b(?:other|else|better|safer|higher|easier|beats?|match(?:es)?|rivals?|equals?|compares?)\b",
            r"\blike\b(?! to\b)|\bas \w+ as\b|\brisks?\b(?![- ]free)",
            r"\b(?:manque[rz]?|rate[rz]|perd(?:ez|re|s)|pass(?:ez|er) à côté|refuse[rz]|regrette\w*|hors)\b",
            r"\b(?:autres?|mieux|meilleure?s?|égale|vaut|bat|comme|tel|risque)\b",
            r"\b(?:pierd[aeo]s?|perder|deje|deja|renuncie|rechace|arrepentirá)\b",
            r"\b(?:otr[oa]s?|mejor(?:es)?|supera|iguala|como|riesgos?)\b",
        ]
    ),
    re.IGNORECASE,
)
_NO_EQUAL = re.compile(
    r"\W*(?:[\w.]+ ){0,4}?(?:(?:anywhere|nowhere) else|elsewhere|like (?:this|that|these|ours)|than (?:we"
    r"|us|ours)"
    r"|ailleurs|comme (?:celui|celle|nous)|en otr[oa] (?:sitio|lugar|parte)|como (?:est[ea]|nosotros))\b",
    re.IGNORECASE,
)

# Denied by what follows: "guaranteed returns do not exist".
_DENIED_AFTER = re.compile(
    r"\W*(?:\w+\s+){0,2}?(?:"
    r"(?:(?:do|does|is|are|can|could)(?: not|n't| never| no longer)|cannot|never) (?:be |ever |being )?"
    r"(?:exist|possible|offered|given|available|promised|allowed|permitted|made|real|true)"
    r"|(?:is|are) (?:impossible|unavailable|excluded|untrue|false|a myth)"
    r"|n'existe(?:nt)? pas|n'est (?:pas possible|plus possible|jamais)|ne sont (?:pas possibles|jamais)"
    r"|est (?:impossible|exclue?)"
    r"|no (?:existen?|es posible|son posibles|se ofrecen?|se dan?)|es imposible"
    r")\b",
    re.IGNORECASE,
)
# "not after 30 days" says 30 days.
_LIMIT = re.compile(
    r"\b(?:after|beyond|past|(?:later|longer|more) than|après|au-delà de|passé|plus de|después de|pasados"
    r"|más de)"
    r" (?:the |these |les |los )?$",
    re.IGNORECASE,
)


# How a finding is denied in a clinical note.
_FINDING_DENIED = re.compile(
    r"\b(?:denies|denying|(?<!is )(?<!are )(?<!was )(?<!were )(?<!be )(?<!been )(?<!got )denied"
    r"|no (?:\w+ ){0,2}?(?:history|evidence|signs?|symptoms?) of|without (?:\w+ )?(?:evidence|signs?) of"
    r"|negative for|rule[sd] out|absence of"
    r"|nie|nient|négati(?:f|ve) pour|absence d[e']"
    r"|niegan?|negativ[oa] (?:para|por)|descartan?|ausencia de)\b",
    re.IGNORECASE,
)
_DENIES_A_DENIAL = re.compile(
    r"(?:\b(?:not|never|nobody|no one|cannot|ne|n'|no|nunca|nadie)|n't)\s*(?:\w+ )?$", re.IGNORECASE
)
_CONDITION = re.compile(r"\b(?:if|when|unless|should|si|quand|cuando)\b", re.IGNORECASE)
_THAT_IT_IS = re.compile(r"\s*that (?:\w+ ){1,3}?(?:has|have|had|is|was)\b", re.IGNORECASE)
# They end the list of what is denied: another verb, or somebody who does something.
_LIST_ENDS = re.compile(
    r"[.;:!?\n()\u2013\u2014¿¡]"
    r"|\b(?:but|however|although|though|because|since|except|admits?|reports?|endorses?|complains?|positive"
    r"|has|have|had|is|are|was|were|will|can|takes?|i|you|we|he|she|it|they|who|which|that|call|go|please"
    r"|mais|sauf|car|est|était|rapporte|signale|se plaint|il|elle|vous|nous|qui"
    r"|pero|salvo|porque|tiene|tenía|es|era|refiere|presenta|que|usted)\b",
    re.IGNORECASE,
)

_END = re.compile(r"[!?\n]|\.(?!\d)")


def negated(text: str, start: int, end: int, *, strict: bool = False) -> bool:
    """Whether the phrase `text[start:end]` is denied by its own clause.

    Where that is unsure the phrase is taken as said; `strict` takes it as denied. So a doubtful sentence
    counts against an answer both where the phrase is forbidden and where it is wanted.

    Args:
        text: normalised text (`kit.evaluate.text.normalise`), so that apostrophes are straight.
        start, end: where the phrase stands.
        strict: not to believe words that may turn a denial around ("no better return is guaranteed").
    """
    head, tail = text[max(0, start - _WINDOW) : start], text[end : end + _WINDOW]
    # The breaks are looked for with what follows them: an "and" may or may not begin a new sentence.
    known = head + text[start : end + _WINDOW]
    clause_start = max((m.end() for m in _BREAKS.finditer(known) if m.end() <= len(head)), default=0)
    clause_end = _BREAKS.search(tail)
    after = tail[: clause_end.start()] if clause_end else tail
    if not strict and (in_question(text, end) or _NO_EQUAL.match(after)):
        return False
    if _finding_denied(head):
        return True
    before = _SECOND_HALF.sub(r"\1\2", _NO_NEGATION.sub(" ", head[clause_start:]))
    if _NOT.search(text[start:end]) or _NO.search(text[start:end]):
        # The phrase holds its own negation, whose first half may stand before it: "n'est | pas garanti".
        before = _FIRST_HALF.sub(" ", before)
    between = [before[cue.end() :] for cues in (_NOT, _NO) for cue in cues.finditer(before)]
    return any(_reaches(words, strict) for words in between) or bool(_DENIED_AFTER.match(after))


def _finding_denied(head: str) -> bool:
    """Whether what follows stands in a list of findings that a note denies."""
    for cue in _FINDING_DENIED.finditer(head):
        sentence = re.split(r"[!?;:\n]|\.(?!\d)", head[: cue.start()])[-1]
        if _DENIES_A_DENIAL.search(sentence) or _CONDITION.search(sentence):
            continue
        listed = head[cue.end() :]
        said = _THAT_IT_IS.match(listed)
        listed = listed[said.end() :] if said else listed
        items = re.split(r",|\b(?:and|or|nor|et|ou|ni|y|o)\b", listed)
        if not _LIST_ENDS.search(listed) and all(len(item.split()) < REACH for item in items):
            return True
    return False


def stated(text: str, start: int, end: int) -> bool:
    """Whether an answer says the phrase, as a fact or as a limit ("no returns after 30 days")."""
    return bool(_LIMIT.search(text[max(0, start - _WINDOW) : start])) or not negated(
        text, start, end, strict=True
    )


def in_question(text: str, place: int) -> bool:
    """Whether a place stands in a sentence that ends with a question mark."""
    ends = _END.search(text, place)
    return bool(ends and ends.group() == "?")


def _reaches(words: str, strict: bool) -> bool:
    """Whether a negation still denies after these words."""
    turned = _TURNS.search(words) or (not strict and _MAY_TURN.search(words))
    return len(words.split()) < REACH and not turned


def denials(clause: str) -> list[int]:
    """Where in a clause each negation ends: "ne … pas" is one, "not only" and "no doubt" are none."""
    known = _NO_NEGATION.sub(lambda found: " " * len(found.group()), clause)
    known = _SECOND_HALF.sub(lambda found: (found[1] + found[2]).ljust(len(found.group())), known)
    return sorted(
        {
            cue.start(): cue.end()
            for cues in (_NOT, _ANY_NO, _FINDING_DENIED)
            for cue in cues.finditer(known)
        }.values()
    )
