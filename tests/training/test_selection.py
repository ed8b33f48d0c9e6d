"""--select against its formulas written out, the shares it keeps, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import TrainingOptions
from cotdistill.data.files import write_text
from cotdistill.data.records import Item
from cotdistill.errors import NothingLeft
from cotdistill.strategies.candidates import candidates
from cotdistill.strategies.registry import create
from cotdistill.training.selection import RANKING, rank_surprisal_ratio, selected, token_scores
from tests import grids
from tests.in_process import run
from tests.models import items, student

COT = create("cot", {})


def chosen(how: str, share: float = 0.5, rows: list[Item] | None = None, seed: int = 0) -> list[str]:
    options = TrainingOptions(select=how, select_share=share)
    return [item.id for item in selected(rows or items(8), COT, options, seed, student("gpt2"))]


def written_out(row: Item, clip: int = 100) -> dict[str, float]:
    """The scores of one row, token by token, from the model's logits of the whole text."""
    pupil = student("gpt2")
    words, rationale = pupil.tokenizer, row.rationales[0]
    prompt = words(f"{row.example().text()}\n{COT.forms[0].source.partition(chr(10))[2]}")["input_ids"]
    target = [
        *words(f" {rationale.text}")["input_ids"],
        *words(COT.forms[0].target[1].text)["input_ids"],
        *words(f" {row.answer}")["input_ids"],
        pupil.tokens.stop,
    ]
    with torch.no_grad():
        logits = pupil.model(torch.tensor([prompt + target])).logits[0].double()
    nlls, ranks = [], []
    for at, token in enumerate(target):
        said = logits[len(prompt) + at - 1]
        nlls.append(float(-said.log_softmax(-1)[token]))
        ranks.append(min(clip, 1 + sum(1 for other in said.tolist() if other > float(said[token]))))
    return {
        "rsr": sum(ranks) / sum(nlls),
        "nll": sum(nlls) / len(nlls),
        "length": len(target),
        "mean of quotients": sum(rank / nll for rank, nll in zip(ranks, nlls, strict=True)) / len(nlls),
    }


@pytest.mark.parametrize("how", ["rsr", "nll", "length"])
def test_the_lowest_scores_are_kept(how: str) -> None:
    rows = items(8)
    scores = {row.id: written_out(row)[how] for row in rows}
    best = set(sorted(scores, key=lambda row: (scores[row], row))[:4])
    assert chosen(how) == [row.id for row in rows if row.id in best]


@pytest.mark.parametrize(
    ("clip", "name", "same"), [(100, "rsr", True), (10**6, "rsr", False), (100, "mean of quotients", False)]
)
def test_the_ratio_is_that_of_clipped_sums(clip: int, name: str, same: bool) -> None:
    rows = items(3)
    scores = token_scores(rows, TrainingOptions(), student("gpt2"))
    for row in rows:
        close = abs(rank_surprisal_ratio(*scores[row.id]) / written_out(row, clip)[name] - 1) < 1e-4
        assert close == same, (row.id, clip, name)


def test_rows_are_ranked_by_the_form_of_cot() -> None:
    ((ranked, cot),) = zip(RANKING.forms, COT.forms, strict=True)
    assert (ranked.source, ranked.target, ranked.eos) == (cot.source, cot.target, cot.eos)


def test_scores_do_not_depend_on_the_batch() -> None:
    alone, together = (token_scores(items(5), TrainingOptions(batch_size=size), student("t5")) for size in (1, 5))
    for row, (nll, ranks) in alone.items():
        torch.testing.assert_close(together[row][0], nll, rtol=1e-5, atol=1e-5)
        assert torch.equal(together[row][1], ranks)


def test_a_random_choice_is_of_equal_size_and_does_not_depend_on_the_order() -> None:
    assert len(chosen("random")) == len(chosen("rsr")) == 4
    assert set(chosen("random", rows=items(8)[::-1])) == set(chosen("random"))
    assert chosen("random", seed=1) != chosen("random")
    assert set(chosen("random", 0.25)) < set(chosen("random", 0.75))


def with_wrong(count: int = 8) -> list[Item]:
    """Every second row's factual rationale is wrong, and kept all the same, as with --keep all."""
    rows = items(count)
    for at in range(0, count, 2):
        first, *others = rows[at].rationales
        rows[at] = rows[at].model_copy(update={"rationales": (first.model_copy(update={"correct": False}), *others)})
    return rows


