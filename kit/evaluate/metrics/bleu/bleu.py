"""BLEU: word n-grams shared with the reference, over all answers together."""

import re

import numpy as np

from kit.data.words import CJK
from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.ngrams import ngram_counts
from kit.evaluate.statistics import Floats

_ORDER = 4
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_APART = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
    (re.compile(rf"([{CJK}])"), r" \1 "),
)


class Bleu(CorpusMetric):
    """BLEU-4 with one reference, the tokens of mteval-v13a, and its smoothing of orders without a match."""

    label = "Word sequences shared with the reference (BLEU)"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    formula = "100·min(1, e^(1 - r/c))·geometric mean of the shares of shared word 1- to 4-grams"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer`."""
        return bool(str(reference.get("answer") or "").strip())

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The answer's own BLEU, 0 to 100, from the orders that it is long enough for."""
        counts = np.array(self.counts(prediction, reference))
        orders = max(1, int(np.sum(counts[0::3] > 0)))
        return float(_bleu(counts, orders)), []

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """For each order: n-grams of the answer, of the reference, and shared ones."""
        counts = ngram_counts(_tokens(prediction), _tokens(str(reference["answer"])), _ORDER)
        return [count for order in counts for count in order]

    def statistic(self, sums: Floats) -> Floats:
        """BLEU of each row of sums."""
        return _bleu(sums, _ORDER)


def _bleu(sums: Floats, orders: int) -> Floats:
    given, wanted, shared = (sums[..., place::3][..., :orders] for place in range(3))
    # The k-th order without a match counts as 1 / 2^k of one, as in mteval-v13a.
    unmatched = (given > 0) & (shared == 0)
    smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=-1), shared)
    precisions = smoothed / np.maximum(given, 1)
    with np.errstate(divide="ignore"):
        mean = np.exp(np.mean(np.log(precisions), axis=-1))
    brevity = np.exp(np.minimum(0, 1 - wanted[..., 0] / np.maximum(given[..., 0], 1)))
    score: Floats = 100 * brevity * np.where(shared.sum(axis=-1) > 0, mean, 0)
    return score


def _tokens(text: str) -> tuple[str, ...]:
    """The tokens of mteval-v13a; in Chinese, Japanese and Korean, characters."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, apart in _APART:
        text = pattern.sub(apart, text)
    return tuple(text.split())
