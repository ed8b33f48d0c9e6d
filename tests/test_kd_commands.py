"""`elicit --logprobs` and `distill --kd`: the file between them, what is refused, and a run that resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.data.distributions import Distributions, Recorded, beside, load, recorded_key, save, vocabulary_digest
from cotdistill.data.files import write_text
from cotdistill.data.mixture import mixed
from cotdistill.decoding.decode import Prompt
from cotdistill.teachers.scoring import score
from tests.in_process import run
from tests.models import items, student


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    assert run("elicit", "--limit", "12", "--logprobs", "4", "-o", str(out)).code == 0
    return out


def distill(rows: Path, out: Path, *more: str) -> tuple[int, str, str]:
    done = run("distill", str(rows), "--steps", "3", "--batch-size", "4", "--out", str(out), *more)
    return done.code, done.out, done.err


def test_the_term_is_learned_and_is_part_of_the_key(rows: Path, tmp_path: Path) -> None:
    keys, losses = [], []
    for more in ((), ("--kd", "kl"), ("--kd", "jsd:0.5"), ("--kd", "kl", "--kd-weight", "0.5")):
        out = tmp_path / str(len(keys))
        code, said, error = distill(rows, out, *more)
        assert code == 0, error
        keys.append(json.loads(said)["key"])
        losses.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert len(set(keys)) == 4
    assert losses[0] < losses[3] < losses[1]
    assert losses[3] - losses[0] == pytest.approx((losses[1] - losses[0]) / 2, rel=1e-3)


def test_a_resumed_run_is_the_whole_run(rows: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("whole", "resumed"):
        out = tmp_path / name
        assert distill(rows, out, "--kd", "reverse-kl", "--checkpoint-every", "1", "--keep-checkpoints", "3")[0] == 0
        if name == "resumed":  # as a kill after the first step leaves it
            (out / "run.json").unlink()
            for step in (2, 3):
                for file in (out / "checkpoints" / f"step-{step}").iterdir():
                    file.unlink()
                (out / "checkpoints" / f"step-{step}").rmdir()
            assert (
                distill(rows, out, "--kd", "reverse-kl", "--checkpoint-every", "1", "--keep-checkpoints", "3")[0] == 0
            )
        weights.append((out / "student" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_what_cannot_be_learned_is_refused(rows: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.jsonl", tmp_path / "run"
    assert run("elicit", "--limit", "3", "--split", "hard", "-o", str(other)).code == 0
    damaged = tmp_path / "damaged.safetensors"
    side = f"{rows}.logprobs.safetensors"
    damaged.write_bytes(Path(f"{rows}.logprobs.safetensors").read_bytes()[:-1] + b"?")
    for code, says, command in (
        (2, "does not exist; elicit --logprobs K", (other, "--kd", "kl")),
        (3, "belongs to other rows", (other, "--kd", "kl", "--kd-file", side)),
        (3, "is damaged", (rows, "--kd", "kl", "--kd-file", str(damaged))),
        (2, "kl, reverse-kl or jsd:B", (rows, "--kd", "jsd:2")),
        (2, "only 4 tokens are stored", (rows, "--kd", "kl", "--kd-top", "5")),
        (2, "learns no rationale", (rows, "--kd", "kl", "--strategy", "answer-only")),
        (2, "--kd-weight changes nothing without --kd", (rows, "--kd-weight", "2")),
    ):
        first, *more = command
        got, _, error = distill(Path(first), out, *map(str, more))
        assert (got, len([line for line in error.splitlines() if line.startswith("error:")])) == (code, 1), error
        assert says in " ".join(error.split())
        assert not (out / "student").exists()
    for says, command in (
        ("gives no distribution", ["--teacher", "rows", "-o", str(other)]),
        ("name its model's with --tokenizer", ["--teacher", "openai:m", "-o", str(other)]),
        ("--tokenizer changes nothing", ["--tokenizer", "demo", "-o", str(other)]),
        ("name one", []),
    ):
        done = run("elicit", "--logprobs", "4", "--limit", "2", *command)
        assert (done.code, len(done.errors)) == (2, 1)
        assert says in " ".join(done.err.split())


def test_a_mixture_is_taught_by_the_files_of_all_its_sources(rows: Path, tmp_path: Path) -> None:
    """As by one file of all its rows; what a source lacks, or has of other rows, is one line."""
    hard, bare = tmp_path / "hard.jsonl", tmp_path / "bare.jsonl"
    assert run("elicit", "--limit", "12", "--split", "hard", "--logprobs", "3", "-o", str(hard)).code == 0
    bare.write_bytes(rows.read_bytes())
    mix = (f"{rows}:0.5", f"{hard}:0.5")
    whole = tmp_path / "whole.jsonl"
    write_text(whole, "".join(row.line() + "\n" for row in mixed([], mix, 0)))
    each = [load(beside(path)).each() for path in (rows, hard)]
    cut = {
        key: Recorded(one.tokens, one.ids[:, :3], one.logprobs[:, :3])
        for told in each
        for key, (_, one) in told.items()
    }
    save(beside(whole), Distributions.of(cut, load(beside(rows)).vocabulary, 3))
    weights = []
    # Rows of which none is taken need no file, and one's own rows are a source like any other.
    for name, source, more in (
        ("whole", whole, ()),
        ("files", bare, ("--mix", ",".join(mix))),
        ("own", rows, ("--mix", f"rows:0.5,{hard}:0.5")),
    ):
        code, said, error = distill(source, tmp_path / name, "--kd", "kl", *more)
        assert code == 0, error
        assert json.loads(said)["trained_on"] == 24
        weights.append((tmp_path / name / "student" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] == weights[2]
    side = beside(hard).read_bytes()
    beside(hard).write_bytes(beside(rows).read_bytes())
    for code, says, source, more in (
        (3, "it belongs to other rows", rows, ("--mix", f"rows:0.5,{hard}:0.5")),
        (2, f"{bare}.logprobs.safetensors does not exist", rows, ("--mix", f"rows:0.5,{bare}:0.5")),
        (2, "only 3 tokens are stored", rows, ("--mix", f"rows:0.5,{hard}:0.5", "--kd-top", "4")),
        (2, "--kd-file changes nothing", bare, ("--mix", ",".join(mix), "--kd-file", str(beside(rows)))),
    ):
        got, _, error = distill(source, tmp_path / "no", "--kd", "kl", *more)
        assert (got, len([line for line in error.splitlines() if line.startswith("error:")])) == (code, 1), error
        assert says in " ".join(error.split())
        beside(hard).write_bytes(side)
    # Other distributions of a source are another run.
    assert run("elicit", "--limit", "12", "--split", "hard", "--logprobs", "2", "-o", str(hard)).code == 0
    assert "holds another run" in distill(rows, tmp_path / "own", "--kd", "kl", "--mix", f"rows:0.5,{hard}:0.5")[2]


def test_fewer_tokens_than_stored_are_learned_as_if_no_more_were_there(rows: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer.jsonl"
    assert run("elicit", "--limit", "12", "--logprobs", "2", "-o", str(fewer)).code == 0
    assert fewer.read_bytes() == rows.read_bytes()
    weights = []
    for name, source, more in (("cut", rows, ["--kd-top", "2"]), ("stored", fewer, []), ("whole", rows, [])):
        assert distill(source, tmp_path / name, "--kd", "kl", *more)[0] == 0
        weights.append((tmp_path / name / "student" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_what_is_complete_is_not_scored_again(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows and an interruption score the missing ones alone; other settings, and another K, all of them."""
    from cotdistill.teachers import huggingface

    out, side = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.logprobs.safetensors"
    scored: list[str] = []
    plain = huggingface.score

    def counted(model: Any, prompt: Any, text: str, k: int) -> Any:
        if len(scored) == 5:
            raise KeyboardInterrupt
        scored.append(text)
        return plain(model, prompt, text, k)

    monkeypatch.setattr(huggingface, "score", counted)
    asked = ("elicit", "--limit", "12", "--logprobs", "4", "-o", str(out))
    assert run(*asked).code == 130
    assert len(load(side).keys) == 5
    monkeypatch.setattr(huggingface, "score", lambda *given: scored.append(given[2]) or plain(*given))
    for more, count in (([], 12), ([], 12), (["--limit", "14"], 14), (["--limit", "14", "--logprobs", "3"], 28)):
        assert run(*asked, *more).code == 0
        assert len(scored) == count
        if more == []:
            assert side.read_bytes() == Path(f"{rows}.logprobs.safetensors").read_bytes()
    written = side.stat().st_mtime_ns
    assert run(*asked, "--limit", "14", "--logprobs", "3").code == 0
    assert side.stat().st_mtime_ns == written
    # Rationales that --mix leaves in the rows keep theirs.
    mixed = (*asked[:3], "--logprobs", "3", "--limit", "14", "-o", str(out), "--only", "counterfactual", "--mix")
    assert run(*mixed).code == 0
    rationales = sum(len(json.loads(line)["rationales"]) for line in out.read_text().splitlines())
    assert (len(load(side).keys), len(scored)) == (rationales, 28 + rationales - 14)


