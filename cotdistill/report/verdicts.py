"""The first screen of a report: the verdict in a sentence per arm, and what the numbers cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.data.files import JsonObject
from cotdistill.report.comparison import Results
from cotdistill.report.description import Description
from cotdistill.report.page import Figure, First


def first_screen(
    results: Results,
    description: Description,
    comparisons: Sequence[JsonObject],
    records: Sequence[JsonObject],
    figures: Sequence[Figure],
) -> First:
    """Of an ablation: every strategy against the baseline, in domain."""
    asked = judged_on(results, description)
    verdicts = [
        record for record in on_set(asked, description, comparisons) if not _is_control(results, record["name"])
    ]
    figure = next((drawn for drawn in figures if drawn.name == "forest"), None)
    return First(
        [record["sentence"] for record in verdicts] or ["No arm could be compared with the baseline."],
        [*missing(results, description, records), *too_small(verdicts)],
        figure,
        f"{asked}, {'in' if asked == description.in_domain else 'out of'} domain" if len(results.sets) > 1 else "",
    )


def judged_on(results: Results, description: Description) -> str:
    """The first set of the training domain, or the first of all."""
    return description.in_domain if description.in_domain in results.sets else next(iter(results.sets), "")


def on_set(name: str, description: Description, comparisons: Sequence[JsonObject]) -> list[JsonObject]:
    """The comparisons with the baseline on one set."""
    return [record for record in comparisons if record["sets"] == [name] and record["baseline"] == description.baseline]


def missing(results: Results, description: Description, records: Sequence[JsonObject]) -> list[str]:
    """What the design of the grid leaves open."""
    lines = []
    if len(description.config["seeds"]) == 1:
        lines.append(
            "How far another training run would differ: there is a single seed, and no interval holds its noise."
        )
    if not description.swept:
        lines.append(
            "Whether a difference is one of strategies or of training options: no arm was tuned (--sweep lr=...)."
        )
    if not any(record["role"] == "control" for record in results.records):
        lines.append("Whether it is the rationales that help: no controls were run.")
    if failed := [str(record["cell"]) for record in records if "error" in record]:
        lines.append(f"Anything about the cells that failed: {', '.join(failed[:5])}{' ...' * (len(failed) > 5)}.")
    return lines


def too_small(comparisons: Sequence[JsonObject]) -> list[str]:
    """Differences that were not found and could not have been."""
    lost = [c for c in comparisons if c["p_holm"] >= 0.05]
    blind = [c for c in lost if c["detectable"] is None]
    unseen = [c for c in lost if c["detectable"] is not None and abs(c["difference"]) < c["detectable"]]
    lines = [f"Whether {_differ(blind)} from the baseline: any difference would have been missed."] if blind else []
    if unseen:
        least, most = (100 * pick(c["detectable"] for c in unseen) for pick in (min, max))
        size = f"{least:.1f}" if round(least, 1) == round(most, 1) else f"{least:.1f} to {most:.1f}"
        lines.append(
            f"Whether {_differ(unseen)} from the baseline by less than {size} points: smaller differences than that "
            "would have been missed."
        )
    return lines


def _differ(comparisons: Sequence[JsonObject]) -> str:
    names = list(dict.fromkeys(c["name"] for c in comparisons))
    return f"{', '.join(names)} really {'differ' if len(names) > 1 else 'differs'}"


def _is_control(results: Results, arm: str) -> bool:
    return all(record["role"] == "control" for record in results.of(arm))
