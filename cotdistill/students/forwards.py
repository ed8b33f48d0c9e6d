"""Replaces modules' forwards for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Inside the block each module's forward is the given one; blocks may be nested."""
    before = {module: vars(module).get("forward") for module in forwards}
    for module, forward in forwards.items():
        vars(module)["forward"] = forward  # an instance attribute in front of the class's method
    try:
        yield
    finally:
        for module, earlier in before.items():
            if earlier is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = earlier
