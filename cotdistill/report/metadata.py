"""Results as the metadata block of a Hugging Face model card (`model-index`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cotdistill.data.files import write_text


def note_in_card(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Put the results of one run into the front matter of its README.md; what else stands there is kept.

    A result replaces an earlier one on the same set and metric.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    data: Any  # of a card, without types

    text = path.read_text(encoding="utf-8") if path.exists() else "---\nlibrary_name: transformers\n---\n"
    card = ModelCard(text, ignore_metadata_errors=False)
    fresh = [EvalResult(**fields) for record in records for fields in results_of(record)]
    replaced = {(one.dataset_type, one.metric_type) for one in fresh}
    data = card.data
    kept = [one for one in data.eval_results or () if (one.dataset_type, one.metric_type) not in replaced]
    fields = {**data.to_dict(), "model_name": records[0]["strategy"], "eval_results": [*kept, *fresh]}
    fields.pop("model-index", None)
    card.data = ModelCardData(**fields)
    write_text(path, str(card))


def results_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy, and the headline of each probe that applied, of one record."""
    low, high = record["interval"]
    about = {"task_type": "question-answering", "dataset_type": record["set"], "dataset_name": record["set"]}
    found = [
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
    for probe, one in (record.get("probes") or {}).items():
        what = one.get("headline")
        if what and isinstance(one.get(what), Mapping) and "estimate" in one[what]:
            found.append(
                {
                    **about,
                    "metric_type": f"{probe}-{what}",
                    "metric_name": f"{probe}: {what}",
                    "metric_value": one[what]["estimate"],
                    "metric_args": {
                        "interval_95": one[what].get("interval"),
                        "floor": one[what].get("floor"),
                    },
                }
            )
    return found
