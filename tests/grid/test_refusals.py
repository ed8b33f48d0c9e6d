"""What no cell of a grid could do is refused for all strategies at once, before a model is loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.grids import question_files
from tests.in_process import run
from tests.models import items

SERVER = ("--train", "{id}", "--teacher", "openai:m", "--base-url", "http://localhost:9/v1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("refusals")
    question_files(made)
    rows = [row.model_copy(update={"rationales": row.kept("factual")}) for row in items(4)]
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in rows))
    free = {"id": "a", "question": "Who wrote it?", "answer": "someone"}
    (made / "free.jsonl").write_text(json.dumps(free) + "\n")
    return made


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ("{rows}", "--strategies", "cot,scott,mt-cot,edit-krsl"),
            3,
            ["'scott' needs counterfactual rationales", "'edit-krsl' needs counterfactual rationales"],
        ),
        ((*SERVER, "--teacher-decoding", "greedy,contrastive"), 2, ["--decode contrastive needs the probabilities"]),
        (
            ("--train", "{id}", "--teacher", "recorded:{rows}", "--teacher-decoding", "greedy,contrastive"),
            2,
            ["--decode contrastive: recorded rationales cannot be decoded again"],
        ),
        (
            (*SERVER, "--key-tokens", "2", "--key-by", "gradient-input", "--key-from", "teacher"),
            2,
            ["--key-from teacher reads gradients; name a --teacher that is a local or hub model"],
        ),
        (
            ("--data", "{free}", "--score", "choices"),
            3,
            ["free.jsonl: row 'a' has no choices to score; use --score walk"],
        ),
        (("--probe", "oracle", "--rationales", "{none}"), 3, ["none.jsonl"]),
        (("--dev", "{none}"), 3, ["none.jsonl"]),
        (("--parallel", "fsdp"), 2, ["--parallel fsdp changes nothing without --gpus-per-cell of at least 2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_is_one_line_and_nothing_is_made(
    options: tuple[str, ...],
    code: int,
    said: list[str],
    dry: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _load_nothing(monkeypatch)
    files = {path.stem: str(path) for path in folder.glob("*.jsonl")} | {"none": str(folder / "none.jsonl")}
    given = [option.format(**files) for option in options]
    data = [] if "--data" in given else ["--data", files["id"]]
    strategies = [] if "--strategies" in given else ["--strategies", "cot"]
    out = folder / "grid"
    done = run("ablate", *given, *data, *strategies, "--no-controls", "--device", "cpu", "--out", str(out), *dry)
    assert done.code == code, done.err
    (line,) = done.errors
    assert all(text in line for text in said)
    assert not out.exists()


@pytest.mark.parametrize(
    ("module", "options", "extra"),
    [
        ("math_verify", ("--extractor", "math-verify"), "math"),
        ("captum", ("--key-tokens", "2", "--key-by", "integrated-gradients"), "attribution"),
        ("peft", ("--lora", "r=2"), "lora"),
    ],
)
def test_a_package_that_is_not_installed_is_said_before_the_first_cell(
    module: str, options: tuple[str, ...], extra: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load_nothing(monkeypatch)
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)  # as an import of what is absent fails
    data, out = str(folder / "id.jsonl"), str(folder / "grid")
    given = ("--strategies", "cot", "--data", data, "--device", "cpu", "--out", out)
    done = run("ablate", *options, *given)
    assert done.code != 0
    (line,) = done.errors
    assert f"cotdistill[{extra}]" in line
    assert not (folder / "grid").exists()


def _load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("cotdistill.students.load._model", refuse)
