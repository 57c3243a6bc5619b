"""chrF: overlap of character n-grams with the reference, over all answers together."""

import numpy as np
from sacrebleu.metrics.helpers import extract_all_char_ngrams

from kit.evaluate.item_metric import CorpusMetric, Judgement, Reference
from kit.evaluate.statistics import Floats

_ORDER = 6
_BETA_SQUARED = 4.0


class Chrf(CorpusMetric):
    """F2 of character 1- to 6-grams without spaces, precision and recall averaged over the orders."""

    label = "Character overlap with the reference (chrF2)"
    about = "agreement"
    kind = "score"
    higher_is_better = True
    invalid_item = 0.0
    formula = "100·5PR / (4P + R), with P and R the mean shares of shared character 1- to 6-grams"

    def applies(self, reference: Reference) -> bool:
        """Whether the row has a reference `answer`."""
        return bool(str(reference.get("answer") or "").strip())

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The answer's own chrF, 0 to 100."""
        return float(self.statistic(np.array(self.counts(prediction, reference)))), []

    def counts(self, prediction: str, reference: Reference) -> list[float]:
        """For each order that the reference is long enough for: n-grams of both, and shared ones."""
        orders = [extract_all_char_ngrams(text, _ORDER) for text in (prediction, str(reference["answer"]))]
        counts = [
            (given.total(), wanted.total(), (given & wanted).total())
            for given, wanted in zip(*orders, strict=True)
        ]
        return [float(count) if order[1] else 0.0 for order in counts for count in order]

    def statistic(self, sums: Floats) -> Floats:
        """chrF of each row of sums, as sacreBLEU's of a corpus, for thousands of draws at once.

        Orders that neither text is long enough for do not count.
        """
        given, wanted, shared = (sums[..., place::3] for place in range(3))
        there = (given > 0) & (wanted > 0)
        orders = np.maximum(there.sum(axis=-1), 1)
        precision = np.where(there, shared / np.maximum(given, 1), 0).sum(axis=-1) / orders
        recall = np.where(there, shared / np.maximum(wanted, 1), 0).sum(axis=-1) / orders
        below = _BETA_SQUARED * precision + recall
        score: Floats = 100 * (1 + _BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1)
        return score
