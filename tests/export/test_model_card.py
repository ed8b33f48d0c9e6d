"""The model card says how to ask its student: what it says is run here, and gives what the commands give."""

from __future__ import annotations

import ast
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData
from safetensors import safe_open
from transformers import AutoTokenizer

from cotdistill.config import DistillConfig, EvaluateConfig
from cotdistill.data.runcard import read_card
from cotdistill.distilling import distill_items
from cotdistill.evaluating import evaluate
from cotdistill.export.base_model import BaseFacts, base_facts, license_of
from cotdistill.export.manual import EXAMPLE, LINES, Line, _serve, named
from cotdistill.export.model_card import model_card
from cotdistill.strategies.registry import create
from cotdistill.students.load import load_student
from tests.in_process import run
from tests.models import items, student
from tests.students.test_chat import CHATML, chat_student

ROWS = items(8)
ASKED = ROWS[:3]
# After five steps a student ends nothing by itself, and writes what is no word. Only what is not read again may be
# such: the card's code gives a rationale back as text, whose tokens need not be those the student wrote.
STEPS = {"short": 5, "long": 80}
RUNS = [
    ("gpt2", "cot", "text", "long"),
    ("gpt2", "cot", "letter", "long"),
    ("gpt2", "cascod", "letter", "long"),
    ("gpt2", "post-cot", "text", "long"),
    ("gpt2", "answer-only", "letter", "short"),
    ("gpt2", "scott", "letter-text", "long"),
    ("chat", "cot", "letter", "long"),
    ("chat", "cascod", "text", "long"),
    ("chat", "post-cot", "letter", "short"),
    ("chat", "answer-only", "text", "long"),
    ("chat", "scott", "text", "long"),
    ("llama", "cascod", "text", "long"),
    ("llama", "scott", "letter", "long"),
    ("t5", "cot", "text", "long"),
    ("t5", "cascod", "text", "long"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cards")
    for family in ("gpt2", "llama", "t5"):
        student(family, width=64).save(made / family)
    chat_student(CHATML).save(made / "chat")
    asked = [row.model_dump(include={"id", "question", "choices"}) for row in ASKED]
    (made / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (made / "gold.jsonl").write_text("".join(row.example().line() + "\n" for row in ROWS))
    return made


def trained(folder: Path, family: str, strategy: str, answers: str = "text", length: str = "short") -> Path:
    out = folder / f"{family}-{strategy}-{answers}-{length}"
    config = DistillConfig.build(
        strategy=strategy,
        student=str(folder / family),
        answers=answers,
        chat=family == "chat",
        steps=STEPS[length],
        batch_size=8,
        lr=3e-3,
        device="cpu",
        out=out,
    )
    distill_items(config, create(strategy), ROWS, str(folder / "rows.jsonl"))
    return out


def blocks(card: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card.read_text(), re.DOTALL)


def predicted(made: Path, asked: Path) -> list[dict[str, Any]]:
    done = run("predict", str(made), "--data", str(asked), "--device", "cpu", "--quiet")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize(("family", "strategy", "answers", "length"), RUNS)
def test_the_card_s_own_code_gives_what_predict_gives(
    family: str, strategy: str, answers: str, length: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained(folder, family, strategy, answers, length)
    (code,) = blocks(made / "README.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= (12 if family == "t5" else 10)
    monkeypatch.chdir(made)
    for row, line in zip(ASKED, predicted(made, folder / "asked.jsonl"), strict=True):
        with redirect_stdout(io.StringIO()) as printed:
            exec(code.replace(repr(EXAMPLE.text()), repr(row.example().text())), {})
        found = ast.literal_eval(printed.getvalue())
        assert (found.get("rationale"), found["answer"]) == (line["rationale"], line["output"])
    if length == "long" and family != "t5":  # which has learned to end by then, not yet to answer
        assert all(line["answer"] for line in predicted(made, folder / "asked.jsonl"))


@pytest.mark.parametrize(("family", "strategy"), [("gpt2", "cascod"), ("chat", "cot"), ("llama", "scott")])
def test_requests_to_a_server_are_the_prompts_of_predict(family: str, strategy: str, folder: Path) -> None:
    made = trained(folder, family, strategy)
    done = run("predict", str(made), "--data", str(folder / "asked.jsonl"), "--prompts", "--limit", "1", "--quiet")
    steps = json.loads(done.out)["steps"]
    bodies = [json.loads(block) for block in blocks(made / "README.md", "json")]
    assert len(bodies) == len(steps) == 2
    for body, step in zip(bodies, steps, strict=True):
        assert body["prompt"].replace("{question}", ASKED[0].example().text()) == step["prompt"]
        assert (body["stop"], body["max_tokens"], body["temperature"]) == (step["stop"], step["max_new_tokens"], 0)
        assert "add_special_tokens" not in body
    assert "{rationale}" in bodies[1]["prompt"]


@pytest.mark.parametrize("strategy", ["cot", "scott", "cascod"])
def test_the_saved_chat_template_gives_the_prompt_that_was_trained_on(strategy: str, folder: Path) -> None:
    made = trained(folder, "chat", strategy)
    words = AutoTokenizer.from_pretrained(made / "student")
    encoder = load_student(str(made / "student"), chat=True).encoder()
    form = create(strategy).form(create(strategy).plan[0])
    for row in ASKED:
        source = "".join(part.text for part in form.source_segments()).replace("{question}", row.example().text())
        turns = [{"role": "user", "content": source}]
        rendered = words.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert list(rendered) == encoder.prompt(form, row.example(), {})[1]
    assert "`apply_chat_template` of the saved tokenizer gives the prompt" in (made / "README.md").read_text()
    plain = trained(folder, "gpt2", strategy)
    assert AutoTokenizer.from_pretrained(plain / "student").chat_template is None
    assert "Trained without `--chat`" in (plain / "README.md").read_text()


@pytest.mark.parametrize(
    ("family", "architecture"),
    [("gpt2", "GPT2LMHeadModel"), ("llama", "LlamaForCausalLM"), ("chat", "GPT2LMHeadModel")],
)
def test_the_saved_folder_has_what_llama_cpp_s_converter_reads(family: str, architecture: str, folder: Path) -> None:
    made = trained(folder, family, "cot")
    assert "convert_hf_to_gguf.py student --outfile student.gguf" in (made / "README.md").read_text()
    saved = made / "student"
    config = json.loads((saved / "config.json").read_text())
    assert config["architectures"] == [architecture]
    vocabulary = json.loads((saved / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) <= config["vocab_size"]
    assert json.loads((saved / "tokenizer_config.json").read_text())["eos_token"]
    with safe_open(saved / "model.safetensors", framework="pt") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118  # not a mapping
    assert [config["vocab_size"], 64] in shapes.values()


@pytest.mark.parametrize(("rank", "served"), [(4, 8), (16, 16), (48, 64), (1000, 1000)])
def test_vllm_is_started_with_a_rank_that_holds_the_adapter(rank: int, served: int) -> None:
    assert f"--enable-lora --max-lora-rank {served} --lora-modules student=student " in _serve(rank)


def card_of(folder: Path, base: BaseFacts, **data: Any) -> ModelCard:
    made = trained(folder, "gpt2", "cot")
    card, pupil = read_card(made), load_student(str(made / "student"))
    card = card.model_copy(update={"data": {**card.data, **data}})
    return ModelCard(model_card(card, create("cot"), pupil.encoder(), base))


def test_the_front_matter_is_the_hub_s(folder: Path) -> None:
    facts = BaseFacts("Qwen/Qwen2.5-0.5B", {"license": "other", "license_name": "qwen", "license_link": "LICENSE"})
    data = card_of(folder, facts, tasks=["commonsense_qa", "my own"], teachers=["meta-llama/Llama-3.1-8B"]).data
    assert isinstance(data, ModelCardData)
    assert (data.base_model, data.datasets) == ("Qwen/Qwen2.5-0.5B", ["tau/commonsense_qa"])
    assert (data.license, data.license_name, data.license_link) == ("other", "qwen", "LICENSE")
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.tags == ["cotdistill", "distillation", "cot"]
    plain = card_of(folder, BaseFacts()).data
    assert (plain.base_model, plain.datasets, plain.license, plain.eval_results) == (None, None, None, None)


def test_results_are_written_in_the_hub_s_schema(folder: Path) -> None:
    made = trained(folder, "gpt2", "cot", "text", "long")
    config = EvaluateConfig.build(data=[f"id={folder / 'gold.jsonl'}"], device="cpu")
    (record,) = evaluate(config, [str(made)])
    card = ModelCard.load(made / "README.md")
    (result,) = card.data.eval_results
    assert (card.data.model_name, result.task_type, result.dataset_name) == ("cot", "question-answering", "id")
    assert (result.metric_type, result.metric_value) == ("accuracy", record["accuracy"])
    assert result.metric_args["interval_95"] == record["interval"]
    # A second set joins the first; --no-model-card leaves all as it is.
    list(evaluate(config.model_copy(update={"data": (f"ood={folder / 'gold.jsonl'}",)}), [str(made)]))
    assert [one.dataset_name for one in ModelCard.load(made / "README.md").data.eval_results] == ["id", "ood"]
    before = (made / "README.md").read_bytes()
    other = {"data": (f"third={folder / 'gold.jsonl'}",), "model_card": False}
    list(evaluate(config.model_copy(update=other), [str(made)]))
    assert (made / "README.md").read_bytes() == before


@pytest.mark.parametrize("front", ["---\n[1\n---\n", "---\n- a\n---\n", "---\nmodel-index: 3\n---\n", "\udcff"])
def test_a_card_that_cannot_be_read_stays_as_it_is_and_ends_no_evaluation(
    front: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trained(tmp_path_with_base(folder, tmp_path), "gpt2", "cot")
    (made / "README.md").write_text(front, errors="surrogateescape")
    config = EvaluateConfig.build(data=[str(folder / "gold.jsonl")], device="cpu", max_new_tokens=4)
    assert len(list(evaluate(config, [str(made)]))) == 1
    assert (made / "README.md").read_text(errors="surrogateescape") == front
    assert "the results are not in the model card" in " ".join(capsys.readouterr().err.split())


def tmp_path_with_base(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "gpt2").symlink_to(folder / "gpt2")
    return tmp_path


def test_a_base_model_s_license_is_read_from_its_own_card(folder: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: mit\ntags: [a]\n---\n# A model\n")
    assert license_of(readme) == {"license": "mit"}
    for text in ("no front matter", "---\n[1\n---\n", "---\n- license\n---\n", "---\nlicense: [mit]\n---\n"):
        readme.write_text(text)
        assert license_of(readme) == {}
    assert license_of(tmp_path / "none.md") == {}
    assert base_facts(str(folder / "gpt2")) == BaseFacts()
    assert base_facts("demo").license == {"license": "apache-2.0"}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.text.split()[0])
def test_every_line_for_the_hub_is_one_of_the_card(line: Line, folder: Path) -> None:
    cards = [(trained(folder, "gpt2", "cot") / "README.md").read_text(), _serve(adapter=64)]
    assert sum(line.here() in card for card in cards) == 1
    assert sum(line.on_hub("me/it") in named(card, "me/it") for card in cards) == 1
