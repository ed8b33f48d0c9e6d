"""The teacher's distributions in a grid: elicited with the rows or brought with them, in each cell's key, refused where
they have no meaning, and followed by verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.data.distributions import load
from cotdistill.verify import verify
from tests.grids import question_files
from tests.in_process import Done, run
from tests.models import student

SMALL = ("--seeds", "0", "--steps", "2", "--batch-size", "4", "--jobs", "1", "--device", "cpu")


def ablate(folder: Path, *more: str, rows: Path | None = None) -> Done:
    data = question_files(folder, 3)[0]
    where = [str(rows)] if rows else ["--train", "demo", "--teacher", "demo", "--limit", "8"]
    return run("ablate", *where, "--data", data, *SMALL, "--out", str(folder / "grid"), *more)


def cells(out: Path) -> dict[str, dict[str, Any]]:
    return {
        stored["name"]: stored
        for stored in (json.loads(path.read_text()) for path in (out / "cells").glob("*.json"))
        if "training" in stored["definition"]
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    assert run("elicit", "--limit", "8", "--logprobs", "4", "-o", str(out)).code == 0
    return out


def test_elicited_rows_bring_their_distributions_and_arms_vary_in_kd(tmp_path: Path) -> None:
    asked = ("--strategies", "cot", "--vary", "kd=none,jsd:0.5", "--logprobs", "3")
    done = ablate(tmp_path, *asked)
    assert done.code == 0, done.err
    out = tmp_path / "grid"
    made = cells(out)
    # Floors without the teacher's rationales stand there once, without the term.
    assert set(made) == {
        f"{arm}/seed-0"
        for arm in (
            "cot [kd none]",
            "cot [kd jsd:0.5]",
            "answer-only",
            "cot [swapped rationales]",
            "cot [random words]",
            "cot [shuffled labels, kd none]",
            "cot [shuffled labels, kd jsd:0.5]",
        )
    }
    assert load(out / "rows" / "greedy.jsonl.logprobs.safetensors").k == 3
    told = {name for name, stored in made.items() if "kd" in stored["definition"]["training"]}
    assert told == {"cot [kd jsd:0.5]/seed-0", "cot [shuffled labels, kd jsd:0.5]/seed-0"}
    verify(out)
    before = (out / "cells.jsonl").read_bytes()
    assert "train without the term" in (again := ablate(tmp_path, *asked)).err
    assert again.code == 0
    assert (out / "cells.jsonl").read_bytes() == before
    # Other distributions are other cells: the rows stay, and only what learns them is run again.
    digest = made["cot [kd jsd:0.5]/seed-0"]["definition"]["training"]["kd"]
    rows = (out / "rows" / "greedy.jsonl").read_bytes()
    assert ablate(tmp_path, "--strategies", "cot", "--vary", "kd=none,jsd:0.5", "--logprobs", "5").code == 0
    assert (out / "rows" / "greedy.jsonl").read_bytes() == rows
    assert load(out / "rows" / "greedy.jsonl.logprobs.safetensors").k == 5
    again_made = cells(out)
    assert again_made["cot [kd none]/seed-0"]["key"] == made["cot [kd none]/seed-0"]["key"]
    others = {
        stored["definition"]["training"].get("kd")
        for stored in (json.loads(path.read_text()) for path in (out / "cells").glob("*.json"))
        if stored["name"] == "cot [kd jsd:0.5]/seed-0"
    }
    assert len(others) == 2
    assert digest in others
    verify(out)


def test_given_rows_bring_theirs_and_the_weight_is_swept(rows: Path, tmp_path: Path) -> None:
    asked = ("--strategies", "cot,cascod", "--no-controls", "--kd", "kl", "--sweep", "kd-weight=0.5,2", "--kd-top", "2")
    done = ablate(tmp_path, *asked, "--dev", question_files(tmp_path, 3)[1], rows=rows)
    assert done.code == 0, done.err
    out = tmp_path / "grid"
    copy = out / "rows" / "greedy.jsonl.logprobs.safetensors"
    assert copy.read_bytes() == Path(f"{rows}.logprobs.safetensors").read_bytes()
    weights = {stored["definition"]["training"]["config"]["kd_weight"] for stored in cells(out).values()}
    assert weights == {0.5, 2.0}
    verify(out)
    copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    damaged = run("verify", str(out))
    assert damaged.code == 7
    assert "greedy.jsonl.logprobs.safetensors" in damaged.err


def test_files_that_are_mixed_in_bring_theirs(rows: Path, tmp_path: Path) -> None:
    hard, bare = tmp_path / "hard.jsonl", tmp_path / "bare.jsonl"
    assert run("elicit", "--limit", "8", "--split", "hard", "--logprobs", "4", "-o", str(hard)).code == 0
    bare.write_bytes(rows.read_bytes())
    vary = ("--strategies", "cot", "--no-controls", "--vary", f"mix={rows}:1;rows:0.5+{hard}:0.5", "--kd", "kl")
    refused = ablate(tmp_path, *vary, rows=bare)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "bare.jsonl.logprobs.safetensors does not exist" in refused.errors[0]
    assert not (tmp_path / "grid").exists()
    done = ablate(tmp_path, *vary, rows=rows)
    assert done.code == 0, done.err
    by_arm = {name: stored["definition"]["training"] for name, stored in cells(tmp_path / "grid").items()}
    assert [sorted({"kd", "kd_mix"} & {*one}) for one in by_arm.values() if "kd_mix" in one].count(["kd_mix"]) == 1
    assert sum({"kd", "kd_mix"} <= {*one} for one in by_arm.values()) == 1
    verify(tmp_path / "grid")


def test_what_no_cell_could_learn_is_refused_beforehand(rows: Path, tmp_path: Path) -> None:
    bare, other = tmp_path / "bare.jsonl", tmp_path / "other.jsonl"
    bare.write_bytes(rows.read_bytes())
    assert run("elicit", "--limit", "3", "--split", "hard", "-o", str(other)).code == 0
    student("llama").save(tmp_path / "llama")
    beside = ("--kd-file", f"{rows}.logprobs.safetensors")
    none: tuple[Path | None, ...] = (None,)
    for code, says, given, options in (
        (2, "add --logprobs K", None, ("--kd", "kl")),
        (2, "only the 3 tokens of --logprobs", None, ("--kd", "kl", "--logprobs", "3", "--sweep", "kd-top=2,4")),
        (2, "--logprobs changes nothing without --kd", None, ("--logprobs", "3")),
        (2, "--kd-file changes nothing where rows are elicited", None, ("--kd", "kl", "--logprobs", "3", *beside)),
        (2, "gives no distribution", None, ("--kd", "kl", "--logprobs", "3", "--teacher", f"recorded:{rows}")),
        (
            2,
            "another vocabulary than the teacher demo",
            None,
            ("--kd", "kl", "--logprobs", "3", "--student", "{llama}"),
        ),
        (2, "does not exist; elicit --logprobs K", bare, ("--kd", "kl")),
        (2, "changes nothing where rows are given", rows, ("--kd", "kl", "--logprobs", "3")),
        (2, "only 4 tokens are stored", rows, ("--kd", "kl", "--kd-top", "5")),
        (2, "--vary kd-file", rows, ("--kd", "kl", "--vary", "kd-file=a,b")),
        (2, "kl, reverse-kl or jsd:B", rows, ("--vary", "kd=none,jsd:2")),
        (2, "--kd-weight changes nothing", rows, ("--kd-weight", "2")),
        (2, "another vocabulary than", rows, ("--kd", "kl", "--student", "{llama}")),
        (
            2,
            "post-cot-permuted, post-cot-masked: --kd has no meaning",
            rows,
            ("--kd", "kl", "--permute-tokens", "--mask-tokens", "0.5"),
        ),
        (2, "cot(rewrite=truncate:0.5)", rows, ("--kd", "kl", "--rewrite", "truncate:0.5", "--strategies", "cot")),
        (3, "belongs to other rows", other, ("--kd", "kl", *beside)),
    ):
        assert given in (*none, rows, bare, other)
        for dry in ((), ("--dry-run",)):
            done = ablate(tmp_path, *(text.format(llama=tmp_path / "llama") for text in options), *dry, rows=given)
            assert (done.code, len(done.errors)) == (code, 1), (options, done.err)
            assert says in done.errors[0], done.err
            assert not (tmp_path / "grid").exists()
    fine = ablate(
        tmp_path, "--vary", "kd=none,kl", "--strategies", "cot,icot-si,edit-krsl", "--dry-run", "--logprobs", "3"
    )
    assert fine.code == 0, fine.err
