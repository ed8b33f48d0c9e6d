"""The one strategy registry: built-in papers, plug-in files (`--plugin x.py`) and installed plug-in packages.

    @strategy("rationale-twice")
    def rationale_twice(alpha: float = 0.5) -> Strategy: ...

A factory's keyword arguments are the strategy's parameters; their values are recorded in the run card.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.guard import guarded, plugin_code

Factory = Callable[..., Strategy]
GROUP = "cotdistill.strategies"
LARGEST = 10**9  # what a number of a parameter may be: beyond, a loss is not one any more
PAPERS = ("baselines", "multi_task", "scott", "cascod", "post_cot", "edit_krsl")


@dataclass(frozen=True)
class Entry:
    """A registered factory and where it was defined, or the reason why a plug-in is broken.

    `code`: digest of a plug-in's code; None for this package's own strategies.
    """

    name: str
    factory: Factory | None
    origin: str
    broken: str | None = None
    code: str | None = None


_entries: dict[str, Entry] = {}
_loaded = False
_modules_before: set[str] = set()  # those that no plug-in file imported


def strategy(name: str) -> Callable[[Factory], Factory]:
    """Register a factory. A name taken twice raises and names both files."""

    def register(factory: Factory) -> Factory:
        origin = inspect.getsourcefile(factory) or "<unknown>"
        taken = _entries.get(name)
        if taken is not None and taken.factory is not None and taken.origin != origin:
            raise UsageError(f"the strategy {name!r} is defined twice: in {taken.origin} and in {origin}; rename one")
        _entries[name] = Entry(name, factory, origin)
        return factory

    return register


def load_plugin(path: Path) -> None:
    """Import one file of strategies (`--plugin`). It is the user's own code and runs with their rights."""
    path = path.resolve()  # the same file by another path is the same plug-in
    if not path.is_file():
        raise UsageError(f"--plugin {path}: no such file")
    _load_all()
    _modules_before.update(() if _modules_before else sys.modules)
    spec = importlib.util.spec_from_file_location(f"cotdistill_plugin_{path.stem}", path)
    if spec is None or not isinstance(spec.loader, SourceLoader):
        raise UsageError(f"--plugin {path}: not a Python source file (.py)")
    module, source = importlib.util.module_from_spec(spec), path.read_bytes()
    before = set(_entries)
    with plugin_code(f"--plugin {path}"):
        # Not exec_module: its cached bytecode may be older than the source whose digest counts.
        exec(spec.loader.source_to_code(source, str(path)), vars(module))
    mine = [entry for entry in _entries.values() if entry.origin == str(path) or entry.name not in before]
    if not mine:
        raise UsageError(f'--plugin {path}: registers no strategy; decorate a factory with @strategy("name")')
    code = _digest([source, *(file.read_bytes() for file in _helpers(path))])
    _entries.update({entry.name: replace(entry, code=code) for entry in mine})


def _helpers(plugin: Path) -> list[Path]:
    """Source files beside a plug-in, or in folders below, that it imported."""
    loaded = (getattr(module, "__file__", None) for name, module in list(sys.modules.items())
              if name not in _modules_before)
    files = {Path(file).resolve() for file in loaded if file and file.endswith(".py")}
    return sorted(file for file in files if plugin.parent in file.parents and "site-packages" not in file.parts)


def _package_files(module: str) -> list[Path]:
    """Every source file of the installed package that a module belongs to."""
    root = sys.modules[module.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(root, "__path__", ())]
    return sorted(file for folder in folders for file in folder.rglob("*.py")) or [Path(str(root.__file__))]


def _digest(sources: Iterable[bytes]) -> str:
    return sha256(b"".join(sha256(source).digest() for source in sources)).hexdigest()


def entries() -> list[Entry]:
    """Every registered strategy in the order of registration, broken plug-ins included."""
    _load_all()
    return list(_entries.values())


def create(name: str, params: Mapping[str, Any] | None = None) -> Strategy:
    """The strategy of that name; parameters may be strings, as the command line gives them."""
    _load_all()
    entry = _entries.get(name)
    if entry is None:
        raise UsageError(f"unknown strategy {name!r}{did_you_mean(name, _entries)}; "
                         f"known: {', '.join(_entries)}")
    if entry.factory is None:
        raise UsageError(f"the strategy {name!r} of {entry.origin} is broken: {entry.broken}")
    where = f"strategy {name!r} of {entry.origin}"
    with plugin_code(where):
        hints = typing.get_type_hints(entry.factory)
    chosen = _arguments(name, entry.factory, hints, params or {})
    if entry.code is None:
        try:
            return replace(entry.factory(**chosen), name=name, params=chosen)
        except ValueError as error:
            raise UsageError(f"strategy {name!r}: {error}") from None
    with plugin_code(where):
        made = entry.factory(**chosen)
    if not isinstance(made, Strategy):
        raise UsageError(f"{where}: its factory gives a {type(made).__name__}, not a Strategy")
    return guarded(replace(made, name=name, params=chosen, code=entry.code), where)


def _load_all() -> None:
    global _loaded
    if _loaded:
        return
    _loaded = True
    for paper in PAPERS:
        importlib.import_module(f"cotdistill.strategies.{paper}")
    own = set(_entries)
    for point in entry_points(group=GROUP):
        try:
            point.load()
            for entry in [entry for entry in _entries.values() if entry.name not in own]:
                files = _package_files(entry.factory.__module__ if entry.factory else point.module)
                _entries[entry.name] = replace(entry, code=_digest(file.read_bytes() for file in files))
        except UsageError:
            raise
        # A broken plug-in must not break the tool: it is listed, and raises when it is chosen.
        except (Exception, SystemExit) as error:
            origin = point.dist.name if point.dist is not None else point.value
            _entries.setdefault(point.name, Entry(point.name, None, origin, f"{type(error).__name__}: {error}"))


def _arguments(name: str, factory: Factory, hints: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: parameter for key, parameter in inspect.signature(factory).parameters.items()
             if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)}
    for key in params:
        if key not in known:
            options = f"; it takes {', '.join(known)}" if known else "; it takes none"
            raise UsageError(f"strategy {name!r} has no parameter {key!r}{did_you_mean(key, known)}{options}")
    values = {key: parameter.default for key, parameter in known.items()}
    values.update({key: _coerce(name, key, value, hints.get(key, str)) for key, value in params.items()})
    if missing := [key for key, value in values.items() if value is inspect.Parameter.empty]:
        raise UsageError(f"strategy {name!r} needs a value for {missing[0]}: --param {missing[0]}=VALUE")
    return values


def _coerce(name: str, key: str, value: Any, hint: Any) -> Any:
    """`value` as the annotated type; strings come from `--param NAME=VALUE`."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        if value not in options:
            raise UsageError(f"strategy {name!r}: {key} is one of {', '.join(map(str, options))}, not {value!r}"
                             f"{did_you_mean(str(value), map(str, options))}")
        return value
    if type(None) in options:  # Optional[X]
        if value is None or str(value).lower() == "none":
            return None
        hint = next(option for option in options if option is not type(None))
    try:
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        found = hint(value)
    except Exception:  # of a plug-in's own type, whatever it raises
        kind = {int: "whole number", float: "number"}.get(hint) or getattr(hint, "__name__", str(hint))
        raise UsageError(f"strategy {name!r}: {key} takes a {kind}, not {str(value)[:40]!r}") from None
    if hint in (int, float) and not abs(found) <= LARGEST:  # NaN is not, either
        raise UsageError(f"strategy {name!r}: {key} takes a number of size up to {LARGEST:g}, not {str(value)[:40]!r}")
    return found
