"""What a shell is offered for the word that is being typed."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import pytest
import typer

from cotdistill import cli
from cotdistill.config.grid import AblateConfig
from cotdistill.config.option import options_of
from cotdistill.config.walking import WalkingOptions
from cotdistill.evaluation.probes import NAMES
from cotdistill.strategies.registry import entries
from cotdistill.strategies.studies import STUDIES


def offered(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash would show after this line and a tabulator."""
    words = line.split(" ")
    monkeypatch.setenv("_COTDISTILL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    said = StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit):
        typer.main.get_command(cli.app).main(args=[], prog_name="cotdistill")
    return said.getvalue().split()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("cotdistill distill --optimizer ", ["adamw", "adafactor"]),
        ("cotdistill ablate --keep-students ", ["all", "best", "none"]),
        ("cotdistill ablate --study ", ["scott", "mysteries", "cascod", "rewrites", "selection"]),
        ("cotdistill ablate --key-by tfidf,i", ["tfidf,integrated-gradients"]),
        ("cotdistill distill --strategy sco", ["scott", "scott-port"]),
        ("cotdistill ablate --strategies cot,mt-", ["cot,mt-ra", "cot,mt-cot"]),
        ("cotdistill evaluate --probe oracle,t", ["oracle,truncation", "oracle,tag-swap"]),
    ],
)
def test_values_are_completed(line: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(line, monkeypatch) == wanted


def test_names_in_options_are_those_that_exist() -> None:
    assert set(options_of(AblateConfig)["study"].values) == set(STUDIES)
    assert set(options_of(WalkingOptions)["probe"].values) == {"all", *NAMES}
    assert {"cot", "scott"} <= {entry.name for entry in entries()}
