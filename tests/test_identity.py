"""A run is what its content makes it: all that defines its result is in its key; another run's files are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cotdistill.plugins.files import load_plugin
from cotdistill.plugins.kinds import STRATEGIES
from cotdistill.strategies import registry
from tests.in_process import Done, run
from tests.models import items, student

PLUGIN = """
from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.strategies.registry import strategy


@strategy("own")
def own() -> Strategy:
    def fill(draft, context):
        return {"rationale": draft.rationale + ".", "answer": draft.answer}
    form = Form("a", "{question} A:", (learn(" {rationale}"), learn(" {answer}")))
    return Strategy("own", "none", (form,), plan=("a",), fill=fill)
"""
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry and a token cache of the test's own."""
    registry.entries()  # what is built in stays
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    student("gpt2").save(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").write_text(TEMPLATE)
    write("rows.jsonl", 6)
    (tmp_path / "dev.jsonl").write_text("".join(item.example().line() + "\n" for item in items(2)))
    (tmp_path / "plugin.py").write_text(PLUGIN)


def write(name: str, count: int) -> None:
    Path(name).write_text("".join(item.line() + "\n" for item in items(count)))


def distill(*options: str) -> Done:
    return run("distill", "rows.jsonl", "--student", "base", "--steps", "2", "--device", "cpu", *options)


def replaced(name: str, old: str, new: str) -> Callable[[], None]:
    def change() -> None:
        text = Path(name).read_text()
        assert old in text
        Path(name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("options", "change"),
    [
        pytest.param(("--plugin", "plugin.py", "--strategy", "own"), replaced("plugin.py", '"."', '"!"'), id="plug-in"),
        pytest.param(
            ("--dev", "dev.jsonl"), replaced("dev.jsonl", '"split": "train"', '"split": "dev"'), id="dev rows"
        ),
        pytest.param(("--chat",), replaced("base/chat_template.jinja", "<assistant>", "<student>"), id="chat template"),
        pytest.param(
            (), replaced("base/config.json", '"attn_pdrop": 0.0', '"attn_pdrop": 0.1'), id="student's settings"
        ),
    ],
)
def test_whatever_defines_a_result_is_in_the_key(options: tuple[str, ...], change: Callable[[], None]) -> None:
    first, again = (distill(*options, "--out", name) for name in ("first", "again"))
    assert (first.code, again.code) == (0, 0), first.err + again.err
    change()
    other = distill(*options, "--out", "other")
    keys = [json.loads(done.out)["key"] for done in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]
    refused = distill(*options, "--out", "first")
    assert refused.code == 2
    assert "--out first holds another run" in refused.err


def test_a_student_is_the_same_however_its_path_is_spelled() -> None:
    assert distill("--out", "r").code == 0
    for spelled in ("./base/", "base/.", "cache/../base", ".//base"):
        Path("cache").mkdir(exist_ok=True)
        done = distill("--out", "r", "--student", spelled)
        assert done.code == 0, done.err
        assert "r is already complete" in done.err
    config = Path("base/config.json")
    config.write_text(config.read_text().replace('"attn_pdrop": 0.0', '"attn_pdrop": 0.1', 1))
    assert distill("--out", "r").code == 2


def test_a_module_that_a_plugin_imports_is_its_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("beside_the_plugin.py").write_text('END = "."\n')
    replaced("plugin.py", '"."', "END")()
    replaced("plugin.py", "from cotdistill", "from beside_the_plugin import END\nfrom cotdistill")()
    codes = []
    for end in (".", "!"):
        Path("beside_the_plugin.py").write_text(f'END = "{end}"\n')
        load_plugin(Path("plugin.py"))
        codes.append(registry.create("own").code)
    assert None not in codes
    assert len(set(codes)) == 2


def test_an_edited_plugin_does_not_train_on_tokens_of_its_former_self() -> None:
    options = ("--plugin", "plugin.py", "--strategy", "own")
    short = json.loads(distill(*options, "--out", "short").out)["learned_tokens"]["a"]
    replaced("plugin.py", '"."', '" and so it goes on."')()
    assert json.loads(distill(*options, "--out", "long").out)["learned_tokens"]["a"] > short


@pytest.mark.parametrize(
    "options", [("--lr", "0.001"), ("--strategy", "cascod"), ("--seed", "1"), ("rows",), ("student",)], ids=" ".join
)
def test_checkpoints_of_another_run_are_refused(options: tuple[str, ...]) -> None:
    assert distill("--out", "r", "--checkpoint-every", "1").code == 0
    Path("r/run.json").unlink()  # as if it had been killed before its end
    key = json.loads(Path("r/checkpoints/step-2/progress.json").read_text())["key"]
    before = sorted((path, path.read_bytes()) for path in Path("r").rglob("*") if path.is_file())
    if options == ("rows",):
        options = ()
        write("rows.jsonl", 5)
    elif options == ("student",):
        options = ("--student", "llama")
        student("llama").save(Path("llama"))
    done = distill("--out", "r", "--checkpoint-every", "1", *options)
    assert done.code == 2
    (line,) = done.errors
    assert line.startswith(f"error: r holds checkpoints of another run (key {key[:8]}, not ")
    assert line.endswith("its rows, student or settings differ; give another --out, or remove r/checkpoints")
    assert sorted((path, path.read_bytes()) for path in Path("r").rglob("*") if path.is_file()) == before


def test_its_own_checkpoints_are_resumed() -> None:
    assert distill("--out", "r", "--checkpoint-every", "1").code == 0
    weights = Path("r/student/model.safetensors").read_bytes()
    Path("r/run.json").unlink()
    shutil.rmtree("r/checkpoints/step-2")
    done = distill("--out", "r", "--checkpoint-every", "1")
    assert done.code == 0
    assert "resuming after step 1" in done.err
    assert Path("r/student/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("options", [(), ("--checkpoint-every", "1"), ("--overwrite",)], ids=" ".join)
def test_a_finished_run_whose_student_is_gone_is_trained_again(options: tuple[str, ...]) -> None:
    first = distill("--out", "r", *options)
    before = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file() and "timings" not in path.name}
    shutil.rmtree("r/student")
    done = distill("--out", "r", *options)
    assert (done.code, done.out) == (0, first.out), done.err
    assert "r is complete, but its student is gone: it is trained again" in done.err
    after = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file() and "timings" not in path.name}
    assert after.keys() == before.keys()
    assert [path for path in before if after[path] != before[path]] in ([], [Path("r/run.json")])


def test_overlap_counts_only_the_rows_a_run_was_trained_on() -> None:
    assert distill("--out", "r").code == 0
    asked = ("evaluate", "r", "--data", "dev.jsonl", "--device", "cpu")
    assert json.loads(run(*asked).out)["overlap"]["exact"] == 1.0
    write("rows.jsonl", 5)
    done = run(*asked)
    assert done.code == 0
    assert "overlap" not in json.loads(done.out)
    assert "rows.jsonl holds other rows than the run was trained on" in done.err
