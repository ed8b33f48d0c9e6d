"""`push`: one commit of a private repository, on a hub that speaks its protocol over HTTP; nothing before it may go."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants
from transformers import AutoModelForCausalLM, AutoTokenizer

import cotdistill as cd
from tests.in_process import run
from tests.models import items, student
from tests.stub_hub import OID, TOKEN, Repository, StubHub, stub_hub

ROWS = items(6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("push")
    student("llama").save(made / "base")
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in ROWS))
    asked = [row.model_dump(include={"id", "question", "choices"}) for row in ROWS]
    (made / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    for name, options in (
        ("plain", ["--checkpoint-every", "2"]),
        ("both", ["--lora", "r=2", "--keep-adapter"]),
        ("apart", ["--lora", "r=2", "--no-merge-lora"]),
    ):
        done = run(
            *("distill", str(made / "rows.jsonl"), "--student", str(made / "base"), "--strategy", "cascod"),
            *("--steps", "3", "--device", "cpu", "--quiet", "--out", str(made / name), *options),
        )
        assert done.code == 0, done.err
    data = ("--data", f"gold={made / 'rows.jsonl'}", "--max-new-tokens", "4")
    assert run("evaluate", str(made / "plain"), *data, "--device", "cpu", "--quiet").code == 0
    (made / "plain" / "checkpoints" / "step-2").mkdir(parents=True, exist_ok=True)
    (made / "plain" / "checkpoints" / "step-2" / "left.safetensors").write_bytes(b"not to be sent")
    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with stub_hub() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


def test_a_run_is_sent_as_one_commit_that_is_again_a_run(trained: Path, hub: StubHub, tmp_path: Path) -> None:
    done = run("push", str(trained / "plain"), "--repo", "cascod-student")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["repo"], said["private"], said["revision"]) == ("me/cascod-student", True, "main")
    assert (said["url"], said["commit"]) == (f"{hub.endpoint}/me/cascod-student", OID)
    held = hub.repositories["me/cascod-student"]
    assert held.private
    assert sorted(held.branches["main"]) == sorted(one["file"] for one in said["files"])
    assert {"README.md", "run.json", "config.json", "model.safetensors", "tokenizer.json"} <= {*held.branches["main"]}
    assert not [name for name in held.branches["main"] if re.search("checkpoint|prediction|metrics|timings", name)]
    assert sum("/commit/" in asked for asked in hub.asked) == 1
    # What comes down is the run: the same answers by every way that its card names.
    down = hub.written("me/cascod-student", tmp_path / "down")
    assert (down / "model.safetensors").read_bytes() == (trained / "plain/student/model.safetensors").read_bytes()
    AutoModelForCausalLM.from_pretrained(down)
    AutoTokenizer.from_pretrained(down)
    ask = ("--data", str(trained / "asked.jsonl"), "--device", "cpu", "--quiet", "--max-new-tokens", "8")
    here, there = run("predict", str(trained / "plain"), *ask), run("predict", str(down), *ask)
    assert (there.code, there.out) == (0, here.out)
    assert here.out
    card = ModelCard((down / "README.md").read_text())
    assert [result.dataset_name for result in card.data.eval_results] == ["gold"]
    for line in ('from_pretrained("me/cascod-student")', "vllm serve me/cascod-student --served-model-name student"):
        assert line in card.content
        assert line not in (trained / "plain/README.md").read_text()
    assert "convert_hf_to_gguf.py --remote me/cascod-student " in card.content
    assert not re.search(r'"student"(?!, "prompt")|serve student|gguf.py student', card.content)


def test_a_process_takes_hub_and_token_from_its_environment(trained: Path, tmp_path: Path) -> None:
    with stub_hub() as hub:
        done = subprocess.run(
            [sys.executable, "-m", "cotdistill", "push", str(trained / "plain"), "--repo", "me/other", "--public"],
            capture_output=True,
            text=True,
            timeout=200,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
                "HF_ENDPOINT": hub.endpoint,
                "HF_TOKEN": TOKEN,
                "HF_HOME": str(tmp_path),
                "HF_HUB_DISABLE_XET": "1",
            },
        )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert not json.loads(done.stdout)["private"]
    assert not hub.repositories["me/other"].private
    assert TOKEN not in done.stdout + done.stderr


def test_a_branch_is_made_and_adapters_go_beside_the_weights(trained: Path, hub: StubHub) -> None:
    found = cd.push(trained / "both", "me/both", revision="v1")
    assert [row["revision"] for row in found] == ["v1"]
    branches = hub.repositories["me/both"].branches
    assert branches["main"] == {}
    assert {"model.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"} <= {
        *branches["v1"]
    }


def test_adapters_alone_keep_the_run_s_card_and_name_a_local_base(trained: Path, hub: StubHub, tmp_path: Path) -> None:
    done = run("push", str(trained / "apart"), "--repo", "me/apart")
    assert done.code == 0, done.err
    assert "which is a local model: nobody else can load it" in " ".join(done.err.split())
    down = hub.written("me/apart", tmp_path / "down")
    assert "# " in (down / "README.md").read_text()
    assert "How to ask it" in (down / "README.md").read_text()
    assert 'convert_lora_to_gguf.py "$(hf download me/apart)" ' in (down / "README.md").read_text()
    ask = ("--data", str(trained / "asked.jsonl"), "--device", "cpu", "--quiet", "--max-new-tokens", "8")
    there = run("predict", str(down), *ask)
    assert (there.code, there.out) == (0, run("predict", str(trained / "apart"), *ask).out)


def test_a_dry_run_lists_files_and_asks_nothing(trained: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = run("push", str(trained / "plain"), "--repo", "me/x", "--dry-run")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert {one["file"]: one["bytes"] for one in said["files"]}["run.json"] == (
        trained / "plain/run.json"
    ).stat().st_size  # fmt: skip
    assert said["bytes"] == sum(one["bytes"] for one in said["files"])
    assert (said["private"], "commit" in said) == (True, False)
    assert "model.safetensors" in done.err
    assert hub.asked == []


def test_without_a_token_nothing_is_asked(trained: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = run("push", str(trained / "plain"), "--repo", "me/x")
    assert (done.code, done.out, len(done.errors)) == (6, "", 1)
    assert "push needs a token of the hub that may write: set HF_TOKEN" in done.errors[0]
    assert hub.asked == []


def test_a_token_that_is_not_taken_is_not_shown(trained: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong99")
    done = run("push", str(trained / "plain"), "--repo", "me/x", "--debug")
    assert (done.code, done.out, len(done.errors)) == (6, "", 1)
    assert "check HF_TOKEN" in done.errors[0]
    assert "hf_wrong" not in done.err
    assert hub.asked == ["GET /api/whoami-v2"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/repos/create", 403), ("/api/models/me/x/commit", 500), ("/api/models/me/x/preupload", 403)],
)
def test_a_hub_that_refuses_is_one_line(path: str, status: int, trained: Path, hub: StubHub) -> None:
    hub.refuses = {path: status}
    done = run("push", str(trained / "plain"), "--repo", "me/x")
    assert (done.code, done.out, len(done.errors)) == (6, "", 1), done.err
    assert "the hub did not take me/x" in done.errors[0]
    assert TOKEN not in done.err
    assert not any(held.branches["main"] for held in hub.repositories.values())


def test_a_hub_that_is_not_there_is_one_line(trained: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = run("push", str(trained / "plain"), "--repo", "me/x")
    assert (done.code, len(done.errors)) == (6, 1), done.err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = run("push", str(trained / "plain"), "--repo", "me/x")
    assert (done.code, "HF_HUB_OFFLINE is set" in done.errors[0]) == (6, True)


def test_a_public_repository_gets_nothing_unasked_and_a_private_one_stays_private(trained: Path, hub: StubHub) -> None:
    hub.repositories = {"me/open": Repository(private=False), "me/closed": Repository(private=True)}
    done = run("push", str(trained / "plain"), "--repo", "me/open")
    assert (done.code, len(done.errors)) == (2, 1)
    assert "that repository is public; pass --public" in done.errors[0]
    assert hub.repositories["me/open"].branches["main"] == {}
    assert run("push", str(trained / "plain"), "--repo", "me/open", "--public").code == 0
    done = run("push", str(trained / "plain"), "--repo", "me/closed", "--public")
    assert (done.code, json.loads(done.out)["private"]) == (0, True)
    assert "is private and stays so" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["plain"], 2, "--repo NAME, or --repo OWNER/NAME"),
        (["plain", "--repo", "a/b/c"], 2, "--repo a/b/c: "),
        (["plain", "--repo", "../x"], 2, "--repo ../x: "),
        (["base", "--repo", "me/x"], 3, "is not a finished run"),
        (["rows.jsonl", "--repo", "me/x"], 3, "is not a finished run"),
        (["dropped", "--repo", "me/x"], 6, "was not kept; train it again with: cotdistill distill"),
        (["empty", "--repo", "me/x"], 6, "has no config.json"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_anything_is_asked(
    arguments: list[str], code: int, says: str, trained: Path, hub: StubHub
) -> None:
    for name in ("dropped", "empty"):
        shutil.copytree(trained / "plain", trained / name, dirs_exist_ok=True)
        shutil.rmtree(trained / name / "student")
    (trained / "empty" / "student").mkdir()
    done = run("push", str(trained / arguments[0]), *arguments[1:])
    assert (done.code, done.out, len(done.errors)) == (code, "", 1), done.err
    assert says in done.errors[0]
    assert hub.asked == []
