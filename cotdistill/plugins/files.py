"""`--plugin FILE`: one Python file that registers anything of any kind."""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import SourceLoader
from pathlib import Path

from cotdistill.errors import UsageError
from cotdistill.plugins import kinds
from cotdistill.plugins.code import code_digest, helpers, is_shipped, remember_modules
from cotdistill.plugins.guard import plugin_code, plugin_files
from cotdistill.plugins.registry import registries


def load_plugin(path: Path) -> None:
    """Import one file (`--plugin`). It is the user's own code and runs with their rights.

    Raises `UsageError` where it cannot be run, registers nothing, or takes a name that is taken.
    """
    path = path.resolve()  # the same file by another path is the same plug-in
    if not path.is_file():
        raise UsageError(f"--plugin {path}: no such file")
    for registry in (
        kinds.STRATEGIES,
        kinds.REWRITES,
        kinds.DATA,
        kinds.CHECKERS,
    ):  # light: what is shipped has its names first
        registry.load()
    remember_modules()
    name = f"cotdistill_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceLoader):
        raise UsageError(f"--plugin {path}: not a Python source file (.py)")
    module, source = importlib.util.module_from_spec(spec), path.read_bytes()
    before = {(registry.kind, entry.name): entry for registry in registries for entry in registry.known()}
    plugin_files.add(str(path))
    sys.modules[name] = module  # dataclasses look their module up
    with plugin_code(f"--plugin {path}"):
        # Not exec_module: its cached bytecode may be older than the source whose digest counts.
        exec(spec.loader.source_to_code(source, str(path)), vars(module))
    mine = [
        (registry, entry)
        for registry in registries
        for entry in registry.known()
        if entry.origin == str(path) or ((registry.kind, entry.name) not in before and not is_shipped(entry.origin))
    ]
    if not mine:
        raise UsageError(
            f'--plugin {path}: registers nothing; decorate something with @strategy("name"), or with another of '
            "cotdistill.plugins"
        )
    code = code_digest([source, *(file.read_bytes() for file in helpers(path, source))])
    for registry, entry in mine:
        registry.mark(entry, code)
