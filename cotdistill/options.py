"""The command line's options, made from the fields of the configs (`config.option`)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from cotdistill.config import Config
from cotdistill.config.common import GENERAL, ROWS
from cotdistill.config.option import Option, options_of
from cotdistill.plugins.kinds import STRATEGIES

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file of options; a run.json works as one", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only errors on stderr", rich_help_panel=GENERAL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks", rich_help_panel=GENERAL)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done and stop", rich_help_panel=GENERAL)]
COMPLETION = "_COTDISTILL_COMPLETE"  # what a shell that asks for completions sets
_spared = False  # whether only `_named`, the command that is run, gets its options
_named: str | None = None
RUN_OPTIONS = {"config": (ConfigFile, None), "quiet": (Quiet, False), "debug": (Debug, False)}


def spare(arguments: Sequence[str]) -> None:
    """Let only the command that `arguments` name have its options: the others' are a third of the start of `--help`.

    To be called before `cotdistill.cli` is imported. Options before the command take no values.
    """
    global _spared, _named
    _spared = COMPLETION not in os.environ
    _named = next((word for word in arguments if not word.startswith("-")), None)


def takes(config: type[Config], only: Iterable[str] | None = None) -> Callable[[Callable[..., None]], Any]:
    """Give a command the options of a config, after its own parameters; it is called with all of them as `options`.

    `only`: these fields of the config, where a command does not take all.
    """

    def given(command: Callable[..., None]) -> Callable[..., None]:
        if _spared and command.__name__ != _named:
            return _without_options(command)
        own = [
            option
            for option in inspect.signature(command, eval_str=True).parameters.values()
            if option.name != "options"
        ]
        fields = options_of(config)
        chosen = [name for name in in_order(config) if only is None or name in only]
        dry_run = [option for option in own if option.name == "dry_run"]
        added = [_parameter(name.replace(".", "__"), *parameter(fields[name])) for name in chosen]
        added += [_parameter(name, kind, default) for name, (kind, default) in RUN_OPTIONS.items()]
        parameters = [*(option for option in own if option not in dry_run), *added, *dry_run]

        def with_options(**values: Any) -> None:
            mine = {argument.name: values.pop(argument.name) for argument in own}
            command(**mine, options=values)

        with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
        with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in parameters]
        )
        with_options.__annotations__ = {option.name: option.annotation for option in parameters}
        return with_options

    return given


def _without_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is only listed: its name and the first line of its help."""

    def listed() -> None:
        raise AssertionError(f"{command.__name__} was called, {_named} was expected")

    listed.__name__, listed.__doc__ = command.__name__, command.__doc__
    return listed


def in_order(config: type[Config]) -> list[str]:
    """Paths of options panel by panel: the panels of this command alone first, those of reading rows and
    the general one last; in each panel what only this command has comes first."""
    fields = {name: option for name, option in options_of(config).items() if name not in Config.model_fields}
    inherited = {
        name
        for name in fields
        if "." in name or any(name in getattr(base, "model_fields", ()) for base in config.__bases__)
    }
    shared = {fields[name].panel for name in inherited}
    panels = list(dict.fromkeys(option.panel for option in fields.values()))
    ordered = sorted(panels, key=lambda panel: (panel == ROWS, panel in shared))
    rank = {panel: at for at, panel in enumerate(ordered)}
    return [*sorted(fields, key=lambda name: (rank[fields[name].panel], name in inherited)), *Config.model_fields]


def parameter(option: Option) -> tuple[Any, None]:
    """A Typer parameter of an option: its annotation, and None (not given) as its default."""
    default = "" if option.shown is None else f" [dim]{_escaped(f'[default: {option.shown}]')}[/dim]"
    declaration = typer.Option(
        *_declared(option),
        help=_escaped(option.help) + default,
        rich_help_panel=option.panel,
        show_default=False,
        metavar=_metavar(option),
        autocompletion=_completion(option),
    )
    return Annotated[_typed(option) | None, declaration], None


def epilog(*examples: str) -> str:
    """Examples at the end of a command's --help."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {_escaped(line)}" for line in examples)])


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _declared(option: Option) -> Sequence[str]:
    if option.kind == "flag" and option.info.default is True:
        return [f"{option.name}/--no-{option.name.removeprefix('--')}", *option.names[1:]]
    return option.names


def _typed(option: Option) -> Any:
    """The type that the command line reads; a config makes the field's own type of it."""
    if option.kind in ("mapping", "repeated"):
        return list[str]
    if option.kind == "list":
        return str
    if option.kind == "pair":
        first, second = get_args(option.type)
        return tuple[_word(first), _word(second)]  # type: ignore[misc]
    return option.type


def _word(kind: Any) -> Any:
    plain = getattr(kind, "__origin__", kind)
    return plain if plain in (str, int, float, Path) else str


def _metavar(option: Option) -> str | None:
    """Values of a list, which Typer would not show."""
    if option.plugins is not None:
        return (",".join if option.kind == "list" else "|".join)([*option.values, "NAME"])
    if option.kind == "list" and option.values:
        return ",".join(option.values)
    return {"mapping": "NAME=VALUE", "list": "LIST", "repeated": "TEXT"}.get(option.kind)


def _completion(option: Option) -> Callable[[str], list[str]] | None:
    """Completes the last value of a comma-separated list, and registered names; Typer knows the other values."""
    registry = STRATEGIES if option.field in ("strategy", "strategies") else option.plugins
    if registry is None and not (option.values and option.kind in ("list", "repeated")):
        return None

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        values = option.values if registry is None else registry.names()
        return [before + comma + value for value in values if value.startswith(last)]

    return complete


def _escaped(text: str) -> str:
    """Square brackets that Rich would take for markup."""
    return text.replace("[", "\\[")
