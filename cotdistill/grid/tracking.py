"""`ablate --track`: each finished cell as a run of one group, and the comparison as the group's last.

The group is named after the grid's directory. What a tracker has been told is in `track/told.jsonl`, so that the same
command tells it only what is missing. A tracker that fails stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cotdistill.console import warn
from cotdistill.data.files import JsonObject, json_digest
from cotdistill.data.logs import append, parse_object, read_lines
from cotdistill.grid.digests import run_of
from cotdistill.grid.trackers import TABLE, Tracked, tell
from cotdistill.report.paper import comparison_table, place_of
from cotdistill.training.metrics_log import flat_losses

COUNTS = ("steps", "examples", "learned_tokens", "input_tokens", "train_flops", "rationale_words", "parameters")
COMPARED = ("difference", "p_holm", "detectable")


class Tracking:
    """Tells the trackers that `--track` names."""

    def __init__(self, trackers: Sequence[str], out: Path) -> None:
        self.out, self.root, self.group = out, out / "track", out.resolve().name
        self.told_file = self.root / "told.jsonl"
        known = read_lines(self.told_file, parse_object, repair=True) if trackers and self.told_file.exists() else []
        self.told = {(line["tracker"], line["id"]) for line in known}
        self.trackers = list(trackers)  # those that have not failed

    def cell(self, record: JsonObject) -> None:
        """A cell, or a reference, that is done; nothing of one that failed."""
        if not self.trackers or "sets" not in record:
            return
        results = {name: record[name] for name in COUNTS if name in record}
        params = {name: value for name, value in record.items() if name not in {*results, "sets", "files"}}
        self.tell(
            record["cell"],
            record.get("key") or json_digest(record),
            {name: str(value) for name, value in flat(params)},
            {**results, **dict(numbers(record["sets"]))},
            curves=list(curves(run_of(self.out, record) / "metrics.jsonl")),
        )

    def comparison(self, comparisons: Sequence[JsonObject]) -> None:
        """Every comparison of the report: as a table, and its figures as results."""
        if not self.trackers or not comparisons:
            return
        table = comparison_table(comparisons, "set", "")
        results = {
            f"{one['name']} - {one['baseline']} ({place_of(one)})/{name}": one[name]
            for one in comparisons
            for name in COMPARED
            if one[name] is not None
        }
        params = {"baseline": comparisons[0]["baseline"], "family": str(comparisons[0]["family"])}
        self.tell(TABLE, json_digest(comparisons), params, results, columns=table.raw_columns, rows=table.raw)

    def tell(self, name: str, key: str, params: Mapping[str, str], results: Mapping[str, float], **more: Any) -> None:
        """Tell every tracker of a run of which it has not heard."""
        id_ = json_digest({"group": self.group, "name": name, "key": key})[:16]
        run = Tracked(self.group, name, id_, params, results, **more)
        for tracker in [tracker for tracker in self.trackers if (tracker, id_) not in self.told]:
            try:
                tell(tracker, run, self.root)
            except Exception as error:  # whatever a tracker or its server raises
                self.trackers.remove(tracker)
                warn(f"--track {tracker}: {error}; the grid goes on, and the same command tells it what is missing")
                continue
            self.told.add((tracker, id_))
            append(self.told_file, [json.dumps({"tracker": tracker, "id": id_, "run": name}).encode()])


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def numbers(sets: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number that is known of a cell, as SET/NAME; an interval's two ends apart."""
    for chosen, metrics in sets.items():
        for name, value in flat(metrics):
            ends = zip(("low", "high"), value, strict=True) if name.endswith("interval") else ()
            for end, limit in ends:
                yield f"{chosen}/{name}.{end}", limit
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield f"{chosen}/{name}", value


def curves(metrics: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """(optimizer step, losses or dev accuracy) of a run; nothing of one that was not trained."""
    for line in read_lines(metrics, parse_object) if metrics.exists() else []:
        values = {name: value for name, value in line.items() if name not in ("step", "losses")}
        yield line["step"], {**values, **flat_losses(line.get("losses", {}))}
