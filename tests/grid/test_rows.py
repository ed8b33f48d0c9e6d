"""Training rows: common to all arms, nested shares, matched lengths, held out by id."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.data.files import write_text
from cotdistill.data.mixture import copy_of
from cotdistill.data.records import Item, Rationale
from cotdistill.errors import NothingLeft, UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.rows import GridRows, choose, of_decoding, read_rows, rows_of_arm, usage, write_rows
from cotdistill.strategies.grids import Variant


def item(n: int, words: int = 4, counterfactual: bool = True, decode: str = "greedy") -> Item:
    kinds = ["factual", *(["counterfactual"] if counterfactual else [])]
    return Item(
        id=f"q{n}",
        task="t",
        split=None,
        question=f"{n}?",
        choices=("a", "b"),
        answer="a",
        rationales=tuple(
            Rationale.model_validate(
                {
                    "kind": kind,
                    "text": " ".join(["word"] * words),
                    "answer": "ab"[kind != "factual"],
                    "correct": True,
                    "label": "keep",
                    "teacher": "t",
                    "decoding": {"decode": decode},
                    "prompt": None,
                    "finished": True,
                }
            )
            for kind in kinds
        ),
    )


COT, SCOTT = Variant("cot"), Variant("scott")


def chosen(
    by_decoding: dict[str, list[Item]],
    *variants: Variant,
    lengths: bool = False,
    hold_out: bool = False,
    own: bool = False,
) -> GridRows:
    return choose(by_decoding, [Arm(variant) for variant in variants], lengths, hold_out, own, 0)


def test_rows_that_one_arm_cannot_use_are_used_by_none() -> None:
    items = [item(n, counterfactual=n % 2 == 0) for n in range(6)]
    found = chosen({"greedy": items}, COT, SCOTT)
    assert found.common == {"q0", "q2", "q4"}
    assert [i.id for i in rows_of_arm(found, Arm(COT), 0)] == ["q0", "q2", "q4"]
    bare = [item(n, counterfactual=False) for n in range(3)]
    with pytest.raises(Exception, match="counterfactual"):
        chosen({"greedy": bare}, SCOTT)
    assert usage(found, [Arm(COT), Arm(SCOTT)]) == {
        "cot": {
            "rows": 6,
            "can_use": 6,
            "trains_on": 3,
            "why": {"no kept counterfactual rationale, needed by scott": 3},
        },
        "scott": {"rows": 6, "can_use": 3, "trains_on": 3, "why": {"no kept counterfactual rationale": 3}},
    }


def test_each_arm_may_have_its_own_rows(tmp_path: Path) -> None:
    items = [item(n, counterfactual=n % 2 == 0) for n in range(20)]
    found = chosen({"greedy": items}, COT, SCOTT, hold_out=True, own=True)
    write_rows(tmp_path, found)
    write_text(tmp_path / "rows" / "greedy.jsonl", "".join(one.line() + "\n" for one in items))
    again = read_rows(tmp_path, ["greedy"])
    assert again == found
    trained = {arm.label: {i.id for i in rows_of_arm(again, arm, 0)} for arm in (Arm(COT), Arm(SCOTT))}
    assert len(found.held_out) == 2
    assert trained["cot"] == {i.id for i in items} - found.held_out
    assert trained["scott"] == {i.id for i in items if i.kept("counterfactual")} - found.held_out


def test_smaller_shares_are_parts_of_larger_ones() -> None:
    rows = GridRows({"greedy": [item(n) for n in range(40)]}, frozenset(f"q{n}" for n in range(40)), frozenset())
    shares = [{i.id for i in rows_of_arm(rows, Arm(COT, size=size), 0)} for size in (0.1, 0.5, 1.0)]
    assert [len(share) for share in shares] == [4, 20, 40]
    assert shares[0] < shares[1] < shares[2]
    assert {i.id for i in rows_of_arm(rows, Arm(COT, size=0.5), 1)} != shares[1]


def test_held_out_rows_are_not_trained_on() -> None:
    items = [item(n) for n in range(20)]
    found = chosen({"greedy": items}, COT, hold_out=True)
    assert len(found.held_out) == 2
    assert not found.held_out & {i.id for i in rows_of_arm(found, Arm(COT), 0)}
    assert {i.id for i in found.dev()} == found.held_out


def test_matched_lengths_keep_rows_that_are_about_as_long() -> None:
    greedy, other = [item(0, 10), item(1, 10), item(2, 10)], [item(0, 10), item(1, 9), item(2, 5)]
    found = chosen({"greedy": greedy, "contrastive": other}, COT, lengths=True)
    assert found.common == {"q0", "q1"}
    with pytest.raises(NothingLeft, match="--match-lengths"):
        chosen({"greedy": greedy[2:], "contrastive": other[2:]}, COT, lengths=True)


def test_a_control_changes_all_of_a_mixture(tmp_path: Path) -> None:
    """Those rationales too that come from other files, of which the grid then has a copy."""
    path = tmp_path / "long.jsonl"
    write_text(path, "".join(item(n, words=10 + n).line() + "\n" for n in range(6)))
    own = [item(n) for n in range(6)]
    mix = (("mix", f"{path}:1"),)
    folder = tmp_path / "rows"
    plain = GridRows({"greedy": own}, frozenset(one.id for one in own), frozenset(), folder=folder)
    swapped = rows_of_arm(plain, Arm(Variant("cot"), control="swapped", training=mix), 0)
    lengths = {one.id: len(one.rationales[0].text.split()) for one in swapped}
    assert sorted(lengths.values()) == [10 + n for n in range(6)]
    assert not any(words == 10 + int(row[1:]) for row, words in lengths.items())
    assert rows_of_arm(plain, Arm(Variant("cot"), training=mix), 0) == own  # mixed where it is trained
    write_text(copy_of(str(path), folder), path.read_text())
    path.unlink()
    assert rows_of_arm(plain, Arm(Variant("cot"), control="swapped", training=mix), 0) == swapped


def test_rationales_of_one_decoding_are_picked_from_given_rows() -> None:
    both = item(0).model_copy(update={"rationales": item(0).rationales + item(0, decode="contrastive").rationales})
    assert {r.decoding["decode"] for r in of_decoding([both], "contrastive")[0].rationales} == {"contrastive"}
    with pytest.raises(UsageError, match="only greedy"):
        of_decoding([item(0)], "contrastive")
