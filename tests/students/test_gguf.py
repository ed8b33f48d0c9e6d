"""GGUF files: students, teachers and models to evaluate like any other, saved as plain safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from cotdistill.data.files import file_digest
from cotdistill.run_key import student_digest
from cotdistill.students.gguf_file import is_gguf
from cotdistill.students.load import load_student
from tests.gguf_files import TEMPLATE, tiny_llama, write_gguf
from tests.in_process import Done, run
from tests.models import items
from tests.real import smollm2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gguf")
    for name in ("one", "two"):
        (made / name).mkdir()
    write_gguf(made / "one" / "tiny.gguf", tiny_llama())
    for file in ("q8.gguf", "tiny.gguf"):
        write_gguf(made / "two" / file, tiny_llama(), quantized=file == "q8.gguf")
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(4)]
    (made / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    return made


def distill(folder: Path, student: Path, out: Path, *options: str) -> Done:
    return run(
        "distill",
        str(folder / "rows.jsonl"),
        "--student",
        str(student),
        "--lr",
        "1e-2",
        "--steps",
        "6",
        "--device",
        "cpu",
        "--out",
        str(out),
        *options,
    )


def evaluated(folder: Path, *asked: str) -> list[list[str]]:
    done = run(
        "evaluate",
        *asked,
        "--data",
        str(folder / "questions.jsonl"),
        "--device",
        "cpu",
        "--max-new-tokens",
        "8",
        "--no-calibrate",
    )
    assert done.code == 0, done.err
    where = Path(asked[-1] if "--out" in asked else asked[0]) / "predictions" / "questions.jsonl"
    lines = [json.loads(line) for line in where.read_text().splitlines()]
    return [[line["rationale"], line["output"]] for line in lines if "output" in line]


def test_a_gguf_file_is_the_model_that_it_was_made_from(folder: Path) -> None:
    made = load_student(str(folder / "one" / "tiny.gguf"))
    ids = torch.tensor([[5, 9, 40, 77, 201]])
    with torch.no_grad():
        torch.testing.assert_close(made.model(ids).logits, tiny_llama()(ids).logits, atol=1e-5, rtol=1e-4)
        packed = load_student(str(folder / "two" / "q8.gguf")).model(ids).logits
        assert 0 < (packed - tiny_llama()(ids).logits).abs().max() < 0.05
    assert made.tokenizer.chat_template == TEMPLATE
    over = made.tokenizer.convert_tokens_to_ids("<|over|>")
    assert made.tokens.stops == {0, over}  # of a text, and of a turn
    chat = load_student(str(folder / "one" / "tiny.gguf"), chat=True)
    assert chat.tokens.around == ("<|turn|>user\n", "<|over|>\n<|turn|>assistant\n")
    assert chat.tokens.stop == over


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one/tiny.gguf", []),
        ("one", []),
        ("two/q8.gguf", ["--chat"]),
        ("two/q8.gguf", ["--lora", "r=2,alpha=4"]),
        ("two/q8.gguf", ["--lora", "r=2,alpha=4", "--no-merge-lora"]),
    ],
)
def test_a_student_is_saved_as_plain_safetensors(name: str, options: list[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = distill(folder, folder / name, out, *options)
    assert done.code == 0, done.err
    card = json.loads((out / "run.json").read_text())
    file = folder / name if name.endswith(".gguf") else folder / name / "tiny.gguf"
    assert card["student"]["digest"] == file_digest(file)
    assert len(evaluated(folder, str(out))) == 4
    if "--no-merge-lora" in options:
        adapter = json.loads((out / "student" / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == str(file)
        return
    assert "quantization_config" not in json.loads((out / "student" / "config.json").read_text())
    model, info = AutoModelForCausalLM.from_pretrained(out / "student", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}


def test_a_gguf_file_is_evaluated_and_asked(folder: Path, tmp_path: Path) -> None:
    plain = ("--strategy", "cot", "--out")
    from_file = evaluated(folder, str(folder / "one" / "tiny.gguf"), *plain, str(tmp_path / "file"))
    assert from_file == evaluated(folder, str(folder / "one"), *plain, str(tmp_path / "folder"))
    load_student(str(folder / "one")).save(tmp_path / "hf")
    assert from_file == evaluated(folder, str(tmp_path / "hf"), *plain, str(tmp_path / "plain"))
    asked = run(
        "elicit",
        "--teacher",
        str(folder / "two" / "q8.gguf"),
        "--data",
        str(folder / "questions.jsonl"),
        "--max-new-tokens",
        "4",
        "--keep",
        "all",
        "--device",
        "cpu",
        "-o",
        str(tmp_path / "rows.jsonl"),
    )
    assert asked.code in (0, 4), asked.err  # four tokens argue for nothing
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert "q8.gguf@" in json.dumps(row)


def test_a_grid_takes_gguf_files(folder: Path, tmp_path: Path) -> None:
    done = run(
        "ablate",
        str(folder / "rows.jsonl"),
        "--student",
        f"{folder / 'one'},{folder / 'two' / 'q8.gguf'}",
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
        "4",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    )
    assert done.code == 0, done.err


def damaged(folder: Path, kind: str) -> Path:
    """A GGUF file that cannot be loaded, or a folder of several."""
    whole = (folder / "one" / "tiny.gguf").read_bytes()
    if kind == "several":
        return folder / "two"
    file = folder / f"{kind}.gguf"
    if kind == "split":
        write_gguf(file, tiny_llama(), split_count=3)
    else:
        file.write_bytes(
            {
                "empty": b"",
                "magic": b"NOPE" + whole[4:],
                "cut": whole[:2000],
                "tail": whole[:-5000],
                "version": whole[:4] + b"\x09" + whole[5:],
                "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            }[kind]
        )
    return file


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("several", "holds 2 GGUF files; give one of them: q8.gguf, tiny.gguf"),
        ("split", "one of 3 parts of a GGUF file; join them with: llama-gguf-split --merge"),
        ("empty", "damaged or cut off"),
        ("magic", "it does not begin with GGUF"),
        ("cut", "damaged or cut off"),
        ("tail", "damaged or cut off"),
        ("version", "version 9, not 2 or 3"),
        ("pointer", "a Git LFS pointer"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_said(kind: str, said: str, folder: Path, tmp_path: Path) -> None:
    model = damaged(folder, kind)
    for command in (
        ["evaluate", str(model), "--strategy", "cot", "--data", str(folder / "questions.jsonl")],
        [
            "elicit",
            "--teacher",
            str(model),
            "--data",
            str(folder / "questions.jsonl"),
            "-o",
            str(tmp_path / "out.jsonl"),
        ],
        ["distill", str(folder / "rows.jsonl"), "--student", str(model), "--out", str(tmp_path / "out")],
    ):
        done = run(*command, "--device", "cpu")
        assert done.code == 6, done.err
        assert len(done.err.splitlines()) == 1, done.err
        assert str(model) in done.errors[0]
        assert said in done.errors[0]


def test_a_missing_package_is_an_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.students.places.find_spec", lambda name: None)
    done = run("evaluate", str(folder / "one"), "--strategy", "cot", "--data", str(folder / "questions.jsonl"))
    assert done.code == 6
    assert len(done.errors) == 1
    assert "cotdistill[gguf]" in done.errors[0]


def test_unpacked_weights_are_not_quantized_again(folder: Path, tmp_path: Path) -> None:
    done = distill(folder, folder / "one", tmp_path / "out", "--lora", "r=2,alpha=4", "--quantize", "4bit")
    assert done.code == 2
    assert len(done.errors) == 1
    assert "--quantize" in done.errors[0]
    assert "GGUF" in done.errors[0]


def test_the_digest_is_that_of_the_file_and_of_a_tokenizer_beside_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes((folder / "one" / "tiny.gguf").read_bytes())
    assert student_digest(str(file)) == student_digest(str(tmp_path)) == file_digest(file)
    (tmp_path / "rows.json").write_text("{}")
    assert student_digest(str(file)) == file_digest(file)
    load_student(str(file)).tokenizer.save_pretrained(tmp_path)
    assert student_digest(str(file)) == student_digest(str(tmp_path)) != file_digest(file)


@pytest.mark.real
def test_a_real_model_of_four_bits(tmp_path: Path) -> None:
    model = smollm2()
    if not is_gguf(model):
        pytest.skip(f"{model} is no GGUF file")
    found = load_student(str(model), chat=True)
    assert found.tokens.around[1] == "<|im_end|>\n<|im_start|>assistant\n"
    asked = found.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    said = found.model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in found.tokenizer.decode(said[0, asked["input_ids"].shape[1] :])
    found.save(tmp_path)
    again = load_student(str(tmp_path))
    ids = torch.tensor([found.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        assert torch.equal(again.model(ids).logits, found.model(ids).logits)
