"""cotdistill: compare ways to distil chain-of-thought reasoning into a small language model.

    import cotdistill as cd

    rows = cd.elicit(limit=64)
    run = cd.distill(rows, strategy="cascod", steps=50, out="runs/cascod")
    print(cd.evaluate(run, data="heldout.jsonl").figures[0]["accuracy"])

Each command of the command line is a function of the same name here, with the same options (`cotdistill.api`). They
are loaded at first use: importing the package imports neither torch nor transformers.
"""

from __future__ import annotations

import sys
from types import ModuleType
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


class _Package(ModuleType):
    """The package, whose functions have the names of the modules that do their work.

    Importing a submodule sets it as an attribute of its package; a property is looked up first, and keeps the function.
    """

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


def _lazy(name: str) -> property:
    def load_function(package: ModuleType) -> Any:
        from cotdistill import api

        return getattr(api, name)

    return property(load_function, lambda package, module: None)


for _name in __all__[1:]:
    setattr(_Package, _name, _lazy(_name))
sys.modules[__name__].__class__ = _Package
