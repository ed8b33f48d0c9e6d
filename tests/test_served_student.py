"""`--model openai:NAME`: a student behind a server is walked by text, and answers as it does in process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import DistillConfig
from cotdistill.distilling import distill_items
from cotdistill.strategies.registry import create
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from tests.in_process import run
from tests.models import items, student
from tests.teachers.conftest import KEY, server_environment  # noqa: F401  # a fixture
from tests.teachers.servers import Canned, Server, serving

# Numbers are unknown to the test's tokenizer: what it cannot spell is lost on the way through a server's text.
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
ROWS = [
    item.model_copy(
        update={
            "rationales": tuple(
                one.model_copy(update={"text": one.text.replace(f"item {at}", f"item {NUMBERS[at]}")})
                for one in item.rationales
            )
        }
    )
    for at, item in enumerate(items(8))
]
pytestmark = pytest.mark.usefixtures("server_environment")
STRATEGIES = ("cot", "cascod", "post-cot")


class StudentServer(Server):
    """A completions endpoint over a student."""

    def __init__(self, model: Student) -> None:
        super().__init__(lambda prompt, before: "answer")
        self.model = model

    def refuse(self, path: str, body: dict[str, Any]) -> Canned | None:
        if not path.endswith("/v1/completions"):
            return Canned(404, {"error": {"message": "no such path"}})
        tokens, ids, reason = self.model.tokens, self.model.tokenizer(body["prompt"])["input_ids"], "length"
        written: list[int] = []
        text = ""
        for _ in range(body["max_tokens"]):
            with torch.inference_mode():
                token = int(self.model.model(torch.tensor([[*ids, *written]])).logits[0, -1].argmax())
            if token in tokens.stops:
                reason = "stop"
                break
            written.append(token)
            text = tokens.text(written)
            stop = next((one for one in body.get("stop") or () if one in text), None)
            if stop is not None:
                text, reason = text.split(stop)[0], "stop"
                break
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return Canned(200, {"choices": [{"text": text, "finish_reason": reason}], "usage": usage})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three strategies, trained until they know their rows, and 12 questions they partly know."""
    folder = tmp_path_factory.mktemp("served")
    student("llama", width=64).save(folder / "base")
    for name in STRATEGIES:
        config = DistillConfig(
            strategy=name,
            student=str(folder / "base"),
            steps=150,
            batch_size=8,
            lr=3e-3,
            betas=(0.9, 0.98),
            schedule="linear",
            weight_decay=0.0,
            out=folder / name,
            device="cpu",
        )
        distill_items(config, create(name), ROWS, "rows.jsonl")
    (folder / "asked.jsonl").write_text("".join(item.example().line() + "\n" for item in items(12)))
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def server(runs: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    name = getattr(request, "param", "cot")
    with serving(StudentServer(load_student(str(runs / name / "student"), device="cpu"))) as started:
        yield started


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def served(server: Server, *more: str) -> tuple[str, ...]:
    return ("--model", "openai:m", "--base-url", server.url, "--quiet", *more)


@pytest.mark.parametrize(("server", "name"), [(name, name) for name in STRATEGIES], indirect=["server"])
def test_answers_are_those_in_process(server: Server, name: str, runs: Path) -> None:
    data = ("--data", str(runs / "asked.jsonl"))
    here = run("predict", str(runs / name), *data, "--device", "cpu", "--quiet", "--no-calibrate")
    there = run("predict", str(runs / name), *data, *served(server))
    assert (here.code, there.code) == (0, 0), there.err
    fields = ("id", "rationale", "output", "answer", "finished")
    pairs = list(zip(lines(here.out), lines(there.out), strict=True))
    differ = [a["id"] for a, b in pairs if any(a[f] != b[f] for f in fields)]
    # A student that errs writes words in other tokens than the tokenizer does, and only text comes through a server.
    learned = [a["id"] for a, _ in pairs if a["rationale"] in (None, *(r.text for row in ROWS for r in row.rationales))]
    assert len(learned) >= 6
    assert not set(differ) & set(learned)
    assert len(differ) <= 1
    assert {request["temperature"] for request in server.requests} == {0.0}
    judged = run("evaluate", str(runs / name), *data, *served(server))
    local = run("evaluate", str(runs / name), *data, "--device", "cpu", "--quiet", "--no-calibrate")
    assert (judged.code, local.code) == (0, 0), judged.err
    (figures,), (expected,) = lines(judged.out), lines(local.out)
    assert figures["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9 + len(differ) / len(pairs))
    assert expected["accuracy"] > 0.2
    assert figures["served"] == {"model": "openai:m", "base_url": server.url}


def test_what_was_answered_is_not_asked_again(server: Server, runs: Path, tmp_path: Path) -> None:
    command = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), "-o", str(tmp_path / "a.jsonl"))
    assert run(*command, *served(server, "--limit", "5")).code == 0
    asked = len(server.requests)
    assert run(*command, *served(server)).code == 0
    prompts = [request["prompt"] for request in server.requests]
    assert len(prompts) == len(set(prompts)) > asked
    assert len(lines((tmp_path / "a.jsonl").read_text())) == 12


