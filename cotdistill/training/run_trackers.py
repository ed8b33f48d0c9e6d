"""The trackers that `--track` names, told of a run while it trains.

What they print goes to stderr, for stdout is for results. One that does not start is said before the first step; one
that fails later stops nothing: what it was to be told is in metrics.jsonl.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from cotdistill.console import warn
from cotdistill.errors import CotdistillError, Unavailable
from cotdistill.escaping import one_line


def start_trackers(accelerator: Accelerator, named: Sequence[str], options: Mapping[str, Any]) -> None:
    """`named`: by --track; `options`: of the run. Raises `Unavailable` where a tracker does not start: its server, or
    an account, is missing."""
    values = {name: str(value) for name, value in options.items()}
    try:
        with redirect_stdout(sys.stderr):
            accelerator.init_trackers("cotdistill", values)
    except CotdistillError:
        raise
    except Exception as error:  # whatever a tracker or its server raises
        raise Unavailable(f"--track {','.join(named)}: {_said(error)}; training did not begin") from error


def tell_trackers(accelerator: Accelerator, values: Mapping[str, float], step: int) -> None:
    """Values of one optimizer step. No name may be a folder of another one: MLflow's file store makes files of them."""
    _each(accelerator, lambda tracker: tracker.log(dict(values), step=step))


def finish_trackers(accelerator: Accelerator) -> None:
    """The run is over."""
    _each(accelerator, lambda tracker: tracker.finish())
    accelerator.trackers.clear()


def _each(accelerator: Accelerator, call: Callable[[GeneralTracker], object]) -> None:
    """A tracker that raises is told nothing more."""
    for tracker in list(accelerator.trackers):
        try:
            with redirect_stdout(sys.stderr):
                call(tracker)
        except Exception as error:  # whatever a tracker or its server raises
            accelerator.trackers.remove(tracker)
            warn(f"--track {tracker.name}: {_said(error)}; training goes on without it")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))}"
