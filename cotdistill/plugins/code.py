"""The digest of a plug-in's code, which counts in the keys of what it makes: its file and what it imports beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

PACKAGE = Path(__file__).parents[1]  # what it ships counts in no key
_modules_before: set[str] = set()  # those that no plug-in file imported
_helpers: dict[tuple[Path, bytes], list[Path]] = {}


def remember_modules() -> None:
    """Call before the first plug-in file runs: what is imported by then is no part of any."""
    _modules_before.update(() if _modules_before else sys.modules)


def helpers(plugin: Path, source: bytes) -> list[Path]:
    """Source files beside a plug-in, or in folders below, that it imported when this source of it was first run.

    A process may run it again (a worker's state does), when the commands have imported far more.
    """
    if (plugin, source) not in _helpers:
        _helpers[plugin, source] = _imported_beside(plugin)
    return _helpers[plugin, source]


def _imported_beside(plugin: Path) -> list[Path]:
    loaded = (
        getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in _modules_before
    )
    files = {Path(file).resolve() for file in loaded if file and file.endswith(".py")} - {plugin}
    return sorted(
        file
        for file in files
        if plugin.parent in file.parents
        and "site-packages" not in file.parts
        and PACKAGE not in file.parents
        and file.is_file()  # torch has modules that name a file without a folder
    )


def is_shipped(origin: str) -> bool:
    """Whether a source file is this package's own."""
    return PACKAGE in Path(origin).parents


def package_files(origin: str, otherwise: str) -> list[Path]:
    """Every source file of the installed package that a source file belongs to; `otherwise`: a module, where no module
    has that file."""
    named = (name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) == origin)
    root = sys.modules[next(named, otherwise).partition(".")[0]]
    folders = [Path(folder) for folder in getattr(root, "__path__", ())]
    return sorted(file for folder in folders for file in folder.rglob("*.py")) or [Path(str(root.__file__))]


def code_digest(sources: Iterable[bytes]) -> str:
    """One digest of several source files, in their order."""
    return sha256(b"".join(sha256(source).digest() for source in sources)).hexdigest()
