"""What is written down from the code: every option in tables, and every command's --help.

`python -m tests.snapshots` writes both anew: cotdistill/config/OPTIONS.md and tests/help/COMMAND.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin
from unittest.mock import patch

from cotdistill import config
from cotdistill.config import Config
from cotdistill.config.option import Most, Option, options_of
from cotdistill.options import in_order
from tests.in_process import run

ROOT = Path(__file__).parents[1]
OPTIONS = ROOT / "cotdistill" / "config" / "OPTIONS.md"
HELP = ROOT / "tests" / "help"
FIRST = ("elicit", "distill", "evaluate", "ablate")
CONFIGS: dict[str, type[Config]] = {
    name.removesuffix("Config").lower(): getattr(config, name)
    for name in config.__all__
    if name.endswith("Config") and name != "Config"
}
COMMANDS = [*FIRST, *sorted(set(CONFIGS) - set(FIRST))]
BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
WORDS = {int: "integer", float: "number", str: "text", Path: "path"}
HEADER = "| option | type | default | meaning |\n|---|---|---|---|\n"
INTRODUCTION = """# Options

Generated from the fields of the configs in this folder by `python -m tests.snapshots`; a test holds it against them.
In YAML (`--config FILE`) an option has the same name without the dashes. Every command also takes `--config`, `--quiet`
and `--debug`; `elicit`, `distill`, `ablate` and `push` take `--dry-run`. `ablate` takes the options of the other three:
training options under their own names (in YAML also under `distill:`), the others as listed here (in YAML under
`evaluate:` and `elicit:`).
"""


def option_tables() -> str:
    """OPTIONS.md."""
    return INTRODUCTION + "".join(f"\n## {command}\n{''.join(_panels(CONFIGS[command]))}" for command in COMMANDS)


def _panels(of: type[Config]) -> Iterator[str]:
    options = options_of(of)
    ordered = [options[path] for path in in_order(of)]
    for panel in dict.fromkeys(option.panel for option in ordered):
        rows = "".join(_row(option) for option in ordered if option.panel == panel)
        yield f"\n### {panel}\n\n{HEADER}{rows}"


def _row(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.names)
    shown = option.shown or ""
    worded = " " in shown  # a default in words, not a value
    cells = (names, _type(option), f"`{shown}`" if shown and not worded else shown, option.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(option: Option) -> str:
    if option.kind == "flag":
        return "flag"
    if option.values:
        values = ", ".join(f"`{value}`" for value in option.values) + (", or a plug-in's" if option.plugins else "")
        return f"any of {values}" if option.kind == "list" else values
    if option.kind == "mapping":
        return "NAME=VALUE"
    if option.kind == "pair":
        return " and ".join(_word(one) for one in get_args(option.type))
    if option.kind in ("list", "repeated"):
        return f"{_word(get_args(option.type)[0])}, several"
    bounds = [
        said.format(f"{bound:g}")
        for one in option.info.metadata
        for name, said in BOUNDS.items()
        if (bound := getattr(one, name, None)) is not None and bound != Most
    ]
    return " ".join([_word(option.type), ", ".join(bounds)]).strip()


def _word(kind: Any) -> str:
    plain = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if get_args(plain) and get_origin(plain) is not None:
        return ", ".join(f"`{value}`" for value in get_args(plain))
    return WORDS.get(plain, "text")


def help_texts() -> dict[str, str]:
    """--help of every command: a line per option, its panel's name above it, without the frames."""
    commands = re.findall(r"^([a-z]+) ", _help().split("[Commands]\n")[1], re.M)
    return {"cotdistill": _help(), **{command: _help(command) for command in commands}}


def _help(*command: str) -> str:
    with patch("typer.rich_utils.MAX_WIDTH", 400), patch("typer.rich_utils.FORCE_TERMINAL", False):
        done = run(*command, "--help")
    assert done.code == 0, done.err
    lines = []
    for line in done.out.splitlines():
        if title := re.match(r"╭─ (.*?) ─", line):
            lines += ["", f"[{title[1]}]"]
        elif not line.startswith("╰"):
            lines.append(re.sub(r" {2,}", "  ", line.strip("│ ")))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
    return re.sub(r"^Usage: .*?cotdistill", "Usage: cotdistill", text)  # Click names the module that runs


def main() -> None:
    """Write every file anew."""
    OPTIONS.write_text(option_tables())
    HELP.mkdir(exist_ok=True)
    for old in HELP.glob("*.txt"):
        old.unlink()
    for command, text in help_texts().items():
        (HELP / f"{command}.txt").write_text(text)


if __name__ == "__main__":
    main()