def test_the_file_is_read_once(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotdistill.data import distributions

    distributions._joined.cache_clear()
    opened: list[str] = []
    plain = distributions.safe_open
    monkeypatch.setattr(
        distributions, "safe_open", lambda path, **more: opened.append(str(path)) or plain(path, **more)
    )
    assert distill(rows, tmp_path / "run", "--kd", "kl", "--strategy", "icot-si")[0] == 0
    assert opened == [f"{rows}.logprobs.safetensors"]


def test_a_divergence_of_ones_own_is_learned_and_its_code_is_in_the_key(rows: Path, tmp_path: Path) -> None:
    """Sharing nothing it is KL; its code counts; a wrong value and a wrong shape are one line."""
    from cotdistill.plugins.kinds import DIVERGENCES

    example = Path(__file__).parents[1] / "examples" / "skewed_kl.py"
    other = tmp_path / "other.py"
    changed = example.read_text().replace('"skewed-kl"', '"other-kl"')
    other.write_text(changed)
    losses, keys = {}, {}
    try:
        for at, (file, kd) in enumerate(
            ((example, "kl"), (example, "skewed-kl:1e-9"), (example, "skewed-kl:0.5"), (other, "other-kl:0.5"))
        ):
            code, said, error = distill(rows, tmp_path / str(at), "--plugin", str(file), "--kd", kd)
            assert code == 0, error
            keys[kd] = json.loads(said)["key"]
            losses[kd] = json.loads((tmp_path / str(at) / "metrics.jsonl").read_text().splitlines()[0])["loss"]
        assert losses["skewed-kl:1e-9"] == pytest.approx(losses["kl"], rel=1e-3)
        assert losses["skewed-kl:0.5"] == losses["other-kl:0.5"] < losses["kl"]
        assert len(set(keys.values())) == 4
        bad = tmp_path / "bad.py"
        bad.write_text(changed.replace("other-kl", "bad-kl").replace(".sum(-1)", ".sum()"))
        for file, kd, says in (
            (example, "skewed-kl:2", "share must lie between 0 and 1"),
            (example, "skewed-kl:0.1:3", "skewed-kl takes share"),
            (example, "skewed", "kl, reverse-kl or jsd:B"),
            (bad, "bad-kl", "must return one finite value"),
        ):
            code, _, error = distill(rows, tmp_path / "no", "--plugin", str(file), "--kd", kd)
            assert code == 2, error
            assert says in " ".join(error.split())
    finally:
        for name in ("skewed-kl", "other-kl", "bad-kl"):
            DIVERGENCES._entries.pop(name, None)


def test_an_encoder_decoder_student_learns_from_a_teacher_of_its_kind(tmp_path: Path) -> None:
    """Its rationale is its decoder's; what the file tells is what the model itself says at these targets."""
    model, rows = student("t5"), items(4)
    model.save(tmp_path / "t5")
    write_text(tmp_path / "rows.jsonl", "".join(row.line() + "\n" for row in rows))
    recorded = {}
    for row in rows:
        source = model.tokenizer(row.question)["input_ids"]
        for one in row.rationales:
            told = score(model, Prompt([model.start], source), one.text, 3)
            ids = torch.tensor([[model.start, *told.tokens[:-1].tolist()]])
            logits = model.model(input_ids=torch.tensor([source]), decoder_input_ids=ids).logits[0]
            plain = logits.log_softmax(-1).gather(1, torch.from_numpy(told.ids).long())
            torch.testing.assert_close(torch.from_numpy(told.logprobs).float(), plain.detach(), atol=5e-3, rtol=0)
            recorded[recorded_key(row.id, one.kind, one.text)] = told
    vocabulary = vocabulary_digest(model.tokenizer.get_vocab())
    save(beside(tmp_path / "rows.jsonl"), Distributions.of(recorded, vocabulary, 3))
    losses = []
    for name, more in (("plain", []), ("kd", ["--kd", "reverse-kl"])):
        given = ("--student", str(tmp_path / "t5"), "--device", "cpu", "--max-unknown", "1", *more)
        code, _, error = distill(tmp_path / "rows.jsonl", tmp_path / name, *given)
        assert code == 0, error
        losses.append(json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[0] < losses[1]
