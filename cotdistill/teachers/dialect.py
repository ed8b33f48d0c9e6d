"""The dialect of one server: its path, and the parameters it accepts, learnt from its refusals.

Servers differ in whether they know max_completion_tokens or max_tokens, whether they take temperature 0, a
seed or stop words, and where their path begins. A refusal that names a parameter, or knows no such path,
leads to the next variant; the one that worked is used for all later requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cotdistill.teachers.faults import Fault

NEW_LIMIT, OLD_LIMIT = "max_completion_tokens", "max_tokens"
GREEDY = 0.0  # the temperature of greedy decoding; only this one, which no user typed, is ever changed
NEARLY_GREEDY = 0.01  # for servers that want a temperature above 0
ABOVE_ZERO = re.compile(r"(?i)positive|greater|above|larger|>|at least|minimum|between|range")
FIXED = re.compile(r"(?i)default|not support|unsupported|only|deprecated|not permitted|unknown|unrecogni[sz]ed")


@dataclass(frozen=True)
class Dialect:
    """base: which of the server's base URLs; limit: the name of the token limit; temperature: what greedy
    decoding sends, None: nothing; without: parameters that it refuses."""

    base: int = 0
    limit: str = NEW_LIMIT
    temperature: float | None = GREEDY
    without: frozenset[str] = frozenset()

    def adapted(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request in this dialect."""
        sent = {
            self.limit if name == NEW_LIMIT else name: value
            for name, value in request.items()
            if name not in self.without
        }
        if sent.get("temperature") == GREEDY:
            sent["temperature"] = self.temperature
        return {name: value for name, value in sent.items() if value is not None}

    def after(self, fault: Fault, bases: int, request: Mapping[str, Any]) -> Dialect | None:
        """The dialect to try after a refusal; None: no other would help."""
        if fault.no_path and self.base + 1 < bases:
            return replace(self, base=self.base + 1)
        sent = self.adapted(request)
        for name in (NEW_LIMIT, "temperature", "seed", "stop"):
            if name in sent and fault.refuses(name) and (other := self._other(name, fault, request)):
                return other
        return None

    def _other(self, name: str, fault: Fault, request: Mapping[str, Any]) -> Dialect | None:
        """Without, or in place of, one parameter."""
        if name == NEW_LIMIT:
            return replace(self, limit=OLD_LIMIT)
        if name != "temperature":
            return replace(self, without=self.without | {name})
        if request["temperature"] != GREEDY:
            return None
        fixed = FIXED.search(fault.words) and not ABOVE_ZERO.search(fault.words)
        return replace(self, temperature=None if fixed or self.temperature == NEARLY_GREEDY else NEARLY_GREEDY)

    def served(self) -> dict[str, Any]:
        """The changes to a greedy request, for the record; empty: none."""
        if self.temperature == GREEDY:
            return {}
        return {"temperature": "default" if self.temperature is None else self.temperature}
