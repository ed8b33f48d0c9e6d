"""The shipped models are the ones their build.json describes, and small."""

from __future__ import annotations

import json

import pytest
from transformers import AutoModelForCausalLM

from cotdistill.data.files import file_digest
from cotdistill.demo.build import EMBEDDED_MODELS
from cotdistill.demo.tokenizer import build_tokenizer
from cotdistill.students.places import demo_model
from cotdistill.world import questions as world


@pytest.mark.parametrize("role", EMBEDDED_MODELS)
def test_a_shipped_model_is_the_one_that_was_built(role: str) -> None:
    folder = demo_model(role)
    card = json.loads((folder / "build.json").read_text())
    assert card["world"] == world.VERSION
    assert card["sha256"] == file_digest(folder / "model.safetensors")
    assert json.loads((folder / "tokenizer.json").read_text()) == json.loads(
        build_tokenizer().backend_tokenizer.to_str()
    )
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == card["parameters"]


def test_the_shipped_models_stay_under_two_megabytes() -> None:
    files = [path for role in EMBEDDED_MODELS for path in demo_model(role).iterdir()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
