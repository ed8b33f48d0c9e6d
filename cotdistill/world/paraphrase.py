"""A second wording of a rationale: the same steps, in sentences that no rationale of this world is written in.

    A drill is a tool. A tool is found in the workshop.
    A thing that is a drill is a tool. A tool is kept in the workshop.

Every word of the second wordings is a word of the world, so that a student that does not know them as sentences
knows at least their words.
"""

from __future__ import annotations

from cotdistill.world.checker import sentences
from cotdistill.world.problem import reader
from cotdistill.world.questions import parse


def paraphrase(question: str, rationale: str) -> str | None:
    """The rationale reworded, true or not; a sentence outside of the grammar stays as it is.

    None for a question that is none of this world's, and where no sentence can be reworded.
    """
    problem = parse(question)
    if problem is None:
        return None
    said = sentences(rationale)
    reworded = [_reworded(sentence, problem.wordings) for sentence in said]
    return " ".join(reworded) if reworded != said else None


def _reworded(sentence: str, wordings: tuple[tuple[str, str], ...]) -> str:
    for first, second in wordings:
        if found := reader(first).fullmatch(sentence):
            return second.format(*found.groups())
    return sentence