def test_right_only_leaves_out_what_was_answered_wrong() -> None:
    assert chosen("right", rows=with_wrong()) == ["row-1", "row-3", "row-5", "row-7"]
    with pytest.raises(NothingLeft, match="no row is left by --select right"):
        candidates(with_wrong(1), COT, "right")


def write(folder: Path, rows: list[Item]) -> str:
    write_text(folder / "rows.jsonl", "".join(row.line() + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def test_distill_says_and_keeps_what_was_chosen(tmp_path: Path) -> None:
    options = ["--student", str(saved(tmp_path)), "--steps", "2", "--device", "cpu", "--select", "rsr"]
    options += ["--max-unknown", "1", "--out", str(tmp_path / "run")]
    done = run("distill", write(tmp_path, items(8)), *options, "--dry-run")
    assert done.code == 0, done.err
    assert "on 4 samples of 8 rows" in done.err
    first = run("distill", str(tmp_path / "rows.jsonl"), *options)
    assert first.code == 0, first.err
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    assert card["data"]["left_out"] == {"not chosen by --select rsr": 4}
    assert card["data"]["trained_on"] == 4
    again = run("distill", str(tmp_path / "rows.jsonl"), *options)
    assert again.out == first.out


def saved(folder: Path) -> Path:
    student("gpt2").save(folder / "student")
    return folder / "student"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--select best", "--select"),
        ("--select rsr --select-share 0", "--select-share: input should be greater than 0"),
        ("--select rsr --select-share 1.5", "--select-share: input should be less than or equal to 1"),
        ("--select-share 0.3", "--select-share changes nothing without --select"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(options: str, says: str) -> None:
    done = run("distill", "nowhere.jsonl", *options.split())
    assert done.code == 2
    assert says in done.errors[0]


def test_a_grid_compares_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[str, Any] = {"strategies": ("cot",), "seeds": (0,), "controls": False, "steps": 4}
    records = grids.run(tmp_path, **changes, vary={"select": ("none", "right", "rsr", "random")})
    sizes = {r["arm"]: r["examples"] for r in records if r["role"] == "strategy"}
    assert set(sizes) == {f"cot [select {how}]" for how in ("none", "right", "rsr", "random")}
    assert sizes["cot [select rsr]"] == sizes["cot [select random]"] < sizes["cot [select none]"]
    assert "cot [select right]: no kept rationale ends in a wrong answer" in " ".join(capsys.readouterr().err.split())
    assert run("verify", str(tmp_path / "grid")).code == 0


def test_preview_shows_what_is_kept_and_why(tmp_path: Path) -> None:
    done = run("preview", write(tmp_path, items(8)), "--student", str(saved(tmp_path)), "--select", "rsr")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    choices = [record for record in records if "kept" in record]
    assert [record["row"] for record in choices if record["kept"]] == sorted(
        chosen("rsr"), key=lambda row: (written_out(items(8)[int(row[4:])])["rsr"], row)
    )
    for record in choices:
        assert record["score"] == pytest.approx(written_out(items(8)[int(record["row"][4:])])["rsr"], rel=1e-4)
    assert "--select rsr keeps 4 of 8 rows" in done.err
    assert len(records) == 8 + len(COT.forms)
    right = run("preview", write(tmp_path, with_wrong()), "--student", str(tmp_path / "student"), "--select", "right")
    whys = {record["row"]: record["why"] for record in map(json.loads, right.out.splitlines()) if "kept" in record}
    assert whys == {f"row-{at}": None if at % 2 else "no right answer" for at in range(8)}


def test_wrong_rationales_are_learned_with_their_wrong_answer() -> None:
    marked = items(4)
    for at in (1, 3):
        first, *others = marked[at].rationales
        other = next(choice for choice in marked[at].choices or () if choice != marked[at].answer)
        wrong = first.model_copy(update={"label": "wrong", "answer": other})
        marked[at] = marked[at].model_copy(update={"rationales": (wrong, *others)})
    left = candidates(marked, COT, "wrong")
    assert [row.id for row in left] == ["row-1", "row-3"]
    for row, before in zip(left, marked[1::2], strict=True):
        assert row.answer == before.rationales[0].answer != before.answer
        assert row.kept("factual")[0].text == before.rationales[0].text
    with pytest.raises(NothingLeft, match="--select wrong"):
        candidates(items(4), COT, "wrong")
