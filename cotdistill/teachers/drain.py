"""Ctrl-C while a teacher answers: calls under way are finished and kept, no new one is begun."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from cotdistill.console import say


class Drain:
    """Inside this context the first Ctrl-C sets `asked`; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Drain:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        say("finishing the calls in flight; press Ctrl-C again to stop at once")
