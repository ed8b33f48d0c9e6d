"""The suite's own way of starting the command line does what a start does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import warm


def test_streams_folder_environment_and_exit_codes_are_the_callers(tmp_path: Path) -> None:
    def called(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*warm.command(), *arguments], cwd=tmp_path, capture_output=True, text=True, **more)  # type: ignore[call-overload, no-any-return]

    row = '{"id": "1", "question": "Is it?", "choices": ["yes", "no"], "answer": "yes", "rationale": "It is."}\n'
    made = called("elicit", "--teacher", "rows", "--data", "-", "-o", "rows.jsonl", input=row)
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert '"It is."' in (tmp_path / "rows.jsonl").read_text()
    refused = called("elicit", "--nonsense")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--nonsense" in refused.stderr
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([*warm.command(), "schema"], stdout=full, stderr=subprocess.PIPE).returncode == 8
