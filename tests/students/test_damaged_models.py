"""A model that cannot be loaded as it is: one line that names the file, exit 6, and nothing trained or asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file, save_file

from cotdistill.students.load import load_student
from tests.in_process import run
from tests.models import items, student

Damage = Callable[[Path], object]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2200119\n"


def _json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _cut(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])


def _weights(folder: Path, drop: str = "", add: str = "") -> None:
    file = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if not drop or drop not in name}
    if add:
        kept[add] = next(iter(kept.values()))
    save_file(kept, file, {"format": "pt"})


def _sharded(folder: Path) -> None:
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {name: f"model-0000{1 + (at > 3)}-of-00002.safetensors" for at, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04")


DAMAGES: dict[str, tuple[Damage, str]] = {
    "weights cut off": (lambda f: _cut(f / "model.safetensors", 0.6), "model.safetensors: damaged or cut off"),
    "weights cut in the header": (lambda f: _cut(f / "model.safetensors", 0.001), "model.safetensors: damaged"),
    "no bytes": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors: damaged or cut off"),
    "garbage": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 4096), "model.safetensors: damaged"),
    "weights LFS": (lambda f: (f / "model.safetensors").write_text(LFS), "model.safetensors: a Git LFS pointer"),
    "tokenizer LFS": (lambda f: (f / "tokenizer.json").write_text(LFS), "tokenizer.json: a Git LFS pointer"),
    "config LFS": (lambda f: (f / "config.json").write_text(LFS), "config.json: a Git LFS pointer"),
    "generation_config LFS": (lambda f: (f / "generation_config.json").write_text(LFS), "a Git LFS pointer"),
    "config cut off": (lambda f: _cut(f / "config.json", 0.5), "config.json: not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[1]"), "config.json: a JSON list, not an object"),
    "generation_config cut off": (lambda f: _cut(f / "generation_config.json", 0.5), "config.json: not JSON"),
    "tokenizer cut off": (lambda f: _cut(f / "tokenizer.json", 0.5), "(tokenizer.json)"),
    "tokenizer empty object": (lambda f: (f / "tokenizer.json").write_text("{}"), "(tokenizer.json)"),
    "tokenizer_config cut off": (lambda f: _cut(f / "tokenizer_config.json", 0.5), "tokenizer_config.json: not JSON"),
    "one layer more": (lambda f: _json(f / "config.json", n_layer=3), "are in no file and would start at random"),
    "one layer less": (lambda f: _json(f / "config.json", n_layer=1), "of its files have no place in the model"),
    "wider": (lambda f: _json(f / "config.json", n_embd=64), "weights do not fit config.json"),
    "another family": (
        lambda f: _json(f / "config.json", model_type="bert", architectures=["BertLMHeadModel"]),
        "are in no file and would start at random",
    ),
    "unknown family": (lambda f: _json(f / "config.json", model_type="nosuch"), "(config.json)"),
    "a layer lost": (lambda f: _weights(f, drop="h.1."), "would start at random, e.g. transformer.h.1"),
    "a head too many": (lambda f: _weights(f, add="v_head.weight"), "1 weights of its files have no place"),
    "a shard lost": (_sharded, "model-00002-of-00002.safetensors: missing, one of 1 shards"),
    "pickled": (_pickled, "pytorch_model.bin: pickled weights"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no weights (model.safetensors)"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "no tokenizer": (lambda f: [file.unlink() for file in f.glob("tokenizer*")], "no vocabulary (tokenizer.json)"),
    "no vocabulary": (lambda f: (f / "tokenizer.json").unlink(), "(its tokenizer)"),
    "tokenizer too large": (lambda f: _json(f / "config.json", vocab_size=len(LFS)), "do not fit config.json"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    student("gpt2").save(folder)
    (folder.parent / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(4)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(2)]
    (folder.parent / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    return folder


def commands(base: Path, model: Path) -> dict[str, list[str]]:
    rows, questions, out = base.parent / "rows.jsonl", base.parent / "questions.jsonl", model.parent / "run"
    return {
        "distill": ["distill", str(rows), "--student", str(model), "--steps", "1", "--out", str(out)],
        "evaluate": ["evaluate", str(model), "--strategy", "cot", "--data", str(questions), "--out", str(out)],
        "elicit": ["elicit", "--teacher", str(model), "--data", str(questions), "-o", str(model.parent / "rows.jsonl")],
    }


def grid(base: Path, model: Path, strategies: str) -> list[str]:
    given = ["--student", str(model), "--strategies", strategies, "--data", str(base.parent / "questions.jsonl")]
    return ["ablate", str(base.parent / "rows.jsonl"), *given, "--device", "cpu", "-o", str(model.parent / "grid")]


def left(folder: Path, model: Path) -> list[Path]:
    """Files that the commands made."""
    return [path for path in folder.rglob("*") if path.is_file() and model not in path.parents]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_model_is_exit_6_and_one_line(kind: str, base: Path, tmp_path: Path) -> None:
    damage, said = DAMAGES[kind]
    model = tmp_path / "model"
    shutil.copytree(base, model)
    damage(model)
    for name, command in commands(base, model).items():
        done = run(*command)
        assert done.code == 6, (name, done.err)
        assert len(done.errors) == 1, (name, done.err)
        assert said in done.errors[0], name
        assert done.out == ""
    assert left(tmp_path, model) == []


@pytest.mark.parametrize("kind", ["a layer lost", "wider", "a head too many", "no tokenizer", "weights cut off"])
def test_a_grid_misses_it_before_the_first_cell(kind: str, base: Path, tmp_path: Path) -> None:
    damage, said = DAMAGES[kind]
    model = tmp_path / "model"
    shutil.copytree(base, model)
    damage(model)
    done = run(*grid(base, model, "cot"))
    assert (done.code, done.out, len(done.errors)) == (6, "", 1), done.err
    assert said in done.errors[0]
    assert left(tmp_path, model) == []


def test_a_grid_misses_a_chat_template_before_the_first_cell(base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(base, model)
    for template, code in (("{{ raise_exception('no') }}", 6), ("", 2), ("{{ messages[0].role }}", 2)):
        (model / "chat_template.jinja").write_text(template)
        done = run(*grid(base, model, "cot,cascod"), "--chat")
        assert (done.code, done.out, len(done.errors)) == (code, "", 1), done.err
        assert left(tmp_path, model) == []


@pytest.mark.parametrize("kind", ["one layer more", "one layer less", "a layer lost", "a head too many"])
def test_partial_weights_are_loaded_where_asked_for_and_said(kind: str, base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(base, model)
    DAMAGES[kind][0](model)
    done = run(*commands(base, model)["distill"], "--partial-weights")
    assert done.code == 0, done.err
    assert f"warning: {model}: " in done.err
    again = [load_student(str(model), partial_weights=True).model.state_dict() for _ in range(2)]
    assert all(torch.equal(value, again[1][name]) for name, value in again[0].items())


@pytest.mark.parametrize("kept", ["chat_template.jinja", "tokenizer_config.json"])
@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% for %}", "{{ messages[9].content }}"])
def test_a_chat_template_that_raises_names_its_file(template: str, kept: str, base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(base, model)
    if kept == "chat_template.jinja":
        (model / kept).write_text(template)
    else:
        _json(model / kept, chat_template=template)
    asked = commands(base, model)
    for command in ([*asked["distill"], "--chat"], asked["elicit"]):
        done = run(*command)
        assert done.code == 6, done.err
        assert len(done.errors) == 1
        assert f"{model / kept}: the chat template fails (" in done.errors[0]
    assert left(tmp_path, model) == []


def test_a_tokenizer_larger_than_its_model_is_refused(base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(base, model)
    words = student("gpt2").tokenizer
    size, larger = len(words), deepcopy(words)
    larger.add_tokens(["<one>", "<two>"])
    larger.save_pretrained(model)
    done = run(*commands(base, model)["evaluate"])
    assert (done.code, done.errors) == (
        6,
        [
            f"error: {model}: its tokenizer (tokenizer.json) has ids up to {size + 1}, but the model has "
            f"embeddings for only {size}; use the model's own tokenizer, or resize its embeddings"
        ],
    )


def test_a_grid_and_an_export_take_partial_weights_too(base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(base, model)
    DAMAGES["a layer lost"][0](model)
    rows, questions = base.parent / "rows.jsonl", base.parent / "questions.jsonl"
    asked = ["ablate", str(rows), "--student", str(model), "--data", str(questions), "-o", str(tmp_path / "grid")]
    asked += ["--key-tokens", "1", "--key-by", "gradient-input", "--no-controls", "--steps", "1", "--seeds", "0"]
    asked += ["--jobs", "1", "--eval-max-new-tokens", "4", "--device", "cpu", "--partial-weights"]
    for more in (["--dry-run"], []):
        done = run(*asked, *more)
        assert done.code == 0, done.err
        assert f"warning: {model}: " in done.err
    evaluate = [*commands(base, model)["evaluate"], "--max-new-tokens", "4", "--partial-weights"]
    done = run(*evaluate, "--export", "lm-eval", str(tmp_path / "tasks"))
    assert done.code == 0, done.err
    assert "the harness draws other random weights than these" in done.err


IN_A_RUN = {
    "weights cut off": "model.safetensors: damaged or cut off",
    "garbage": "model.safetensors: damaged",
    "tokenizer cut off": "(tokenizer.json)",
    "tokenizer empty object": "(tokenizer.json)",
    "another family": "are in no file and would start at random",
    "wider": "weights do not fit config.json",
    "config cut off": "config.json: not JSON",
    "pickled": "pytorch_model.bin: pickled weights",
    "no weights": "has no weights (model.safetensors)",
}


@pytest.fixture(scope="module")
def finished(base: Path) -> Path:
    """A run on the whole model."""
    out = base.parent / "finished"
    done = run("distill", str(base.parent / "rows.jsonl"), "--student", str(base), "--steps", "1", "-o", str(out))
    assert done.code == 0, done.err
    return out


@pytest.mark.parametrize("kind", IN_A_RUN)
def test_a_damaged_student_of_a_run_is_exit_6_and_one_line(
    kind: str, base: Path, finished: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    DAMAGES[kind][0](folder / "student")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = run("evaluate", str(folder), "--data", str(base.parent / "questions.jsonl"))
    assert (done.code, done.out, len(done.errors)) == (6, "", 1), done.err
    assert IN_A_RUN[kind] in done.errors[0]
    assert str(folder / "student") in done.errors[0]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
