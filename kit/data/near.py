"""Nearly the same text: what it means, and how such texts are found among many.

Two texts are near when their sets of four-letter pieces overlap (Jaccard index) by the threshold and
nothing that changes the meaning differs: the same numbers in the same order, as many negations, and no
word put in another's place. Candidates come from MinHash LSH (Broder 1997; Indyk and Motwani 1998), the
verdict from the exact index. Nothing is drawn at random: the same texts give the same pairs.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kit.data.remember import remembered
from kit.data.same import normal

if TYPE_CHECKING:
    from rensa import RMinHash, RMinHashLSH

Item = TypeVar("Item")

_PIECE = 4  # characters
_SHOWN = 600  # characters of a pair's texts
BANDS, ROWS = 21, 6
HASHES = BANDS * ROWS
"""Texts of similarity 0.8 become candidates with probability 1 - (1 - 0.8^6)^21 = 0.998."""
_SLACK = 0.1
"""Three standard errors of the index as 126 hashes estimate it; a candidate further off is not looked at."""
_SEED = 42
_FEW = 24
"""Up to so many texts are compared one by one: cheaper than an index of them."""
_WORDS_A_SWAP = 50
"""One word in so many may be another: in a question it is the whole difference, in a page it is not."""

# Chinese and Japanese have no space between words: every character counts as one.
_NO_SPACES = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W_{_NO_SPACES}]+(?:'[^\W_{_NO_SPACES}]+)*")
# With the code or currency before it and the unit behind it: 5 mg is not 5 ml, AB-12 not CD-12.
_NUMBER = re.compile(
    r"(?:[$€£¥]\s?|(?<![a-z])[a-z]+[-#]?)?\d+[a-z\d]*(?:[-.,:/][a-z\d]*\d[a-z\d]*)*(?:\s?(?:[%°€]|[a-zµ]{1,2}\b))?"
)
_NAME = re.compile(r"(?<=[\w,;(] )[A-ZÀ-ÖØ-Þ][\w']+")
_SYMBOL = re.compile(r"[+±×÷^√=<>≤≥]|[-*/](?=\s?\d)|(?<=[a-z])#")
"""Signs that are no punctuation: 2 + 3 is not 2 * 3, and C not C#."""
_SLUG = re.compile(r"[a-z\d]+(?:[-_/][a-z\d]+)+")
"""A whole text that is a name in an address or in code: `office-supplies` is not "Office supplies"."""
_CONTRACTIONS = {
    "can't": "can not",
    "n't": " not",
    "'m": " am",
    "'re": " are",
    "'ve": " have",
    "'ll": " will",
}
_NEGATION = re.compile(
    r"(?:do|does|did|ca|wo|is|are|was|were|could|would|should|has|have|had)nt|cannot|n'.+"
    r"|not?|nor|never|none|nothing|without|neither|ne|pas|non|jamais|sans|aucune?|nunca|sin|ni|jamás"
    r"|[不没沒無无未非]"
)
"""English, French, Spanish and Chinese; in other languages only the words and numbers are compared."""


@dataclass(frozen=True)
class Pair:
    """The other side of a finding: where it stands, both texts, and how near they are."""

    where: str
    texts: tuple[str, str]
    """This row's and the other's."""
    similarity: float
    """The Jaccard index of the turn that is least alike."""

    def as_json(self) -> dict[str, Any]:
        """For `data.json`; long texts are shortened."""
        texts = [text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in self.texts]
        return {"where": self.where, "texts": texts, "similarity": round(self.similarity, 2)}


