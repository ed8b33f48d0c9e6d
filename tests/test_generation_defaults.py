"""A model's own generation settings (sampling, penalties, beams, forced tokens) never reach a greedy walk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.students.load import load_student
from tests.in_process import run
from tests.models import items, student

DEFAULTS: dict[str, Any] = {
    "do_sample": True,
    "temperature": 9.0,
    "top_p": 0.5,
    "top_k": 3,
    "repetition_penalty": 9.0,
    "num_beams": 3,
    "no_repeat_ngram_size": 1,
    "length_penalty": 2.0,
    "max_new_tokens": 1,
    "max_length": 3,
    "min_length": 3,
    "suppress_tokens": list(range(40, 200)),
    "forced_eos_token_id": 7,
    "bad_words_ids": [[50]],
    "use_cache": False,
}
INVALID = {"do_sample": False, "temperature": 0.6, "top_p": 0.9}  # transformers refuses to save these together


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("defaults")
    for family in ("gpt2", "t5"):
        for name, settings in (("plain", {}), ("set", DEFAULTS), ("invalid", INVALID)):
            where = made / f"{family}-{name}"
            student(family).save(where)
            written = where / "generation_config.json"
            written.write_text(json.dumps(json.loads(written.read_text()) | settings))
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(6)))
    fields = {"id", "question", "choices", "answer"}
    (made / "questions.jsonl").write_text(
        "".join(json.dumps(row.model_dump(include=fields)) + "\n" for row in items(4))
    )
    return made


def outputs(file: Path) -> list[list[Any]]:
    """What a model said, a prediction each."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [[line["rationale"], line["output"]] for line in lines if "output" in line]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_evaluate_ablate_and_elicit_are_greedy(family: str, folder: Path, tmp_path: Path) -> None:
    said: dict[str, list[Any]] = {}
    for name in ("plain", "set", "invalid"):
        model, out = str(folder / f"{family}-{name}"), tmp_path / name
        done = run(
            "evaluate",
            model,
            "--strategy",
            "cot",
            "--data",
            str(folder / "questions.jsonl"),
            "--device",
            "cpu",
            "--max-new-tokens",
            "12",
            "--no-calibrate",
            "--out",
            str(out),
        )
        assert done.code == 0, done.err
        found = [outputs(out / "predictions" / "questions.jsonl")]
        done = run(
            "elicit",
            "--teacher",
            model,
            "--data",
            str(folder / "questions.jsonl"),
            "--device",
            "cpu",
            "--max-new-tokens",
            "12",
            "--keep",
            "all",
            "--shots",
            "0",
            "-o",
            f"{out}.jsonl",
        )
        assert done.code in (0, 4), done.err  # what an untrained teacher says may argue for nothing
        found.append(
            [
                [rationale["text"] for rationale in json.loads(line)["rationales"]]
                for line in Path(f"{out}.jsonl").read_text().splitlines()
            ]
        )
        done = run(
            "ablate",
            str(folder / "rows.jsonl"),
            "--student",
            model,
            "--strategies",
            "cot",
            "--no-controls",
            "--seeds",
            "0",
            "--steps",
            "2",
            "--data",
            f"test={folder / 'questions.jsonl'}",
            "--device",
            "cpu",
            "--eval-max-new-tokens",
            "12",
            "--jobs",
            "1",
            "--out",
            f"{out}-grid",
            "--keep-students",
            "all",
        )
        assert done.code == 0, done.err
        found += [outputs(file) for file in sorted(Path(f"{out}-grid").rglob("predictions/*.jsonl"))]
        assert len(found) >= 4  # of the cell and of the untrained student
        said[name] = found
    assert any(any(one) for part in said["plain"] for one in part)
    assert said["set"] == said["invalid"] == said["plain"]


@pytest.mark.parametrize("name", ["gpt2-set", "gpt2-invalid", "t5-set"])
def test_they_are_not_saved_with_a_student_whom_a_server_would_ask_by_them(
    name: str, folder: Path, tmp_path: Path
) -> None:
    load_student(str(folder / name)).save(tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    ids = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
    assert {"eos_token_id"} <= saved.keys() <= {*ids, "transformers_version", "_from_model_config"}


def test_several_ids_end_what_is_generated(folder: Path, tmp_path: Path) -> None:
    made = student("gpt2")
    model = folder / "gpt2-plain"
    questions = ("--data", str(folder / "questions.jsonl"), "--device", "cpu", "--max-new-tokens", "12")

    def asked(where: Path, out: Path) -> list[str]:
        done = run("elicit", "--teacher", str(where), *questions, "--keep", "all", "--shots", "0", "-o", str(out))
        assert done.code in (0, 4), done.err
        return [json.loads(line)["rationales"][0]["text"] for line in out.read_text().splitlines()]

    whole = asked(model, tmp_path / "whole.jsonl")
    at, text = next((at, text) for at, text in enumerate(whole) if len(made.tokenizer(text)["input_ids"]) > 2)
    end = made.tokenizer(text)["input_ids"][1]
    copy = tmp_path / "model"
    student("gpt2").save(copy)
    settings = copy / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"eos_token_id": [0, end]}))
    assert load_student(str(copy)).tokens.stops == {0, end}
    cut = asked(copy, tmp_path / "cut.jsonl")[at]
    assert text.startswith(cut)
    assert len(cut) < len(text)
