"""Shards of a grid: several processes, on machines that share a directory, each with a part of the cells.

Work is claimed by a lock file (`cells/.KEY.lock`), which goes with its owner: shards, and reruns of a shard,
never make a thing twice. No process waits for a thing that no other is making.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cotdistill.console import say
from cotdistill.data.lock import InUse, claimed

POLL = 0.5  # seconds between two looks at what another process is making
Element = TypeVar("Element")


@dataclass(frozen=True)
class Shard:
    """The `at`-th of `of` parts, counted from 1; each takes every `of`-th thing, so that parts are alike."""

    at: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """`2/8`; None is the whole."""
        return cls() if text is None else cls(*map(int, text.split("/")))

    def part(self, whole: Sequence[Element]) -> list[Element]:
        """Its own part."""
        return list(whole[self.at - 1 :: self.of])


class Claims:
    """What this process has claimed in `folder`. Without `several` the directory is its own and nothing is claimed."""

    def __init__(self, folder: Path, several: bool) -> None:
        self.folder, self.several = folder, several
        self.held: dict[str, ExitStack] = {}

    def take(self, key: str) -> bool:
        """Claim a key; False where another process has it."""
        try:
            self._claim(key)
        except InUse:
            return False
        return True

    def give_back(self, key: str) -> None:
        """Release a key: its work is done, or given up."""
        if key in self.held:
            self.held.pop(key).close()

    def close(self) -> None:
        """Release every key."""
        for key in list(self.held):
            self.give_back(key)

    @contextmanager
    def alone(self, key: str, what: str) -> Iterator[None]:
        """Claim a key, and wait as long as another process has it."""
        told = False
        while True:
            try:
                self._claim(key)
                break
            except InUse as error:
                if not told:
                    say(f"waiting for {what}: {error.holder} is working on it")
                told = True
                time.sleep(POLL)
        try:
            yield
        finally:
            self.give_back(key)

    def _claim(self, key: str) -> None:
        if self.several and key not in self.held:
            stack = ExitStack()
            stack.enter_context(claimed(self.folder / f".{key[:16]}.lock"))
            self.held[key] = stack
