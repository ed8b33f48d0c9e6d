"""What a student's base model says of itself: its name on the hub, and its license."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cotdistill.config import DEMO
from cotdistill.errors import CotdistillError
from cotdistill.students.places import Place, locate, name_and_revision

LICENSE = ("license", "license_name", "license_link")  # of the hub's schema
OURS = {"license": "apache-2.0"}  # of the embedded models, as of this package


@dataclass(frozen=True)
class BaseFacts:
    """`hub_name`: None for a local model, which the hub does not know; `license`: fields of the hub's schema."""

    hub_name: str | None = None
    license: Mapping[str, Any] = field(default_factory=dict)


def base_facts(student: str) -> BaseFacts:
    """What is known of the model a student was trained from. Whatever cannot be read is not known."""
    if student == DEMO:
        return BaseFacts(license=OURS)
    local = Path(student).expanduser().exists()
    try:
        readme = _readme(locate(student))
    except CotdistillError:  # it is gone since it was loaded
        readme = None
    return BaseFacts(None if local else name_and_revision(student)[0], {} if readme is None else license_of(readme))


def license_of(readme: Path) -> dict[str, Any]:
    """The license fields of a model card's front matter; none where it cannot be read."""
    try:
        text = readme.read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("\n---", 1)[0].removeprefix("---")) if text.startswith("---") else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    found = front if isinstance(front, Mapping) else {}
    return {name: found[name] for name in LICENSE if isinstance(found.get(name), str)}


def _readme(place: Place) -> Path | None:
    """The model card of a model, or of the base of an adapter."""
    weights = place.weights
    if weights.commit is None:
        return Path(weights.where) / "README.md"
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(weights.where, "README.md", revision=weights.commit))
    except Exception:  # the hub's, the transport's; most of all: there is none
        return None
