"""RUN/README.md, a Hugging Face model card: what was trained, how to ask it, and its results.

Its front matter is the hub's schema (huggingface_hub's `ModelCardData`): `base_model`, `datasets` and `license` where
they are known, `model-index` once the run was evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cotdistill.data.hub import ADAPTERS
from cotdistill.data.runcard import RunCard
from cotdistill.escaping import markdown, markdown_code
from cotdistill.export.base_model import BaseFacts
from cotdistill.export.card_results import results_section
from cotdistill.export.manual import manual
from cotdistill.strategies.forms import Strategy
from cotdistill.students.encode import Encoder
from cotdistill.training.lora import parse_lora


def model_card(card: RunCard, strategy: Strategy, encoder: Encoder, base: BaseFacts) -> str:
    """RUN/README.md in Markdown. `encoder`: of the student as it is saved; `base`: what is known of its base model."""
    name, trained_by = markdown(card.student["name"]), markdown(card.strategy["name"])
    return (
        f"---\n{_front_matter(card, base)}---\n\n"
        f"# {name} distilled with {trained_by}\n\n"
        f"A student of {card.student['parameters']:,} parameters that answers questions as it was taught by rationales "
        f"of a larger model, with the strategy {trained_by} ({markdown(card.strategy['paper'])}) of cotdistill.\n\n"
        f"## Results\n\n{results_section()}\n\n"
        f"{manual(strategy, encoder, _adapter_alone(card))}"
        f"## Training\n\n{_training(card)}"
        f"## License\n\n{_license(base)}"
    )


def _front_matter(card: RunCard, base: BaseFacts) -> str:
    datasets = sorted({ADAPTERS[task].repo for task in card.data.get("tasks", ()) if task in ADAPTERS})
    about: dict[str, Any] = {
        **base.license,
        **({"base_model": base.hub_name} if base.hub_name else {}),
        **({"datasets": datasets} if datasets else {}),
        "library_name": "peft" if _adapter_alone(card) is not None else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["cotdistill", "distillation", card.strategy["name"]],
    }
    return str(yaml.safe_dump(about, sort_keys=False, default_flow_style=None, allow_unicode=True))


def _adapter_alone(card: RunCard) -> int | None:
    """The rank of adapters that are saved without their base; None where the weights are whole."""
    given = card.config.get("lora")
    return parse_lora(given).r if given and not card.config.get("merge_lora", True) else None


def _training(card: RunCard) -> str:
    params = ", ".join(f"{k}={v}" for k, v in card.strategy["params"].items()) or "none"
    tasks = ", ".join(map(markdown_code, card.data.get("tasks", ()))) or "not named in the rows"
    teachers = ", ".join(map(markdown_code, card.data.get("teachers", ()))) or "not named in the rows"
    kept = "The adapters are kept in `adapter`, beside the merged weights.\n" if _adapter_beside(card) else ""
    return (
        f"- base model: {markdown_code(card.student['name'])}\n"
        f"- data: {card.data['trained_on']} of {card.data['rows']} rows of "
        f"{markdown_code(Path(card.data['source']).name)}; tasks: {tasks}; rationales by: {teachers}\n"
        f"- {card.trained['steps']} optimizer steps, seed {card.config['seed']}, strategy parameters: "
        f"{markdown(params)}\n\n"
        f"Forms that it learned:\n\n{_forms(card.strategy)}\n\n{kept}"
        f"Run key: `{card.key}`. Everything else is in `run.json`.\n\n"
    )


def _adapter_beside(card: RunCard) -> bool:
    return bool(card.config.get("lora") and card.config.get("keep_adapter"))


def _forms(strategy: Mapping[str, Any]) -> str:
    return "\n".join(
        f"- {markdown_code(form['name'])} (share {form['share']:g}, {form['kind']}): "
        f"{markdown_code(repr(form['source']))} -> "
        + " ".join(markdown_code(repr(text)) + ("" if weight else " (given)") for text, weight, *_ in form["target"])
        for form in strategy["forms"]
    )


def _license(base: BaseFacts) -> str:
    known = base.license.get("license_name") or base.license.get("license")
    said = f"The base model's license is {markdown_code(str(known))}" if known else "The base model's is not known here"
    return (
        f"{said}. The student is derived from it, from the training rows and from what the teacher wrote: their terms "
        "apply, too.\n"
    )
