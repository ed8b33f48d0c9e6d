"""The rooms are stacked (pyproject.toml, [tool.importlinter]), and the contract refuses what is not."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
UPWARD = "from cotdistill.training import train\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's modules and of the contracts, to plant faults in."""
    shutil.copytree(HERE / "cotdistill", tmp_path / "cotdistill", ignore=_not_python)
    shutil.copy(HERE / "pyproject.toml", tmp_path)
    return tmp_path


def _not_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]


def lint(folder: Path) -> tuple[int, str]:
    """What `lint-imports` says about the copy, not about the installed package."""
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_the_package_keeps_its_contracts(package: Path) -> None:
    code, said = lint(package)
    assert code == 0, said


def test_an_import_upwards_is_refused(package: Path) -> None:
    with (package / "cotdistill/students/tokens.py").open("a") as file:
        file.write(UPWARD)
    code, said = lint(package)
    assert code == 1
    assert "cotdistill.students is not allowed to import cotdistill.training" in said
    assert "cotdistill.students.tokens -> cotdistill.training.train" in said


def test_the_core_may_not_know_the_embedded_world(package: Path) -> None:
    with (package / "cotdistill/evaluation/metrics.py").open("a") as file:
        file.write("from cotdistill.world import checker\n")
    code, said = lint(package)
    assert code == 1
    assert "cotdistill.evaluation.metrics" in said
    assert "The core knows no task by name: the embedded world registers as a plug-in does BROKEN" in said


def test_a_room_that_no_layer_names_is_refused(package: Path) -> None:
    (package / "cotdistill/attic").mkdir()
    (package / "cotdistill/attic/__init__.py").write_text('"""Nobody said where this belongs."""\n')
    code, said = lint(package)
    assert code == 1
    assert "attic" in said


def test_every_room_stands_in_one_layer() -> None:
    contracts = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    named = [room.strip() for layer in layers for part in layer.split("|") for room in part.split(":")]
    there = {path.stem for path in (HERE / "cotdistill").glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in (HERE / "cotdistill").glob("*/__init__.py")}
    assert sorted(named) == sorted(there)


def test_no_two_classes_have_one_name() -> None:
    """One concept, one name; the door's results bear the names that its users see."""
    named: dict[str, list[str]] = {}
    for path in sorted((HERE / "cotdistill").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and path.name != "api.py":
                named.setdefault(node.name, []).append(str(path.relative_to(HERE)))
    assert {name: files for name, files in named.items() if len(files) > 1} == {}
