"""What is written down from the code is what the code says: option tables and every command's --help."""

from __future__ import annotations

import pytest

from cotdistill.config.option import options_of
from tests.snapshots import CONFIGS, HELP, OPTIONS, help_texts, option_tables

RENEW = "if the change is meant, renew it with: python -m tests.snapshots"


def panels(text: str) -> dict[str, str]:
    """A help text by panel; what is above the first under its usage line."""
    first, *others = text.split("\n[")
    return {"usage": first, **{name: rows for name, _, rows in (panel.partition("]\n") for panel in others)}}


def test_the_option_tables_are_those_of_the_configs() -> None:
    assert OPTIONS.read_text() == option_tables(), f"{OPTIONS.name} is out of date; {RENEW}"


@pytest.mark.parametrize("command", CONFIGS)
def test_the_option_tables_name_every_option(command: str) -> None:
    section = OPTIONS.read_text().split(f"\n## {command}\n")[1].split("\n## ")[0]
    for option in options_of(CONFIGS[command]).values():
        assert section.count(f"\n| `{option.name}`") == 1, option.name


def test_every_command_has_its_help_written_down() -> None:
    assert {path.stem for path in HELP.glob("*.txt")} == set(help_texts()), RENEW


@pytest.mark.parametrize("command", sorted(path.stem for path in HELP.glob("*.txt")))
def test_the_help_is_as_written_down(command: str) -> None:
    written, said = panels((HELP / f"{command}.txt").read_text()), panels(help_texts()[command])
    assert list(said) == list(written), f"panels of {command} --help changed; {RENEW}"
    for panel, rows in said.items():
        assert rows == written[panel], f"{command} --help, {panel!r}, changed; {RENEW}"
