"""cotdistill: compare ways to distil chain-of-thought reasoning into a small language model.

    import cotdistill as cd

    rows = cd.elicit(limit=64)
    run = cd.distill(rows, strategy="cascod", steps=50, out="runs/cascod")
    print(cd.evaluate(run, data="heldout.jsonl").figures[0]["accuracy"])

Each command of the command line is a function of the same name here, with the same options (`cotdistill.api`). They
are loaded at first use: importing the package imports neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cotdistill.api import ablate as ablate
    from cotdistill.api import compare as compare
    from cotdistill.api import distill as distill
    from cotdistill.api import elicit as elicit
    from cotdistill.api import evaluate as evaluate
    from cotdistill.api import load as load
    from cotdistill.api import predict as predict
    from cotdistill.api import push as push

__version__ = "0.1.0"
__all__ = ["__version__", "ablate", "compare", "distill", "elicit", "evaluate", "load", "predict", "push"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cotdistill import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
