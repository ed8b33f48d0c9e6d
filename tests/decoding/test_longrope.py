"""Longrope (Phi-3): beyond a length one row would change the frequencies of its batch; such rows are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

from cotdistill.students.student import Student
from tests.in_process import run
from tests.models import items, tokenizer
from tests.training.learning import encode

SWITCH = 200


def phi() -> Student:
    words = tokenizer("byte-bpe")
    half = 8 // 2
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * half,
        "long_factor": [4.0] * half,
        "original_max_position_embeddings": SWITCH,
    }
    torch.manual_seed(0)
    return Student(
        Phi3ForCausalLM(
            Phi3Config(
                vocab_size=len(words),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=800,
                original_max_position_embeddings=SWITCH,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
                rope_parameters=rope,
            )
        ).eval(),
        words,
    )


def test_what_a_row_gives_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    pupil = phi()
    assert pupil.context == SWITCH
    long = items(2)[1].model_copy(update={"question": "Where is it? " * 60})
    data = encode(pupil, "cot", rows=[items(1)[0], long])
    assert dict(data.dropped) == {"longer than the student's context": 1}
    assert data.ids == ["row-0"]
    rows, out = tmp_path / "rows.jsonl", tmp_path / "run"
    rows.write_text(items(1)[0].line() + "\n" + long.line() + "\n")
    pupil.save(tmp_path / "base")
    asked = [
        "distill",
        str(rows),
        "--student",
        str(tmp_path / "base"),
        "--steps",
        "1",
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    done = run(*asked)
    assert done.code == 3
    assert "1 longer than the student's context" in done.errors[0]
    done = run(*asked, "--max-length", "700")
    assert (done.code, done.errors) == (
        2,
        [
            "error: --max-length 700: above 200 tokens one row changes the rotary positions of its whole batch "
            "(longrope); give at most 200"
        ],
    )


@pytest.mark.parametrize("length", [SWITCH + 60])
def test_a_longer_row_would_have_shifted_a_short_one(length: int) -> None:
    model = phi().model
    short, long = torch.arange(30)[None] % 50 + 1, torch.arange(length)[None] % 50 + 1
    beside = torch.zeros_like(long)
    beside[:, :30] = short
    with torch.no_grad():
        alone = model(short).logits[0]
        together = model(torch.cat([beside, long])).logits[0, :30]
    assert float((alone - together).abs().max()) > 1e-4
