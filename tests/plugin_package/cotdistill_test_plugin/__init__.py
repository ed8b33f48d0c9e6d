"""A real plug-in package: installed by the tests, found by its entry points."""

from collections.abc import Iterator, Sequence
from typing import Any

from cotdistill.plugins import Checker, RationaleCheck, Step, checker, data_set, extractor
from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.strategies.registry import strategy


@strategy("echo")
def echo(times: int = 1) -> Strategy:
    """The answer, said once or more.

    Paper: none, a test.
    Loss: mean over all target tokens.
    """
    target = tuple(learn(" {answer}") for _ in range(times))
    return Strategy("echo", "a test", (Form("answer", "{question}\nEcho:", target),), plan=("answer",))


@data_set("echoes", evaluated=("test",))
def echoes(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Words to be said again."""
    for word in ("one", "two") if split == "train" else ("three",):
        yield {"question": f"Say {word}.", "answer": word, "rationale": f"It is {word}."}


@checker("echoes")
class Echoes(Checker):
    """One sentence, the word."""

    def check(self, question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
        if not question.startswith("Say "):
            return None
        word = rationale.removeprefix("It is ").removesuffix(".")
        steps = (Step(rationale, word == question[4:-1], linked=True, says=word),) if rationale else ()
        return RationaleCheck(steps, word or None, bool(steps))


@extractor("last-word")
def last_word(output: str, choices: tuple[str, ...] | None, kind: str) -> str | None:
    """The last word, whatever it is."""
    return output.split()[-1] if output.split() else None
