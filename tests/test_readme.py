"""What the READMEs say is true: their commands run, its tables and tree name what is there, its examples work."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from cotdistill.config import AblateConfig
from cotdistill.errors import Exit
from cotdistill.strategies.registry import entries
from tests import warm
from tests.in_process import run
from tests.models import items, student

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
READMES = [ROOT / name for name in ("README.md", "examples/README.md", "tests/benchmarks/README.md")]
READMES += [ROOT / "cotdistill" / "README.md", *sorted((ROOT / "cotdistill").glob("*/README.md"))]
BLOCKS = [block for path in READMES for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.S)]
# Python blocks that begin with the name of a file.
FILES = {
    name: code
    for path in READMES
    for code, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", path.read_text(), re.S)
}
# Hub names need a network: the same commands are run on small models made here.
STANDINS = {"meta-llama/Llama-3.1-8B-Instruct": "teacher", "Qwen/Qwen2.5-0.5B": "student"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands find their files."""
    folder = tmp_path_factory.mktemp("readme")
    for name in STANDINS.values():
        student("gpt2", seed=len(name)).save(folder / name)
    rows = [
        json.dumps({"id": i.id, "question": i.question, "choices": i.choices, "answer": i.answer}) for i in items(8)
    ]
    for name in ("questions.jsonl", "heldout.jsonl"):
        (folder / name).write_text("\n".join(rows) + "\n")
    (folder / "rationales.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in items(8)))
    (folder / "examples").symlink_to(ROOT / "examples")
    for name, code in FILES.items():
        (folder / name).write_text(code)
    return folder


def shell(command: str, folder: Path, timeout: int = 280) -> subprocess.CompletedProcess[str]:
    """A line of the README as it is written; a single command in this process, which has torch already, unless it
    names a plug-in, which would stay registered."""
    for name, standin in STANDINS.items():
        command = command.replace(name, f"./{standin}")
    words = shlex.split(command)
    if words[0] == "cotdistill" and not {"|", ">", "<", "&&", ";", "--plugin"} & {*words} and "*" not in command:
        with contextlib.chdir(folder):
            done = run(*words[1:])
        return subprocess.CompletedProcess(words, done.code, done.out, done.err)
    called = f"{shlex.join(warm.command())} "
    command = re.sub(r"\bcotdistill (?=[a-z])", lambda _: called, command)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def commands() -> list[str]:
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line.split("  #")[0].strip() for line in lines if line.startswith("cotdistill ")))


# Grids of the README: the same commands on fewer rows, steps and seeds.
ORDER = (
    "elicit",
    "distill",
    "predict",
    "evaluate",
    "ablate",
    "compare",
    "push",
    "verify",
    "strategies",
    "preview",
    "schema",
)
GRIDS = [line for line in commands() if " --seeds " in line]


def test_the_one_line_study_runs_on_the_embedded_world(tmp_path: Path) -> None:
    line = next(line for line in commands() if line.count("|") == 2)
    for name, few in (("elicit", "--limit 40"), ("distill", "--steps 30"), ("evaluate", "--limit 10")):
        line = line.replace(f"cotdistill {name}", f"cotdistill {name} {few}")
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(out)["set"] for out in done.stdout.splitlines()] == ["demo-id", "demo-shift", "demo-hard"]


@pytest.mark.slow
@pytest.mark.parametrize("line", GRIDS)
def test_every_grid_runs(line: str, workplace: Path) -> None:
    small = "--limit 8 --steps 2 --seeds 0 --no-controls --jobs 1 --data heldout.jsonl --eval-max-new-tokens 8"
    done = shell(f"{line} {small}", workplace)
    assert done.returncode == 0, done.stderr
    folder = workplace / line.split("--out ")[1].strip()
    assert ("## Claims" in (folder / "report.md").read_text()) == ("--study" in line)
    for verify in (line for line in commands() if line == f"cotdistill verify {folder.relative_to(workplace)}"):
        checked = shell(verify, workplace)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_the_demos_runs_are_probed(workplace: Path) -> None:
    made = shell("cotdistill distill rationales.jsonl --student ./student --steps 2 -o demo-runs/runs/cot", workplace)
    assert made.returncode == 0, made.stderr
    (line,) = [line for line in commands() if "demo-runs" in line]
    done = shell(f"{line} --data heldout.jsonl --max-new-tokens 16", workplace)
    assert done.returncode == 0, done.stderr
    assert "Faithfulness" in (workplace / "demo-probes.html").read_text()