def test_a_plain_model_is_asked_by_a_named_strategy(server: Server, runs: Path) -> None:
    done = run("predict", "--strategy", "cot", "--data", str(runs / "asked.jsonl"), *served(server, "--limit", "8"))
    expected = run("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), *served(server, "--limit", "8"))
    assert (done.code, expected.code) == (0, 0), done.err
    assert [line["answer"] for line in lines(done.out)] == [line["answer"] for line in lines(expected.out)]


def test_probes_walk_over_the_server(server: Server, runs: Path) -> None:
    asked = (
        "evaluate",
        str(runs / "cot"),
        "--data",
        str(runs / "asked.jsonl"),
        "--limit",
        "6",
        "--probe",
        "truncation",
    )
    there, here = run(*asked, *served(server)), run(*asked, "--device", "cpu", "--no-calibrate", "--quiet")
    assert (there.code, here.code) == (0, 0), there.err
    (figures,), (expected,) = lines(there.out), lines(here.out)
    assert figures["probes"].keys() == expected["probes"].keys()
    for name, probe in expected["probes"].items():
        for figure, value in probe.items():
            if figure not in ("generated", "forwarded"):
                assert figures["probes"][name][figure] == value, (name, figure)


def test_samples_are_drawn_by_the_server_from_our_seeds(server: Server, runs: Path) -> None:
    command = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), "--limit", "2", "--samples", "3")
    assert run(*command, *served(server)).code == 0
    first = sorted(request["seed"] for request in server.requests)
    assert len(set(first)) == 6
    server.requests.clear()
    assert run(*command, *served(server)).code == 0
    assert sorted(request["seed"] for request in server.requests) == first


def test_a_server_that_ignores_stop_strings_is_told(server: Server, runs: Path, tmp_path: Path) -> None:
    """Its model writes on after the connector; with a single word behind it the stop may have been honoured."""
    server.refuse = lambda path, body: Canned(  # type: ignore[method-assign]
        200, {"choices": [{"text": " It is. So the answer is shed. And so on.", "finish_reason": "stop"}]}
    )
    out = tmp_path / "a.jsonl"
    done = run("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), *served(server), "-o", str(out))
    assert (done.code, len(done.errors), out.exists()) == (6, 1, False)
    assert done.errors[0].startswith("error: the server ignores stop strings: it went on after 'So the answer is'; ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--score", "choices"), "--score choices: a server only completes text; omit "),
        (("--connectors", "free"), "--connectors free: a server only completes text; omit "),
        (("--model", "gpt"), "--model gpt: name a served model, openai:NAME; a local one is given"),
    ],
)
def test_what_a_server_cannot_do_is_refused(options: tuple[str, str], said: str, runs: Path, server: Server) -> None:
    asked = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"))
    done = run(*asked, *(options if options[0] == "--model" else (*served(server), *options)))
    assert (done.code, len(done.errors), server.requests) == (2, 1, [])
    assert done.errors[0].startswith(f"error: {said}")


def test_without_run_or_strategy_the_remedy_is_named(server: Server, runs: Path) -> None:
    for command in ("predict", "evaluate"):
        done = run(command, "--data", str(runs / "asked.jsonl"), *served(server))
        assert (done.code, len(done.errors)) == (2, 1)
        assert done.errors[0] == (
            "error: --model openai:m needs the run whose student is served, or --strategy for a plain model"
        )


def test_of_a_plain_model_behind_a_server_nothing_but_its_name_is_known(server: Server, runs: Path) -> None:
    plain = ("predict", "--data", str(runs / "asked.jsonl"), *served(server), "--strategy", "cot", "--limit", "2")
    done = run(*plain)
    assert (done.code, len(lines(done.out))) == (0, 2), done.err
    done = run(*plain, "--prompts")
    assert (done.code, done.errors) == (
        2,
        ["error: --prompts needs the student's tokenizer; give the run, or a local model with --strategy"],
    )


def test_a_server_without_completions_is_one_line_and_the_key_is_nowhere(runs: Path, tmp_path: Path) -> None:
    with serving(lambda prompt, before: Canned(404, {"error": {"message": f"no route for {KEY}"}})) as started:
        out = tmp_path / "a.jsonl"
        done = run("evaluate", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), *served(started))
        assert (done.code, len(done.errors), out.exists()) == (6, 1, False)
        assert "completion endpoint" in done.errors[0]
        assert KEY not in done.err


def test_a_key_that_the_server_says_back_is_in_no_file(runs: Path, tmp_path: Path) -> None:
    said = Canned(200, {"choices": [{"text": f" It is {KEY}.", "finish_reason": "stop"}]})
    out = tmp_path / "a.jsonl"
    with serving(lambda prompt, before: said) as started:
        asked = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), "-o", str(out))
        assert run(*asked, *served(started)).code == 0
    assert "It is " in out.read_text()
    assert KEY not in out.read_text()
