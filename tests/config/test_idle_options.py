"""An option that would change nothing is refused, and the one it belongs to named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import call
from tests.models import items

PLUGIN = Path(__file__).parents[2] / "examples" / "rationale_twice.py"


@pytest.mark.parametrize(("command", "says"), [
    ("ablate --key-tokens 0", "--key-tokens: input should be greater than 0, not"),
    ("ablate --strategies cot --param cascod.alpha=1",
     "--param cascod.alpha: no strategy of --strategies (cot) has it"),
    ("ablate --permute-tokens --param alpha=1", "--param alpha: --strategies names none"),
    ("ablate --permute-level token", "--permute-level changes nothing without --permute-tokens or --study"),
    ("ablate --key-by gradient-input", "--key-by changes nothing without --key-tokens or --study"),
    ("ablate --exclude-label", "--exclude-label changes nothing without --key-tokens or --study"),
    ("ablate --match-lengths", "--match-lengths changes nothing without --teacher-decoding"),
    ("ablate --patience 2", "--patience changes nothing without --dev"),
    ("ablate --ratios 0.1", "--ratios changes nothing without --probe"),
    ("distill --dev-every 3", "--dev-every changes nothing without --dev"),
    ("distill --no-merge-lora", "--merge-lora changes nothing without --lora"),
    ("distill --keep-checkpoints 5", "--keep-checkpoints changes nothing without --checkpoint-every"),
    ("evaluate r --param alpha=1", "--param changes nothing without --strategy"),
    ("evaluate r --temperature 0.2", "--temperature changes nothing without --samples"),
    ("evaluate r --simulator transformer", "--simulator changes nothing without --probe"),
])
def test_an_option_that_would_change_nothing_is_refused(command: str, says: str) -> None:
    done = call(*command.split())
    assert done.code == 2
    (line,) = done.errors
    assert line.startswith(f"error: {says}")


@pytest.mark.parametrize(("ends", "counted"), [
    (['{"end": {"rows": 9, "failed": 0}}'], 9), (['{"end": {"rows": 7, "failed": 1}}'], 7),
    (['{"end": {"rows": 4, "failed": 0}}'] * 3, 12), (['{"end": {}}'], -1), (['{"end": "yes"}'], -1)])
def test_an_end_line_whose_count_is_wrong_is_refused(ends: list[str], counted: int) -> None:
    stream = "".join(item.line() + "\n" for item in items(8)) + "\n".join(ends) + "\n"
    done = call("distill", "--steps", "1", stdin=stream)
    assert done.code == 3
    assert done.errors == [f"error: stdin: the end line counts {counted} rows, but 8 came through; rerun the command "
                           "before this one, or pass --allow-partial"]


def test_a_plugin_may_be_named_by_a_relative_path_in_one_process(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from cotdistill.strategies import registry

    registry.entries()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(PLUGIN.read_text())
    Path("rows.jsonl").write_text("".join(item.line() + "\n" for item in items(4)))
    Path("asked.jsonl").write_text("".join(item.example().line() + "\n" for item in items(2)))
    done = call("ablate", "rows.jsonl", "--plugin", "own.py", "--strategies", "rationale-twice", "--steps", "1",
                "--seeds", "0", "--no-controls", "--jobs", "1", "--data", "asked.jsonl", "--device", "cpu",
                "--eval-max-new-tokens", "8")
    assert done.code == 0, done.stderr


def test_a_run_card_may_not_run_code_or_name_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's run.json as --config: none of the three is taken over, and it is said."""
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('executed', 'w').close()\n")
    Path("run.json").write_text('{"key": "x", "config": {"plugin": ["evil.py"], "trust_remote_code": true, '
                                '"strategy": "cot", "steps": 1}}')
    Path("rows.jsonl").write_text("".join(item.line() + "\n" for item in items(2)))
    done = call("distill", "rows.jsonl", "--config", "run.json", "--dry-run", "--device", "cpu")
    assert done.code == 0, done.stderr
    assert not Path("executed").exists()
    assert "run.json is a run card: its --plugin and --trust-remote-code are not taken over" in done.stderr
