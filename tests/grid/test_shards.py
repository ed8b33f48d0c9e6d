"""Shards of a grid: each makes its part, nobody makes a thing twice, and joined they are the whole grid, byte for
byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.data.lock import locked_folder
from cotdistill.grid.shards import Claims, Shard
from cotdistill.verify import verify
from tests import in_process, warm
from tests.grids import options, printed
from tests.models import items, student


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A grid of two arms, two seeds and a sweep with a tiny student, its rows elicited."""
    folder = tmp_path_factory.mktemp("given")
    student("gpt2", width=16, layers=1).save(folder / "base")
    questions = folder / "questions.jsonl"
    questions.write_text("".join(item.example().line() + "\n" for item in items(4)))
    return options(
        folder,
        controls=False,
        student=(str(folder / "base"),),
        data=(str(questions),),
        limit=4,
        sweep={"lr": (0.001, 0.002)},
        evaluate={"max_new_tokens": 4},
    )


def ran(grid: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    return list(ablate(AblateConfig.build(**grid, **changes), None))


@pytest.fixture(scope="module")
def whole(grid: dict[str, Any]) -> dict[str, bytes]:
    ran(grid)
    return printed(grid["out"])


def made(out: Path) -> dict[str, int]:
    """When each run and reference was written."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("r*/*/predictions/*.jsonl")}


@pytest.mark.parametrize("count", [3, 20])
def test_shards_in_any_order_are_the_whole_grid(
    count: int, grid: dict[str, Any], whole: dict[str, bytes], tmp_path: Path
) -> None:
    """With 20 shards most have nothing to do."""
    grid, out, cells = {**grid, "out": tmp_path / "grid"}, tmp_path / "grid", []
    for at in reversed(range(1, count + 1)):
        done = [one["cell"] for one in ran(grid, shard=f"{at}/{count}")]
        assert not (out / "ablation.json").exists()
        cells += done
    assert len(cells) == len(set(cells)) == 6
    before = made(out)
    records = ran(grid)
    assert {one["cell"] for one in records} == {*cells}
    assert made(out) == before  # joining makes nothing again
    assert printed(out) == whole
    assert not list(out.rglob("*.lock"))
    verify(out)


@pytest.mark.slow
def test_shards_at_once_are_the_whole_grid(grid: dict[str, Any], whole: dict[str, bytes], tmp_path: Path) -> None:
    grid = {**grid, "out": tmp_path / "grid"}
    (tmp_path / "grid.yaml").write_text(
        json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in grid.items()})
    )
    shards = [
        subprocess.Popen(
            [*warm.command(), "ablate", "--config", str(tmp_path / "grid.yaml"), "--shard", f"{at}/2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at in (1, 2)
    ]
    done = [shard.communicate(timeout=120) for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], done
    records = [json.loads(line)["cell"] for out, _ in done for line in out.splitlines()]
    assert len({*records}) == 6
    before = made(tmp_path / "grid")
    ran(grid)
    assert made(tmp_path / "grid") == before
    assert printed(tmp_path / "grid") == whole


def test_what_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    mine, other = Claims(tmp_path, True), Claims(tmp_path, True)
    assert mine.take("a")
    assert mine.take("a")
    assert not other.take("a")
    assert other.take("b")
    mine.give_back("a")
    assert other.take("a")
    other.close()
    assert mine.take("b")
    mine.close()
    assert list(tmp_path.iterdir()) == []
    alone = Claims(tmp_path, False)
    assert alone.take("a")
    assert list(tmp_path.iterdir()) == []


def test_a_grid_and_its_shards_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.data.lock.GRACE", 0.1)
    args = ["ablate", "--strategies", "cot", "--steps", "1", "--out", str(tmp_path / "g")]
    with locked_folder(tmp_path / "g", shared=True):
        done = in_process.run(*args)
        assert (done.code, len(done.errors)) == (8, 1)
        assert "is writing it" in done.errors[0]
    with locked_folder(tmp_path / "g"):
        assert in_process.run(*args, "--shard", "1/2").code == 8


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2", ""])
def test_a_shard_is_one_of_as_many(text: str) -> None:
    done = in_process.run("ablate", "--shard", text)
    assert done.code == 2
    assert done.errors == [f"error: --shard: must be I/N, with I from 1 to N, not {text!r}"]


def test_parts_are_the_whole() -> None:
    parts = [Shard(at, 4).part(range(10)) for at in (1, 2, 3, 4)]
    assert sorted(n for part in parts for n in part) == list(range(10))
    assert [len(part) for part in parts] == [3, 3, 2, 2]
