"""The digest of a plug-in's code, which counts in the keys of what it makes: its file and what it imports beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

_modules_before: set[str] = set()  # those that no plug-in file imported


def remember_modules() -> None:
    """Call before the first plug-in file runs: what is imported by then is no part of any."""
    _modules_before.update(() if _modules_before else sys.modules)


def helpers(plugin: Path) -> list[Path]:
    """Source files beside a plug-in, or in folders below, that it imported."""
    loaded = (
        getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in _modules_before
    )
    files = {Path(file).resolve() for file in loaded if file and file.endswith(".py")} - {plugin}
    return sorted(file for file in files if plugin.parent in file.parents and "site-packages" not in file.parts)


def package_files(module: str) -> list[Path]:
    """Every source file of the installed package that a module belongs to."""
    root = sys.modules[module.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(root, "__path__", ())]
    return sorted(file for folder in folders for file in folder.rglob("*.py")) or [Path(str(root.__file__))]


def code_digest(sources: Iterable[bytes]) -> str:
    """One digest of several source files, in their order."""
    return sha256(b"".join(sha256(source).digest() for source in sources)).hexdigest()
