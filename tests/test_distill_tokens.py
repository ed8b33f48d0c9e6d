"""What `distill` computes is what tests and benchmarks measure: prefixes of one example are computed once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.in_process import run
from tests.models import items, student
from tests.training.learning import encode

MERGED = [["mt-cot"], ["mt-ra"], ["edit-krsl"], ["scott", "tags=none"], ["scott", "tag_place=last"]]


@pytest.mark.parametrize("lora", [[], ["--lora", "r=2,alpha=4"]], ids=["whole", "lora"])
@pytest.mark.parametrize("strategy", MERGED, ids=" ".join)
def test_distill_merges_what_the_tests_merge(
    strategy: list[str], lora: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pupil = student("gpt2")
    pupil.save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(item.line() + "\n" for item in items(6)))
    name, *params = strategy
    given = [part for param in params for part in ("--param", param)]
    done = run(
        "distill",
        str(tmp_path / "rows.jsonl"),
        "--strategy",
        name,
        *given,
        *lora,
        "--steps",
        "1",
        "--student",
        str(tmp_path / "base"),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    )
    assert done.code == 0, done.err
    from cotdistill.strategies.registry import create

    made = create(name, dict(param.split("=") for param in params))
    counted = {sharing: encode(pupil, made, 6, sharing).input_tokens() for sharing in (None, "none")}
    assert json.loads(done.out)["input_tokens"] == counted[None] < 0.8 * counted["none"]
