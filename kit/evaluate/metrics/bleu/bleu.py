"""BLEU: word n-grams shared with the reference, over all answers together."""

import re

import numpy as np
from sacrebleu.metrics import BLEU, BLEUScore

from kit.data.words import CJK
from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.statistics import Floats

_ORDER = 4
_SACREBLEU = BLEU(effective_order=True)
_CJK = re.compile(rf"([{CJK}])")


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
        return float(_score(prediction, reference).score), []

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """Shared n-grams and n-grams of the answer, by order; tokens of the answer and of the reference."""
        found = _score(prediction, reference)
        return [float(count) for count in (*found.counts, *found.totals, found.sys_len, found.ref_len)]

    def statistic(self, sums: Floats) -> Floats:
        """BLEU of each row of sums: `BLEU.compute_bleu` of sacreBLEU, for thousands of draws at once."""
        shared, given = sums[..., :_ORDER], sums[..., _ORDER : 2 * _ORDER]
        length, wanted = sums[..., -2], sums[..., -1]
        # The k-th order without a match counts as 1 / 2^k of one, as in mteval-v13a.
        unmatched = (given > 0) & (shared == 0)
        smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=-1), shared)
        with np.errstate(divide="ignore"):
            mean = np.exp(np.mean(np.log(smoothed / np.maximum(given, 1)), axis=-1))
        brevity = np.exp(np.minimum(0, 1 - wanted / np.maximum(length, 1)))
        score: Floats = 100 * brevity * np.where(shared.sum(axis=-1) > 0, mean, 0)
        return score


def _score(prediction: str, reference: Reference) -> BLEUScore:
    """What sacreBLEU says of one answer; in Chinese, Japanese and Korean, characters are words."""
    answer, wanted = (_CJK.sub(r" \1 ", text) for text in (prediction, str(reference["answer"])))
    return _SACREBLEU.sentence_score(answer, [wanted])
