"""Names of the hub without a network: one line at once, and what is in the cache still loads."""

from __future__ import annotations

import json
import time
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from cotdistill.data.network import unreachable_hub
from tests.in_process import run
from tests.models import items, student


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's address is one where nobody listens."""
    unreachable_hub.cache_clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "command",
    [
        ["distill", "ROWS", "--student", "some/model", "--steps", "1", "--out", "OUT"],
        ["evaluate", "some/model", "--strategy", "cot", "--data", "ROWS", "--out", "OUT"],
        ["elicit", "--teacher", "some/model", "--data", "ROWS", "-o", "OUT"],
        ["elicit", "--teacher", "some/model", "--data", "ROWS", "--dry-run"],
        ["elicit", "--teacher", "rows", "--data", "hf:gsm8k", "-o", "OUT"],
    ],
)
def test_an_unreachable_hub_is_said_at_once(command: list[str], tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text("".join(row.line() + "\n" for row in items(3)))
    if command[0] != "distill":
        fields = {"id", "question", "choices", "answer"}
        rows.write_text("".join(json.dumps(row.model_dump(include=fields)) + "\n" for row in items(3)))
    began = time.monotonic()
    done = run(*({"ROWS": str(rows), "OUT": str(out)}.get(word, word) for word in command))
    assert time.monotonic() - began < 5
    assert done.code == 6, done.err
    assert len(done.errors) == 1
    assert "http://127.0.0.1:9 cannot be reached (" in done.errors[0]
    assert len(done.err.splitlines()) == 1
    assert not out.is_file()
    assert not (out / "run.json").exists()


@pytest.mark.usefixtures("no_hub")
def test_a_cached_model_loads_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--some--model"
    student("gpt2").save(kept / "snapshots" / "abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    from cotdistill.students.load import load_student

    assert load_student("some/model").context == 512


def test_offline_mode_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = run("elicit", "--teacher", "some/model", "--dry-run")
    assert (done.code, done.errors) == (
        6,
        [
            "error: cannot load the model 'some/model': no such folder, not in the hub's local cache, and "
            "HF_HUB_OFFLINE is set"
        ],
    )
