"""A real plug-in package: installed by the tests, found by its entry point."""

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
