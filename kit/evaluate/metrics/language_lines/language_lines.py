"""Mean share of an answer's full lines that are in the language asked for."""

from kit.data.language import language_code
from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.language_metric import SHORTEST_LINE, LanguageMetric


class LanguageLines(LanguageMetric):
    """The share of lines of 5 words or more in the row's `language`; None if no line is that long."""

    label = "Lines in the right language"
    kind = "score"
    formula = "mean over answers of: lines in the asked language / lines of 5 or more words"

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """The share, with the languages found instead; None if every line is too short to tell.

        A short line in another script counts, as one in the wrong language; other short lines do not.
        """
        wanted = language_code(str(reference["language"]))
        lines, short = self.lines(prediction)
        wrong = [found for line in lines if (found := self.wrong(line, wanted))]
        judged = len(lines) - len(short) + sum(1 for line in short if self.wrong(line, wanted))
        if not judged:
            return None, [f"not judged: no line of {SHORTEST_LINE} words"]
        told = sorted({f"{found} where {wanted} was asked" for found in wrong})
        return (judged - len(wrong)) / judged, told
