"""A model card's results: `model-index` in its front matter, and the section that shows it as a table.

`evaluate` renews both and nothing else. The section is made from the front matter, which keeps the results of
earlier evaluations; it stands between two comments, so that the rest may be edited by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaml import YAMLError

from cotdistill.data.files import write_text
from cotdistill.errors import DataError
from cotdistill.escaping import markdown

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

BEGIN, END = "<!-- results: renewed by cotdistill evaluate -->", "<!-- end of results -->"
_SECTION = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
NONE_YET = "Not evaluated yet; `cotdistill evaluate . --data FILE` writes its accuracy, with intervals, here."


def note_in_card(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Put the results of one run into the front matter and the results section of its README.md.

    A result replaces an earlier one on the same set and metric. Raises `DataError` where the file or its
    front matter cannot be read.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    data: Any  # of a card, without types

    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else "---\nlibrary_name: transformers\n---\n"
        card = ModelCard(text, ignore_metadata_errors=False)
    except (OSError, ValueError, TypeError, YAMLError) as error:
        what = str(error).splitlines()[0]
        raise DataError.at(str(path), None, f"cannot be read: {what}", "correct it, or remove the file") from None
    fresh = [EvalResult(**fields) for record in records for fields in results_of(record)]
    replaced = {(result.dataset_type, result.metric_type) for result in fresh}
    data = card.data
    others = [result for result in data.eval_results or () if (result.dataset_type, result.metric_type) not in replaced]
    results = [*others, *fresh]
    fields = {**data.to_dict(), "model_name": records[0]["strategy"], "eval_results": results}
    fields.pop("model-index", None)
    card.data = ModelCardData(**fields)
    write_text(path, _renewed(str(card), results_section(results)))


def results_section(results: Sequence[EvalResult] = ()) -> str:
    """The section with its two comments."""
    if not results:
        return f"{BEGIN}\n{NONE_YET}\n{END}"
    lines = ["| questions | metric | value | 95 % interval | n |", "|---|---|---|---|---|"]
    for result in results:
        args = result.metric_args or {}
        interval, n = args.get("interval_95"), args.get("n", "")
        shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        names = markdown(str(result.dataset_name)), markdown(str(result.metric_name or result.metric_type))
        lines.append(f"| {' | '.join(names)} | {_number(result.metric_value)} | {shown} | {n} |")
    return "\n".join([BEGIN, *lines, END])


def results_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy, and the headline of each probe that applied, of one record."""
    low, high = record["interval"]
    about = {"task_type": "question-answering", "dataset_type": record["set"], "dataset_name": record["set"]}
    results = [
        {
            **about,
            "metric_type": "accuracy",
            "metric_name": "accuracy",
            "metric_value": record["accuracy"],
            "metric_args": {
                "interval_95": [low, high],
                "n": record["n"],
                "extractor": record["extractor"],
                "score": record["score"],
                "connectors": record["connectors"],
            },
        }
    ]
    for probe, metrics in (record.get("probes") or {}).items():
        what = metrics.get("headline")
        if what and isinstance(metrics.get(what), Mapping) and "estimate" in metrics[what]:
            results.append(
                {
                    **about,
                    "metric_type": f"{probe}-{what}",
                    "metric_name": f"{probe}: {what}",
                    "metric_value": metrics[what]["estimate"],
                    "metric_args": {"interval_95": metrics[what].get("interval"), "floor": metrics[what].get("floor")},
                }
            )
    return results


def _renewed(text: str, section: str) -> str:
    """The text with its results section replaced; a card without one gets it at its end."""
    if _SECTION.search(text):
        return _SECTION.sub(lambda _: section, text, count=1)
    return f"{text.rstrip()}\n\n## Results\n\n{section}\n"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else markdown(str(value))
