"""Share of answers whose every full line is in the language asked for."""

from kit.data.language import language_code
from kit.evaluate.item_metric import Judgement, Reference
from kit.evaluate.language_metric import SHORTEST_LINE, LanguageMetric


class LanguageFidelity(LanguageMetric):
    """1 if every line of 5 words or more is in the row's `language`; None if no line is that long."""

    label = "Answers in the right language"
    kind = "rate"
    formula = (
        "answers whose every line of 5 or more words is in the asked language / answers with such a line"
    )

    def judge(self, prediction: str, reference: Reference) -> Judgement:
        """1, or 0 with the languages found instead; None if every line is too short to tell.

        What was not judged is told as well, so that short answers cannot raise the rate unseen.
        """
        wanted = language_code(str(reference["language"]))
        lines, short = self.lines(prediction)
        wrong = {f"{found} where {wanted} was asked" for line in lines if (found := self.wrong(line, wanted))}
        if wrong:
            return 0.0, sorted(wrong)
        if len(short) == len(lines):
            return None, [f"not judged: no line of {SHORTEST_LINE} words"]
        return 1.0, ["has short lines that were not judged"] if short else []
