"""Probe tables: a row compares one measure of all runs, a dash where a run has none."""

from __future__ import annotations

from typing import Any

from cotdistill.report.evaluation_page import probe_table
from cotdistill.report.probes import estimate_text, headline, measured

SUPPORTS = {"estimate": 0.9, "interval": [0.8, 0.95], "floor": 0.25}
FULL: dict[str, Any] = {"n": 9, "headline": "supports", "supports": SUPPORTS, "conclusion": {"n": 0}}
MENTION: dict[str, Any] = {"n": 9, "headline": "last_mention", "last_mention": SUPPORTS, "supports": {"n": 0}}


def test_a_run_without_the_rows_measure_gets_a_dash() -> None:
    assert (headline(FULL), headline(MENTION)) == ("supports", "last_mention")
    assert measured(MENTION, "last_mention")
    assert estimate_text(FULL, "supports") == "90.0 [80.0, 95.0]"
    assert estimate_text(MENTION, "supports") == "-"
    made = [{"name": name, "probes": {"consistency": probe}} for name, probe in (("a", FULL), ("b", MENTION))]
    assert [value.text for value in probe_table("id", made).rows[0]][2:] == ["90.0 [80.0, 95.0]", "-", "25.0"]
