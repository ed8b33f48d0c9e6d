"""A registry of named things of one kind: this package's own, those of plug-in files and of installed packages."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.plugins.code import code_digest, is_shipped, package_files
from cotdistill.plugins.guard import plugin_files

T = TypeVar("T")
registries: list[Registry[Any]] = []  # of every kind, in the order of their definition


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What is registered under a name and where it was defined, or the reason why a plug-in is broken.

    `code`: digest of a plug-in's code; None for what this package ships.
    """

    name: str
    value: T | None
    origin: str
    about: str = ""
    broken: str | None = None
    code: str | None = None


class Registry(Generic[T]):
    """Named things of one `kind`.

    `group`: the entry-point group of installed packages. `shipped`: modules of this package that register, imported
    when the first name is looked up. `reserved`: names with a meaning of their own, which no plug-in may take.
    """

    def __init__(self, kind: str, group: str, shipped: Sequence[str] = (), reserved: Sequence[str] = ()) -> None:
        self.kind, self.group, self.shipped, self.reserved = kind, group, shipped, tuple(reserved)
        self._entries: dict[str, Entry[T]] = {}
        self._loaded = False
        registries.append(self)

    def register(self, name: str, value: T, source: object) -> None:
        """Add `value`; `source`: the function or class that names its file. A name taken twice raises `UsageError`."""
        origin, taken = origin_of(source), self._entries.get(name)
        if name in self.reserved:
            raise UsageError(f"{origin}: the {self.kind} {name!r} has the name of a built-in one; rename it")
        if taken is not None and taken.value is not None and taken.origin != origin:
            raise UsageError(
                f"the {self.kind} {name!r} is defined twice: in {taken.origin} and in {origin}; rename one"
            )
        self._entries[name] = Entry(name, value, origin, (inspect.getdoc(source) or "").partition("\n")[0])

    def mark(self, entry: Entry[T], code: str) -> None:
        """Note the digest of the code that an entry came from."""
        plugin_files.add(entry.origin)
        self._entries[entry.name] = replace(entry, code=code)

    def entries(self) -> list[Entry[T]]:
        """Everything registered in the order of registration, broken plug-ins included."""
        self.load()
        return list(self._entries.values())

    def names(self) -> list[str]:
        """Every name that can be chosen."""
        self.load()
        return [*self.reserved, *self._entries]

    def find(self, name: str) -> Entry[T] | None:
        """The entry of that name, None where nobody registered it; `UsageError` for a broken plug-in."""
        self.load()
        entry = self._entries.get(name)
        if entry is not None and entry.value is None:
            raise UsageError(f"the {self.kind} {name!r} of {entry.origin} is broken: {entry.broken}")
        return entry

    def get(self, name: str, option: str = "") -> Entry[T]:
        """The entry of that name; `UsageError` where there is none. `option`: what the error names before it."""
        entry = self.find(name)
        if entry is None:
            raise self.unknown(name, option)
        return entry

    def unknown(self, name: str, option: str = "") -> UsageError:
        """The complaint about a name that nobody registered."""
        where, known = f"{option} {name}: " if option else "", self.names()
        return UsageError(
            f"{where}unknown {self.kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}"
        )

    def known(self) -> list[Entry[T]]:
        """What is registered by now, without loading anything."""
        return list(self._entries.values())

    def load(self) -> None:
        """Import what this package ships and what installed packages offer."""
        if self._loaded:
            return
        self._loaded = True
        for module in self.shipped:
            importlib.import_module(module)
        for point in entry_points(group=self.group):
            self._load_point(point)

    def _load_point(self, point: EntryPoint) -> None:
        try:
            point.load()
            for entry in self.known():  # an entry point of another kind may have brought it
                if entry.code is None and entry.broken is None and not is_shipped(entry.origin):
                    files = package_files(entry.origin, point.module)
                    self.mark(entry, code_digest(file.read_bytes() for file in files))
        except UsageError:
            raise
        # A broken plug-in must not break the tool: it is listed, and raises when it is chosen.
        except (Exception, SystemExit) as error:
            origin = point.dist.name if point.dist is not None else point.value
            broken = f"{type(error).__name__}: {error}"
            self._entries.setdefault(point.name, Entry(point.name, None, origin, broken=broken))


def origin_of(source: object) -> str:
    """The file that defines a function or a class."""
    try:
        return inspect.getsourcefile(source) or "<unknown>"  # type: ignore[arg-type]
    except TypeError:
        return "<unknown>"
