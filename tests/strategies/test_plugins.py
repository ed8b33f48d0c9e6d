"""Plug-ins: one file, a real installed package, a broken one, and names taken twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*args: str, path: Path | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *([path] if path else [])]))}
    return subprocess.run(
        [sys.executable, "-m", "cotdistill", *args],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in package, installed by pip into a folder of its own."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--target",
            str(site),
            str(ROOT / "tests" / "plugin_package"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return site


def test_installed_package_is_found_and_its_broken_neighbour_is_listed(installed: Path) -> None:
    done = run("strategies", "--json", path=installed)
    assert done.returncode == 0, done.stderr
    listed = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    assert listed["echo"]["params"] == {"times": 1}
    assert listed["shattered"]["broken"] == "RuntimeError: this plug-in is broken on purpose"
    assert "cot" in listed


def test_a_package_brings_things_of_every_kind(installed: Path) -> None:
    """One module registers them all when the first kind is looked up; each is the package's, with its code."""
    code = (
        "from cotdistill.plugins import kinds; from cotdistill.plugins.registry import registries; "
        "found = [e for r in registries for e in r.entries() if 'cotdistill_test_plugin' in e.origin]; "
        "print(sorted(e.name for e in found if e.code), len({e.code for e in found if e.code}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == "['echo', 'echoes', 'echoes', 'last-word'] 1\n", done.stderr
    rows = run("elicit", "--data", "echoes", "--teacher", "rows", path=installed)
    assert rows.returncode == 0, rows.stderr
    assert "support it (checker)" in rows.stderr


def test_broken_plugin_raises_only_when_chosen(installed: Path) -> None:
    done = run("distill", "--strategy", "shattered", "nothing.jsonl", path=installed)
    assert done.returncode == 2
    assert "broken on purpose" in done.stderr


def test_one_file_plugin_is_listed() -> None:
    done = run("strategies", "--json", "--plugin", str(ROOT / "examples" / "rationale_twice.py"))
    listed = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    assert [form["share"] for form in listed["rationale-twice"]["forms"]] == [0.5, 0.5]


def test_a_name_taken_twice_names_both_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    text = (ROOT / "examples" / "rationale_twice.py").read_text()
    first.write_text(text)
    second.write_text(text)
    done = run("strategies", "--plugin", str(first), "--plugin", str(second))
    assert done.returncode == 2
    assert "first.py" in done.stderr
    assert "second.py" in done.stderr


def test_a_grid_in_one_process_runs_a_plugin_beside_it_twice_as_one(tmp_path: Path) -> None:
    for file, end in {"rationale_twice.py": "", "checker_plugin.py": "\nimport helper\n"}.items():
        (tmp_path / file).write_text((ROOT / "examples" / file).read_text() + end)
    (tmp_path / "helper.py").write_text("WORD = 'only the second plug-in imports this'\n")
    plugins = ("--plugin", "rationale_twice.py", "--plugin", "checker_plugin.py")
    grid = (
        "--strategies",
        "rationale-twice",
        "--train",
        "sums",
        "--teacher",
        "rows",
        "--data",
        "sums",
        "--no-controls",
    )
    few = ("--limit", "4", "--eval-max-new-tokens", "8", "--steps", "1", "--seeds", "0", "--jobs", "1", "--out", "grid")
    done = run("ablate", *plugins, *grid, *few, path=tmp_path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run("ablate", *plugins, *grid, *few, path=tmp_path, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "running" in done.stderr
    assert "running" not in again.stderr


def test_a_plugin_without_a_strategy_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    done = run("strategies", "--plugin", str(empty))
    assert done.returncode == 2
    assert "registers nothing" in done.stderr
