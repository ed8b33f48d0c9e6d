"""Nothing is lost: kills, Ctrl-C, failures and changed settings."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import ElicitConfig
from cotdistill.data.journal import Journal
from cotdistill.eliciting import elicit
from cotdistill.errors import DataError, NothingLeft, Partial, UsageError
from tests.models import student

LIMIT = 24


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    student("llama", width=16, layers=1).save(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(teacher: Path, out: Path, **changes: Any) -> ElicitConfig:
    options: dict[str, Any] = {
        "teacher": str(teacher),
        "limit": LIMIT,
        "keep": "all",
        "out": out,
        "batch_size": 4,
        "max_new_tokens": 24,
        "shots": 0,
        "counterfactual": True,
        "device": "cpu",
    }
    return ElicitConfig.build(None, **{**options, **changes})


def in_a_process(settings: ElicitConfig) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(settings,))
    process.start()
    return process


def _quietly(settings: ElicitConfig) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    elicit(settings)


@pytest.mark.slow
def test_killed_twenty_times_the_file_equals_an_uninterrupted_runs(teacher: Path, tmp_path: Path) -> None:
    rows = {"limit": 150, "max_new_tokens": 8}
    elicit(config(teacher, tmp_path / "whole.jsonl", **rows))
    out, partial, moments = tmp_path / "killed.jsonl", tmp_path / "killed.jsonl.partial", random.Random(0)
    for _ in range(20):
        process = in_a_process(config(teacher, out, **rows))
        enough = _lines(partial) + moments.randint(0, 8)
        while _lines(partial) < enough:
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.004))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    assert not out.exists(), "all kills came before the end"
    assert 20 <= _lines(partial) < 300
    elicit(config(teacher, out, **rows))
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not Journal(out).files()


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def test_a_torn_line_is_cut_off_and_its_call_made_again(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    elicit(config(teacher, out))
    whole = out.read_bytes()
    journal = Journal(out)
    entries = journal.entries
    out.unlink()
    fresh = Journal(out)
    for key in list(entries)[:10]:
        fresh.add(key, entries[key])
    fresh.close()
    partial = fresh.files()[0]
    partial.write_bytes(partial.read_bytes()[:-7])
    assert len(Journal(out).entries) == 9
    elicit(config(teacher, out))
    assert out.read_bytes() == whole


def test_a_damaged_line_amid_the_journal_names_its_place(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.partial").write_text('{"key": "a", "id": "1", "failed": "x"}\n{"key":\n')
    with pytest.raises(DataError, match=r"rows\.jsonl\.partial:2: damaged \(.*--repair moves it"):
        Journal(tmp_path / "rows.jsonl")


def test_the_same_command_again_asks_nothing(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    elicit(config(teacher, out))
    before = out.read_bytes()
    monkeypatch.setattr("cotdistill.teachers.huggingface.HuggingFaceTeacher.ask", _must_not_be_asked)
    elicit(config(teacher, out))
    assert f"{2 * LIMIT}/{2 * LIMIT} calls done" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_higher_limit_asks_only_for_the_new_rows(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "rows.jsonl", tmp_path / "whole.jsonl"
    elicit(config(teacher, out, limit=10))
    elicit(config(teacher, out))
    assert f"20/{2 * LIMIT} calls done" in capsys.readouterr().err
    elicit(config(teacher, whole))
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_new_tokens": 20}, "max_new_tokens 24 -> 20"),
        ({"decode": "sample"}, "decode greedy -> sample"),
        ({"hint": "gold"}, "hint none -> gold"),
        ({"shots": 2}, "other prompts"),
    ],
)
def test_changed_settings_are_told_and_refused(
    teacher: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    out = tmp_path / "rows.jsonl"
    elicit(config(teacher, out, limit=4))
    before = out.read_bytes()
    with pytest.raises(UsageError, match=said):
        elicit(config(teacher, out, limit=4, **change))
    assert out.read_bytes() == before


def test_mix_keeps_both(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    gold = {"limit": 4, "counterfactual": False, "hint": "gold"}
    elicit(config(teacher, out, **gold))
    elicit(config(teacher, out, **gold, mix=True, max_new_tokens=20))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [[r["decoding"]["max_new_tokens"] for r in row["rationales"]] for row in rows] == [[24, 20]] * 4


def test_one_side_is_elicited_beside_what_is_there(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    elicit(config(teacher, out, limit=4, counterfactual=False, hint="gold"))
    elicit(config(teacher, out, limit=4, only="counterfactual", hint="gold", mix=True, max_new_tokens=20))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [[(r["kind"], r["decoding"]["max_new_tokens"]) for r in row["rationales"]] for row in rows] == [
        [("factual", 24), ("counterfactual", 20)]
    ] * 4


def test_keep_all_of_one_side_leaves_the_labels_of_the_other(tmp_path: Path) -> None:
    out, recorded = tmp_path / "rows.jsonl", tmp_path / "questions.jsonl"
    row = {"question": "2+2?", "choices": ["3", "4"], "answer": "4", "rationale": "So the answer is 3."}
    recorded.write_text("".join(json.dumps({"id": f"q-{at}", **row}) + "\n" for at in range(2)))
    common: dict[str, Any] = {"data": str(recorded), "out": out}
    with pytest.raises(NothingLeft):
        elicit(ElicitConfig.build(None, **common, teacher="rows"))
    asked = {"only": "counterfactual", "mix": True, "keep": "all", "max_new_tokens": 8, "shots": 0}
    elicit(ElicitConfig.build(None, **common, **asked, teacher="demo", device="cpu"))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    factual, *others = zip(*(row["rationales"] for row in rows), strict=True)
    assert [(r["kind"], r["label"]) for r in factual] == [("factual", "wrong")] * 2
    assert {r["label"] for side in others for r in side} <= {"keep", "unparsed"}


def test_rows_that_are_not_asked_about_are_never_lost(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    elicit(config(teacher, out, limit=6))
    with pytest.raises(UsageError, match="2 rows that this command does not ask about"):
        elicit(config(teacher, out, limit=4, mix=True))


def test_failed_calls_are_kept_apart_and_asked_again_when_told(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"id": "long", "question": "word " * 600, "choices": None, "answer": "yes"}
    short = {"id": "short", "question": "Is it?", "choices": None, "answer": "yes"}
    questions, out = tmp_path / "questions.jsonl", tmp_path / "rows.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in (long, short)))
    settings = {"data": str(questions), "counterfactual": False, "hint": "gold"}
    with pytest.raises(Partial, match=r"1 calls failed.*leaves no room"):
        elicit(config(teacher, out, **settings))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], len(row["rationales"])) for row in rows] == [("long", 0), ("short", 1)]
    with pytest.raises(Partial):
        elicit(config(teacher, out, **settings))
    assert "2/2 calls done, 1 of them failed (--retry-failed asks again)" in capsys.readouterr().err
    with pytest.raises(Partial):
        elicit(config(teacher, out, retry_failed=True, **settings))
    assert "and asked again" in capsys.readouterr().err


def test_ctrl_c_finishes_what_is_under_way_and_the_rest_is_asked_later(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "rows.jsonl", tmp_path / "whole.jsonl"
    elicit(config(teacher, whole))
    add, added = Journal.add, []

    def interrupted(self: Journal, key: str, entry: Any) -> None:
        add(self, key, entry)
        added.append(key)
        if len(added) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        elicit(config(teacher, out))
    assert 5 <= len(added) <= 5 + 2 * 4, "only what was under way may be finished"
    assert len(Journal(out).entries) == len(added)
    assert not out.exists()
    monkeypatch.undo()
    elicit(config(teacher, out))
    assert out.read_bytes() == whole.read_bytes()


def test_shards_one_behind_the_other_are_the_whole(teacher: Path, tmp_path: Path) -> None:
    elicit(config(teacher, tmp_path / "whole.jsonl"))
    for part in (1, 2, 3):
        elicit(config(teacher, tmp_path / f"{part}.jsonl", shard=f"{part}/3"))
    parts = b"".join((tmp_path / f"{part}.jsonl").read_bytes() for part in (1, 2, 3))
    assert parts == (tmp_path / "whole.jsonl").read_bytes()


def _must_not_be_asked(*_: Any) -> None:
    raise AssertionError("everything was done already")
