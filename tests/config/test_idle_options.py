"""An option that would change nothing is refused, and the one it belongs to named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import AblateConfig, ElicitConfig
from tests.in_process import run
from tests.models import items

PLUGIN = Path(__file__).parents[2] / "examples" / "rationale_twice.py"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("ablate --key-tokens 0", "--key-tokens: input should be greater than 0, not"),
        (
            "ablate --strategies cot --param cascod.alpha=1",
            "--param cascod.alpha: no strategy of --strategies (cot) has it",
        ),
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
        ("evaluate r --answers letter", "--answers changes nothing without --strategy"),
        ("distill --scores s.jsonl ROWS", "--scores changes nothing without --param by=METHOD"),
        ("distill --scores s.jsonl ROWS --strategy post-cot-key", "--scores changes nothing without --param by=METHOD"),
        ("distill --map question=q", "--map changes nothing without --dev"),
        (
            "elicit --temperature 0.3",
            "--temperature changes nothing without --decode sample|rerank or --decode contrastive|rerank",
        ),
        ("elicit --decode contrastive --top-p 0.3", "--top-p changes nothing without --decode sample|rerank"),
        ("elicit --decode sample --lambda 0.3", "--lambda changes nothing without --decode contrastive|rerank"),
        ("elicit --decode rerank --plausibility 0.3", "--plausibility changes nothing without --decode contrastive"),
        ("elicit --contrast empty", "--contrast changes nothing without --decode contrastive|rerank"),
        ("elicit --base-url http://x/v1", "--base-url changes nothing without --teacher openai:NAME"),
        ("elicit --teacher demo --endpoint completion", "--endpoint changes nothing without --teacher openai:NAME"),
        ("elicit --retries 2 --teacher rows", "--retries changes nothing without --teacher openai:NAME"),
        ("elicit --timeout 2 --teacher ./m", "--timeout changes nothing without --teacher openai:NAME"),
        ("ablate --concurrency 2", "--concurrency changes nothing without --teacher openai:NAME"),
        ("ablate --top-p 0.5", "--top-p changes nothing here"),
        ("ablate --lambda 0.2", "--lambda changes nothing without --teacher-decoding contrastive or --study"),
        (
            "ablate --teacher-decoding greedy --temperature 0.2",
            "--temperature changes nothing without --teacher-decoding contrastive or --study",
        ),
        ("elicit --reasoning-marker x --data none", "--reasoning-marker: takes 'OPEN CLOSE', two different words, not"),
        ("ablate --reasoning-marker", "Option '--reasoning-marker' requires an argument"),
        ("evaluate r --simulator transformer", "--simulator changes nothing without --probe"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(command: str, says: str) -> None:
    done = run(*command.split())
    assert done.code == 2
    (line,) = done.errors
    assert line.startswith(f"error: {says}")


@pytest.mark.parametrize(
    "options",
    [
        {"decode": "sample", "temperature": 0.3, "top_p": 0.5},
        {"decode": "rerank", "lambda_": 0.2, "samples": 3},
        {"decode": "contrastive", "temperature": 0.3, "plausibility": 0.1, "contrast": "empty"},
        {"teacher": "openai:m", "base_url": "http://x/v1", "retries": 1, "concurrency": 2, "timeout": 3.0},
        {"reasoning_marker": ["<a> </a>", "[b] [/b]"]},
    ],
)
def test_an_option_with_what_it_belongs_to_is_taken(options: dict[str, Any]) -> None:
    config = ElicitConfig.build(None, **options)
    assert all(
        getattr(config, name) in (value, tuple(value) if isinstance(value, list) else None)
        for name, value in options.items()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"study": "scott", "elicit.lambda_": 0.2},
        {"teacher_decoding": ("greedy", "contrastive"), "elicit.temperature": 0.2},
        {"teacher": "openai:m", "elicit.base_url": "http://x/v1"},
    ],
)
def test_a_grid_takes_what_its_teacher_can_use(options: dict[str, Any]) -> None:
    assert AblateConfig.build(None, **options)


@pytest.mark.parametrize(
    ("ends", "counted"),
    [
        (['{"end": {"rows": 9, "failed": 0}}'], 9),
        (['{"end": {"rows": 7, "failed": 1}}'], 7),
        (['{"end": {"rows": 4, "failed": 0}}'] * 3, 12),
        (['{"end": {}}'], -1),
        (['{"end": "yes"}'], -1),
    ],
)
def test_an_end_line_whose_count_is_wrong_is_refused(ends: list[str], counted: int) -> None:
    stream = "".join(item.line() + "\n" for item in items(8)) + "\n".join(ends) + "\n"
    done = run("distill", "--steps", "1", stdin=stream)
    assert done.code == 3
    assert done.errors == [
        f"error: stdin: the end line counts {counted} rows, but 8 came through; rerun the previous command, "
        "or pass --allow-partial"
    ]


def test_a_plugin_may_be_named_by_a_relative_path_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cotdistill.plugins.kinds import STRATEGIES

    STRATEGIES.entries()
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(PLUGIN.read_text())
    Path("rows.jsonl").write_text("".join(item.line() + "\n" for item in items(4)))
    Path("asked.jsonl").write_text("".join(item.example().line() + "\n" for item in items(2)))
    done = run(
        "ablate",
        "rows.jsonl",
        "--plugin",
        "own.py",
        "--strategies",
        "rationale-twice",
        "--steps",
        "1",
        "--seeds",
        "0",
        "--no-controls",
        "--jobs",
        "1",
        "--data",
        "asked.jsonl",
        "--device",
        "cpu",
        "--eval-max-new-tokens",
        "8",
    )
    assert done.code == 0, done.err


def test_a_run_card_may_not_run_code_or_name_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's run.json as --config: none of the three is taken over, and it is said."""
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('executed', 'w').close()\n")
    Path("run.json").write_text(
        '{"key": "x", "config": {"plugin": ["evil.py"], "trust_remote_code": true, "strategy": "cot", "steps": 1}}'
    )
    Path("rows.jsonl").write_text("".join(item.line() + "\n" for item in items(2)))
    done = run("distill", "rows.jsonl", "--config", "run.json", "--dry-run", "--device", "cpu")
    assert done.code == 0, done.err
    assert not Path("executed").exists()
    assert "run.json is a run card: its --plugin and --trust-remote-code are ignored" in done.err