@pytest.mark.slow
def test_every_other_command_runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for line in sorted(commands(), key=lambda line: ORDER.index(line.split()[1])):
        if line.count("|") == 2 or "demo-runs" in line or line in GRIDS or line.startswith("cotdistill verify"):
            continue
        # The stand-in teacher is random: every rationale is kept, or nothing would be left to learn from.
        if "--teacher rows" not in line:
            line = line.replace("elicit --data", "elicit --hint gold --keep all --max-new-tokens 8 --shots 0 --data")
        line = line.replace("distill rationales.jsonl", "distill rationales.jsonl --steps 2")
        line = line.replace("--probe all", "--probe all --max-new-tokens 16")
        few = "--steps 2 --seeds 0 --jobs 1 --eval-max-new-tokens 8"
        small = f"ablate rationales.jsonl {few} --student ./student"
        line = line.replace("ablate rationales.jsonl", small).replace("-o rationales.jsonl", "-o elicited.jsonl")
        before = (workplace / "rationales.jsonl").read_text()
        code, stderr = called(line, workplace)
        assert code == 0, f"{line}\n{stderr}"
        assert (workplace / "rationales.jsonl").read_text() == before


def called(line: str, folder: Path) -> tuple[int, str]:
    """A command's exit code and stderr; in this process where no shell and no worker takes part."""
    if re.search(r"[|<>*$'\"]|--plugin| ablate ", line):
        done = shell(line, folder)
        return done.returncode, done.stderr
    for name, standin in STANDINS.items():
        line = line.replace(name, f"./{standin}")
    here = run(*line.split()[1:])
    return here.code, here.err


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = README.split("## Python")[1].split("```python\n")[1].split("```")[0]
    for number, small in (("limit=128", "limit=8"), ("steps=300", "steps=2"), ("limit=100", "limit=4")):
        assert number in code
        code = code.replace(number, small)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert "cascod" in capsys.readouterr().out


def test_the_kit_passes_the_plugins_of_the_readme(workplace: Path) -> None:
    (workplace / "check.py").write_text(FILES["check.py"].replace("Qwen/Qwen2.5-0.5B", "student"))
    done = shell(f"PYTHONDONTWRITEBYTECODE=1 {sys.executable} check.py", workplace)
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"`?make ([a-z-]+)", "\n".join(BLOCKS)):
        assert re.search(rf"^{target}\b", listed, re.M), target


def test_the_strategy_table_is_the_registry() -> None:
    section = README.split("## Strategies")[1].split("##")[0]
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", section, re.M))
    assert listed == {entry.name for entry in entries() if entry.value is not None and entry.code is None}


def test_the_exit_codes_are_those_of_the_code() -> None:
    section = README.split("## Exit codes")[1].split("##")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.M)} == {int(code) for code in Exit}


def test_the_tree_names_what_is_there() -> None:
    tree = (ROOT / "cotdistill" / "README.md").read_text().split("cotdistill/\n")[1].split("```")[0]
    for name in re.findall(r"^  ([a-z_]+(?:/|\.py))", tree, re.M):
        assert (ROOT / "cotdistill" / name).exists(), name
    rooms = {path.name for path in (ROOT / "cotdistill").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms == {name.rstrip("/") for name in re.findall(r"^  ([a-z_]+/)", tree, re.M)}


def test_the_readme_is_short() -> None:
    assert README.count("\n") < 200


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_extras_are_those_that_can_be_installed() -> None:
    named = set(re.findall(r"`([a-z]+)` \(", README.split("Extras: ")[1].split("\n\n")[0]))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert named == set(extras) - {"dev", "peers"}


def test_every_example_that_is_listed_is_there() -> None:
    listed = re.findall(r"`(\w+\.\w+)`", (ROOT / "examples" / "README.md").read_text().split("```")[0])
    assert len(listed) > 10
    assert all((ROOT / "examples" / name).exists() for name in listed)


def test_the_license_is_in_the_package() -> None:
    [name] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    assert "Apache License" in (ROOT / name).read_text()
    assert (ROOT / name).parent == ROOT / "cotdistill"


def test_the_readme_shows_the_example_plugin_as_it_is() -> None:
    shown = README.split("```python\n")[1].split("```")[0]
    example = (ROOT / "examples" / "rationale_twice.py").read_text()
    code = [line for line in shown.splitlines() if line.strip() and not line.strip().startswith('"""')]
    assert all(line in example for line in code)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_configuration_is_valid(path: Path) -> None:
    AblateConfig.build(path)
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_plugin_trains(path: Path, workplace: Path) -> None:
    names = re.findall(r'@strategy\("([a-z-]+)"\)', path.read_text())
    for name in names:
        done = shell(
            f"cotdistill distill rationales.jsonl --plugin {path} --strategy {name} --student ./student "
            f"--steps 2 -o plugin-{name}",
            workplace,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["strategy"] == name
