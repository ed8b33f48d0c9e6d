"""A teacher from outside: what its author writes, and what is held of it while it is asked.

@teacher("parrot")
def parrot(config: ElicitConfig) -> Teacher:
    return Parrot()

class Parrot(TextTeacher):
    name = "parrot"

    def answer(self, call: Call) -> str:
        return f"It says so. So the answer is {call.example.answer}."
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.errors import UsageError
from cotdistill.plugins.guard import guarded_call, plugin_code
from cotdistill.plugins.kinds import TEACHERS
from cotdistill.plugins.registry import Entry
from cotdistill.teachers.calls import Call, Deliver, Reply, Teacher
from cotdistill.teachers.drain import Drain


class TextTeacher(ABC):
    """A teacher that gives one text per call; every other part of `Teacher` has a default."""

    name = "a plug-in's teacher"
    style = "completion"
    context: int | None = None
    settings: Mapping[str, Any] = {}

    @abstractmethod
    def answer(self, call: Call) -> str:
        """The rationale and its answer, for `call.prompt`."""

    def wrap(self, prompt: str) -> str:
        """The prompt as it is."""
        return prompt

    def count(self, text: str) -> int:
        """Words in place of tokens."""
        return len(text.split())

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """One call after the other."""
        for call in calls:
            if drain.asked:
                return
            deliver(call, Reply(self.answer(call)))

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Not available."""
        raise UsageError(f"the teacher {self.name} gives no probabilities; omit --wrong hardest")


class PluginTeacher:
    """A plug-in's teacher: what it raises or leaves undone is one line that names it; its code is in its settings."""

    def __init__(self, own: Teacher, where: str, code: str) -> None:
        self.own, self.where, self.code = own, where, code
        with plugin_code(where):
            self.name, self.style, self.context = str(own.name), own.style, own.context

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its own, and the digest of its code."""
        with plugin_code(self.where):
            return {**self.own.settings, "plugin": self.code[:8]}

    def wrap(self, prompt: str) -> str:
        """The prompt as it is sent."""
        return guarded_call(self.own.wrap, self.where)(prompt)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return guarded_call(self.own.count, self.where)(text)

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Raises `UsageError` where a call is left unanswered."""
        stdout, answered = sys.stdout, 0

        def received(call: Call, reply: Reply) -> None:
            nonlocal answered
            if not isinstance(reply, Reply) or not isinstance(reply.text, str):
                raise UsageError(f"{self.where}: delivered {reply!r:.80}, not a Reply with text")
            answered += 1
            with redirect_stdout(stdout):  # rows go there, whatever the plug-in prints
                deliver(call, reply)

        with plugin_code(self.where):
            self.own.ask(calls, received, drain)
        if answered < len(calls) and not drain.asked:
            raise UsageError(f"{self.where}: answered {answered} of {len(calls)} calls")

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation."""
        return guarded_call(self.own.rank, self.where)(prompt, continuations)


def registered_teacher(name: str) -> Entry[Any] | None:
    """The plug-in that `--teacher NAME` or `--teacher NAME:MODEL` means; None for every other teacher."""
    return TEACHERS.find(name.partition(":")[0])


def open_plugin_teacher(entry: Entry[Any], config: ElicitConfig) -> Teacher:
    """The teacher that a plug-in makes for a configuration."""
    where = f"teacher {entry.name!r} of {entry.origin}"
    with plugin_code(where):
        own: Any = entry.value(config) if entry.value else None
    missing = [name for name in ("name", "ask", "wrap", "settings", "rank", "count") if not hasattr(own, name)]
    if missing:
        raise UsageError(f"{where}: returned a {type(own).__name__} without {missing[0]}, not a Teacher")
    return PluginTeacher(own, where, entry.code or "")