class NearIndex(Generic[Item]):
    """Texts that were seen, to be found again by others that are nearly the same.

    A text is a list of turns; two are near when they have as many turns and every turn is near.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        # Turns and numbers must be the same, so texts that differ there need never meet.
        self._buckets: dict[tuple[object, ...], _Bucket[Item]] = {}

    def add(self, turns: Sequence[str], item: Item) -> None:
        self._buckets.setdefault(_meaning(turns), _Bucket()).add(turns, item)

    def find(self, turns: Sequence[str]) -> tuple[Item, float] | None:
        """The nearest text that was added (of equally near ones the first), and how near it is."""
        bucket = self._buckets.get(_meaning(turns))
        best: tuple[Item, float] | None = None
        for other, item in bucket.candidates(turns, self.threshold) if bucket else ():
            near = similarity(turns, other, max(self.threshold, best[1] if best else 0.0))
            if near and (best is None or near > best[1]):
                best = item, near
                if near == 1.0:
                    break
        return best


@dataclass
class _Bucket(Generic[Item]):
    """Texts with the same numbers."""

    texts: list[tuple[tuple[str, ...], Item]] = field(default_factory=list)
    lsh: "RMinHashLSH | None" = None
    minhashes: "list[RMinHash]" = field(default_factory=list)

    def add(self, turns: Sequence[str], item: Item) -> None:
        self.texts.append((tuple(turns), item))
        if self.lsh is None and len(self.texts) > _FEW:
            from rensa import RMinHashLSH

            self.lsh = RMinHashLSH(threshold=0.8, num_perm=HASHES, num_bands=BANDS)
        if self.lsh is not None:
            for others, _ in self.texts[len(self.minhashes) :]:
                minhash = _minhash(others)
                self.lsh.insert(len(self.minhashes), minhash)
                self.minhashes.append(minhash)

    def candidates(self, turns: Sequence[str], threshold: float) -> Iterator[tuple[tuple[str, ...], Item]]:
        """In the order in which they were added."""
        if self.lsh is None:
            yield from self.texts
            return
        minhash = _minhash(tuple(turns))
        for number in sorted(self.lsh.query(minhash)):
            if self.minhashes[number].jaccard(minhash) >= threshold - _SLACK:
                yield self.texts[number]


def similarity(left: Sequence[str], right: Sequence[str], least: float) -> float | None:
    """How near two texts of as many turns are, 0 to 1, by the turn that is least alike.

    Returns:
        None if that is under `least`, or the words say that the texts mean different things. Numbers
        and negations are compared too.
    """
    return alikeness(left, right, least) if _meaning(left) == _meaning(right) else None


def alikeness(left: Sequence[str], right: Sequence[str], least: float) -> float | None:
    """As `similarity`, for texts whose `meaning_key` is known to be the same."""
    lowest = 1.0
    for one, other in zip(left, right, strict=True):
        jaccard = _jaccard(pieces(one), pieces(other), least)
        if jaccard < least:
            return None
        lowest = min(lowest, jaccard)
    pairs = list(zip(left, right, strict=True))
    same = all(_same_sense(*pair) for pair in pairs) and all(_same_question(*pair, least) for pair in pairs)
    return lowest if same else None


def words(text: str) -> list[str]:
    """The words of a text as they are compared, without punctuation."""
    line = normal(text).replace("’", "'")
    for short, full in _CONTRACTIONS.items():
        line = line.replace(short, full)
    return _WORD.findall(line)


@remembered(len)
def pieces(text: str) -> frozenset[str]:
    """All runs of four characters of the words, a space between them and around the whole."""
    line = f" {' '.join(words(text)) or normal(text)} "  # of a smile alone, the smile
    return frozenset(line[start : start + _PIECE] for start in range(max(1, len(line) - _PIECE + 1)))


def _jaccard(left: frozenset[str], right: frozenset[str], least: float) -> float:
    """Shared over all, or 0 where the sizes alone rule `least` out."""
    small, large = sorted((len(left), len(right)))
    if small < least * large:
        return 0.0
    shared = len(left & right)
    return shared / (small + large - shared)


def _meaning(turns: Sequence[str]) -> tuple[object, ...]:
    """What near texts must have the same, turn by turn: numbers and signs in order, how many negations,
    whether it is prose."""
    return tuple(_meaning_of_turn(turn) for turn in turns)


def meaning_key(turns: Sequence[str]) -> int:
    """What near texts must have the same, as a number of 64 bits."""
    said = repr(_meaning(turns)).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little")


@remembered(len)
def _meaning_of_turn(text: str) -> tuple[tuple[str, ...], tuple[str, ...], int, bool]:
    line = normal(text)
    negations = sum(_NEGATION.fullmatch(word) is not None for word in words(text))
    slug = _SLUG.fullmatch(text.strip()) is not None
    return tuple(_NUMBER.findall(line)), tuple(_SYMBOL.findall(line)), negations, slug


def _same_sense(left: str, right: str) -> bool:
    """Whether so few words stand in another's place that the texts may mean the same.

    Spelling, and little words of two letters, are no other word. A word that was added is none either,
    unless it is a name; one that moved is: from savings to checking is not from checking to savings.
    """
    one, other = _differing(*sorted((words(left), words(right))))
    allowed = min(len(words(left)), len(words(right))) // _WORDS_A_SWAP
    names = _names(left) | _names(right)
    swaps = 0
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        # Two letters are `is`, `of`, `my`; one may be all the difference, as in vitamin E and vitamin K.
        before = [word for word in one[start:end] if len(word) != 2]
        after = [word for word in other[other_start:other_end] if len(word) != 2]
        if len(before) != len(after) or not all(map(_same_word, before, after)):
            extra = names & set(before[len(after) :] + after[len(before) :])
            swaps += min(len(before), len(after)) + len(extra)
            gone.update(before)
            come.update(after)
    swaps += (gone & come).total()
    return swaps <= allowed


def _same_question(left: str, right: str, least: float) -> bool:
    """Whether the questions that two texts ask of a page are near by themselves: the page hides how much of
    the question is another.
    """
    one, other = _question(left), _question(right)
    if one is None or other is None or one == other:
        return True
    return _jaccard(pieces(one), pieces(other), least) >= least and _same_sense(one, other)


def _question(text: str) -> str | None:
    """The last of several lines that ends with a question mark, where it is the smaller part of the text."""
    lines = text.splitlines() if "\n" in text else []
    asked = next((line for line in reversed(lines) if line.rstrip().endswith(("?", "？"))), None)
    return asked if asked and 2 * len(asked) < len(text) else None


def _differing(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    """Two lists of words without the beginning and the end that they share: most of long texts is shared."""
    most = min(len(one), len(other))
    start = next((i for i in range(most) if one[i] != other[i]), most)
    rest = most - start
    end = next((i for i in range(rest) if one[-1 - i] != other[-1 - i]), rest)
    return one[start : len(one) - end], other[start : len(other) - end]


@remembered(len)
def _names(text: str) -> frozenset[str]:
    """Words with a capital inside a sentence, in the form in which words are compared."""
    return frozenset(
        word for match in _NAME.findall(unicodedata.normalize("NFKC", text)) for word in words(match)
    )


def _same_word(left: str, right: str) -> bool:
    """Equal but for one letter more or two changed about, as in plurals and slips; never one for another,
    which is how `tires` and `tiles` or two drugs differ."""
    short, long = sorted((left.replace("'", ""), right.replace("'", "")), key=len)
    if short == long:
        return True
    if len(short) < 4 or short[0] != long[0] or len(long) - len(short) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(long) > len(short):
        return short[start:] == long[start + 1 :]
    return short[start:] == long[start + 1 : start + 2] + long[start : start + 1] + long[start + 2 :]


@lru_cache(maxsize=4)  # a text is looked for, then added
def _minhash(turns: tuple[str, ...]) -> "RMinHash":
    from rensa import RMinHash

    minhash = RMinHash(num_perm=HASHES, seed=_SEED)
    # Sorted, for a set of texts has no order that holds from one process to the next.
    minhash.update(sorted(f"{turn} {piece}" for turn, text in enumerate(turns) for piece in pieces(text)))
    return minhash
