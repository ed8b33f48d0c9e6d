"""`--bad-rows`: stop at the first row that cannot be read, or such rows are skipped, listed and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeVar

from cotdistill.config.common import BadRows
from cotdistill.console import warn
from cotdistill.errors import DataError

T = TypeVar("T")
LISTED = 20  # skipped rows that are shown with their reasons


STOP = BadRows()


@dataclass
class Refused:
    """The rows of one file that were refused."""

    name: str
    bad: BadRows
    rows: list[tuple[int, DataError]] = field(default_factory=list)  # several of one line in an array without breaks

    def attempt(self, line: int, make: Callable[[], T]) -> T | None:
        """The result of `make`; None where it refuses the row of that line and such rows are skipped."""
        try:
            return make()
        except DataError as error:
            if self.bad.bad_rows == "stop":
                raise
            self.rows.append((line, error))
            return None

    def tell(self, good: int) -> None:
        """List the skipped rows; `DataError` where they are too many beside `good` ones."""
        if not self.rows:
            return
        total, rows = good + len(self.rows), sorted(self.rows, key=itemgetter(0))
        for _, error in rows[:LISTED]:
            warn(f"skipped: {error}")
        if rows[LISTED:]:
            warn(f"also skipped: {', '.join(f'{self.name}:{line}' for line, _ in rows[LISTED:])}")
        if len(rows) > self.bad.max_bad_rows * total:
            raise DataError(
                f"{rows[0][1]} ({len(rows)} of {total} rows are bad, more than --max-bad-rows "
                f"{self.bad.max_bad_rows:g})"
            )
        warn(f"{self.name}: {len(rows)} of {total} rows were skipped")
