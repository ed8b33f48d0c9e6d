"""One writer per output: a lock that the kernel releases when its owner dies, however it dies.

The lock is on a file beside the output (`.NAME.lock`; in a directory `.lock`), which names its holder. It goes when
its owner ends normally; one that a kill leaves behind is free and is taken over.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from cotdistill.console import warn_once
from cotdistill.data.files import regular_file, writing
from cotdistill.errors import OutputError

GRACE = 3.0  # seconds for the workers of a killed process to release it
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class InUse(OutputError):
    """Another process holds it."""

    def __init__(self, output: Path, holder: str) -> None:
        super().__init__(f"cannot write {output}: {holder} is writing it; wait for it, or name another output")
        self.holder = holder


@contextmanager
def locked_file(path: Path, even_read_only: bool = False) -> Iterator[None]:
    """Hold an output file; anything but a regular file needs no lock. `even_read_only`: go on without one where nothing
    can be written anyway.

    Raises `OutputError` (exit 8), naming the holder, where another process holds it.
    """
    with writing(path):
        target = regular_file(path)
    if target is None:
        yield
        return
    with _holding(target.with_name(f".{target.name}.lock"), path, even_read_only):
        yield


@contextmanager
def locked_folder(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold an output directory; raises as `locked_file`. A directory that stays empty is removed afterwards.

    `shared`: together with others that hold it shared; needs a file system with locks.
    """
    folder = Path(os.path.realpath(path))
    try:
        with _holding(folder / ".lock", path, shared=shared):
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # only where it is empty


@contextmanager
def claimed(file: Path) -> Iterator[None]:
    """Hold the lock file of something being made in a shared directory; raises `InUse` at once where it is held."""
    with _holding(file, file, grace=0.0):
        yield


@contextmanager
def _holding(
    file: Path, output: Path, even_read_only: bool = False, shared: bool = False, grace: float | None = None
) -> Iterator[None]:
    created = [folder for folder in file.parents if not folder.exists()]
    try:
        with writing(output):
            lock = _acquire(file, output, shared, GRACE if grace is None else grace)
    except OutputError as error:
        system = error.__cause__
        if not (even_read_only and isinstance(system, OSError) and system.errno in READ_ONLY):
            raise
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where others share it
                file.unlink()  # while it is still held: no other process has it
            os.close(lock)
        with suppress(OSError):  # leave no empty folder where nothing was written
            for folder in created:
                folder.rmdir()


def _acquire(file: Path, output: Path, shared: bool, grace: float) -> int | None:
    """The open lock file; None where the file system has no locks."""
    until = time.monotonic() + grace
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is_still(file, lock):
                with suppress(OSError):  # a full disk: the lock still works, it only names no holder
                    os.ftruncate(lock, 0)
                    os.write(lock, json.dumps(_myself()).encode())
                return lock
        except BlockingIOError:
            if time.monotonic() > until:
                holder = _holder(lock)
                os.close(lock)
                raise InUse(output, holder) from None
            time.sleep(0.05)
        except OSError as error:
            os.close(lock)
            if error.errno not in UNSUPPORTED:
                raise
            if shared:
                raise OutputError(
                    f"cannot write {output}: its file system does not support locks, which "
                    "several processes need to share it; use a directory on another file system"
                ) from None
            warn_once(f"{file.parent}: its file system does not support locks; a second process could write there")
            return None
        os.close(lock)


def _is_still(file: Path, lock: int) -> bool:
    """Whether the name still means the file that is locked: the previous owner may have removed it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(file), os.fstat(lock))
    return False


def _myself() -> dict[str, str | int]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}


def _holder(lock: int) -> str:
    try:
        who = json.loads(os.pread(lock, 4096, 0))
        return f"process {who['pid']} on {who['host']} (since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
