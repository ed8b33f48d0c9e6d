"""`python -m cotdistill` as a process of its own, without its seconds of importing torch and transformers.

One process per worker of the suite has imported them; it forks for each call and gives the child its caller's streams,
folder and environment. `command()` is what a test puts in place of `[sys.executable, "-m", "cotdistill"]`, in a list or
joined in a script of the shell. What a start itself does is tested without it (`test_start_up.py`), and so is what
signals do: they would reach the caller, which only waits. `start()` gives the process that a signal can be sent to.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PLACE = "COTDISTILL_TEST_SOCKET"
STREAMS = 3
# The caller: imports nothing, sends what it was given, ends as the child does.
CALLER = f"""\
import json, os, socket, sys
call = socket.socket(socket.AF_UNIX)
call.connect(os.environ[{PLACE!r}])
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(call, [len(said).to_bytes(8, "big")], range({STREAMS}))
call.sendall(said)
call.recv(4)
code = call.recv(4)
code = int.from_bytes(code, "big", signed=True) if len(code) == 4 else 70
os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
"""


@functools.cache
def command() -> tuple[str, ...]:
    """The command that calls; the first time, the process that answers is started. It ends with this one."""
    os.environ[PLACE] = tempfile.mkdtemp() + "/socket"
    answering = subprocess.Popen(
        [sys.executable, "-m", "tests.warm"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    _answering.append(answering)  # its stdin is open for as long as this process is there
    assert answering.stdout is not None
    assert answering.stdout.readline() == b"listening\n"
    return (sys.executable, "-I", "-S", "-c", CALLER)


@dataclass(frozen=True)
class Started:
    """A command that runs, its streams closed; `pid` is its process's, and its group's with all its workers."""

    pid: int
    call: socket.socket

    def wait(self, seconds: float) -> int | None:
        """Its exit code, below 0 for a signal's; None if it has not ended in time."""
        self.call.settimeout(seconds)
        try:
            said = self.call.recv(4)
        except TimeoutError:
            return None
        self.call.close()
        return int.from_bytes(said, "big", signed=True)


def start(*arguments: str) -> Started:
    """The command in a process of its own that is not waited for."""
    command()
    call = socket.socket(socket.AF_UNIX)
    call.connect(os.environ[PLACE])
    said = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
    with Path(os.devnull).open("r+") as nothing:
        socket.send_fds(call, [len(said).to_bytes(8, "big")], [nothing.fileno()] * STREAMS)
    call.sendall(said)
    return Started(int.from_bytes(call.recv(4), "big"), call)


def together(*arguments: str, count: int = 2) -> subprocess.CompletedProcess[str]:
    """The same command in `count` processes that form a group, with what torchrun puts into their environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [*command(), *arguments],
            env={**os.environ, **{name: str(value) for name, value in {**group, "RANK": at, "LOCAL_RANK": at}.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at in range(count)
    ]
    said = [process.communicate(timeout=300) for process in processes]
    code = max(process.returncode for process in processes)
    return subprocess.CompletedProcess(arguments, code, "".join(out for out, _ in said), "".join(e for _, e in said))


_answering: list[subprocess.Popen[bytes]] = []


def serve(listener: socket.socket) -> None:
    """Answer calls until stdin ends, as it does with the process that began this one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever answers a call is not waited for
    while not _ended(listener):
        call, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _answer(call)
            finally:
                os._exit(0)
        call.close()


def _ended(listener: socket.socket) -> bool:
    """Whether stdin ended before another call came."""
    return listener not in select.select([listener, 0], [], [])[0]


def _answer(call: socket.socket) -> None:
    """Run one command in a child, and tell its caller how it ended."""
    head, held, *_ = socket.recv_fds(call, 8, STREAMS)
    length, said = int.from_bytes(head, "big"), b""
    while len(said) < length:
        said += call.recv(1 << 20)
    child = os.fork()
    if child == 0:
        call.close()
        os.setsid()  # a group of its own, with its workers
        for number, given in enumerate(held):
            os.dup2(given, number)
        os.closerange(STREAMS, max(held) + 1)
        _run(*json.loads(said))
    for given in held:
        os.close(given)
    call.sendall(child.to_bytes(4, "big"))
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):  # the caller was stopped
        call.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """The command line on the streams there are."""
    from cotdistill.__main__ import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cotdistill", *arguments]
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, "r" if number == 0 else "w", encoding=encoding, closefd=False)  # noqa: SIM115
        for number in range(STREAMS)
    )
    code = 1
    try:
        main()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120  # as Python's own end has it
        os._exit(code)


def main() -> None:
    """Import what commands import, then listen at the place that the environment names."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers.modeling_utils  # noqa: F401

    import cotdistill.ablating
    import cotdistill.cli
    import cotdistill.comparing
    import cotdistill.predicting
    import cotdistill.pushing
    import cotdistill.verify  # noqa: F401

    gc.freeze()  # for good; a collection in a child would go through it, and copy it
    place = Path(os.environ[PLACE])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(16)
        print("listening", flush=True)
        try:
            serve(listener)
        finally:
            place.unlink()
            place.parent.rmdir()


if __name__ == "__main__":
    main()
