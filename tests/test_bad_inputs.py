"""Bad input of every kind gets one clear error line and its exit code, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.config.common import Config
from cotdistill.config.option import options_of
from cotdistill.plugins.kinds import STRATEGIES
from tests.in_process import Done, run
from tests.models import items, student

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, elicited rows and question rows."""
    folder = tmp_path_factory.mktemp("inputs")
    student("gpt2", width=16, layers=1).save(folder / "model")
    rows = items(4)
    (folder / "rows.jsonl").write_text("".join(row.line() + "\n" for row in rows))
    (folder / "asked.jsonl").write_text("".join(row.example().line() + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def _here(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model", "rows.jsonl", "asked.jsonl"):
        (tmp_path / name).symlink_to(base / name)
    monkeypatch.setattr(STRATEGIES, "_entries", {entry.name: entry for entry in STRATEGIES.entries()})


@pytest.fixture(scope="module")
def card(base: Path) -> dict[str, Any]:
    """The card of a run in `base`."""
    done = run(
        "distill",
        str(base / "rows.jsonl"),
        "--student",
        str(base / "model"),
        "--steps",
        "1",
        "--device",
        "cpu",
        "-o",
        str(base / "run"),
    )
    assert done.code == 0, done.err
    return dict(json.loads((base / "run" / "run.json").read_text()))


def refused(done: Done, code: int, *said: str) -> None:
    """One error line that says it, nothing on stdout, and the exit code."""
    assert done.code == code, done.err
    assert len(done.errors) == 1, done.err
    assert done.err.splitlines()[-1] == done.errors[0]
    assert "(a bug of cotdistill" not in done.err
    assert done.out == ""
    for one in said:
        assert one in done.errors[0]


STRATEGY = """
from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.strategies.registry import strategy

def made(fill=None, name="odd", **more):
    form = Form("f", "{question}", (learn(" {rationale}"), learn(" {answer}")))
    return Strategy(name, "p", (form,), ("f",), **({} if fill is None else {"fill": fill}), **more)

@strategy("odd")
"""
PLUGINS = {
    "not a strategy": (STRATEGY + "def odd(): return {'x': 1}", "returned a dict, not a Strategy"),
    "None": (STRATEGY + "def odd(): pass", "returned a NoneType, not a Strategy"),
    "a class": (STRATEGY + "class Odd: pass", "is not a function"),
    "raises": (STRATEGY + "def odd(): return {}['x']", "KeyError: 'x'"),
    "exits": (STRATEGY + "def odd(): raise SystemExit(0)", "SystemExit: 0"),
    "bad form": (STRATEGY + "def odd(): return Strategy('odd', 'p', 'abc', ('f',))", "AttributeError"),
    "nan share": (
        STRATEGY + "def odd():\n    f = Form('f', '{question}', (learn(' {answer}'),), share=float('nan'))\n"
        "    return Strategy('odd', 'p', (f,), ('f',))",
        "sum to 1, not nan",
    ),
    "nan weight": (
        STRATEGY + "def odd():\n    f = Form('f', '{question}', (learn(' {answer}', float('nan')),))\n"
        "    return Strategy('odd', 'p', (f,), ('f',))",
        "is nan, not finite",
    ),
    "hints": (STRATEGY + "def odd(x: 'Nowhere' = 1): return made()", "name 'Nowhere' is not defined"),
    "no default": (STRATEGY + "def odd(x: int): return made()", "needs a value for x"),
    "fill raises": (STRATEGY + "def odd(): return made(lambda draft, context: 1 / 0)", "ZeroDivisionError"),
    "fill exits": (STRATEGY + "def odd(): return made(lambda draft, context: exit(0))", "SystemExit"),
    "fill None": (STRATEGY + "def odd(): return made(lambda draft, context: None)", "its fill returned None"),
    "fill of numbers": (
        STRATEGY + "def odd(): return made(lambda d, c: {'rationale': 1, 'answer': 2})",
        "its fill returned",
    ),
    "fill of another slot": (STRATEGY + "def odd(): return made(lambda d, c: {'reason': 'x'})", "its fill returned"),
    "fill lacks a slot": (STRATEGY + "def odd(): return made(lambda d, c: {'answer': 'x'})", "its fill returned"),
    "reweight raises": (STRATEGY + "def odd(): return made(reweight=lambda coef, nll: coef['x'])", "TypeError"),
    "import raises": ("import nowhere", "ModuleNotFoundError"),
    "import exits": ("raise SystemExit(0)", "SystemExit: 0"),
    "syntax": ("def (", "SyntaxError"),
    "binary": ("\x00\x01", "null bytes"),
    "empty": ("", "registers nothing"),
}


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_plugin_that_fails_is_named(kind: str, tmp_path: Path) -> None:
    text, said = PLUGINS[kind]
    (tmp_path / "plug.py").write_text(text)
    done = run(
        "distill",
        "rows.jsonl",
        "--plugin",
        "plug.py",
        "--strategy",
        "odd",
        "--student",
        "model",
        "--steps",
        "2",
        "--device",
        "cpu",
        "-o",
        "run",
    )
    refused(done, 2, "odd" if kind == "no default" else "plug.py", said)


def test_a_plugin_that_prints_leaves_stdout_to_data(tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text(f"print('hello')\n{STRATEGY}def odd():\n    print('there')\n    return made()\n")
    done = run("strategies", "--json", "--plugin", "plug.py")
    assert done.code == 0, done.err
    assert [json.loads(line)["name"] for line in done.out.splitlines()][-1] == "odd"
    assert "hello" in done.err


PARAMS = [
    ("cascod", "alpha=nan"),
    ("cascod", "alpha=inf"),
    ("cascod", "alpha=-inf"),
    ("cascod", "alpha=1e300"),
    ("cascod", "alpha=" + "9" * 5000),
    ("post-cot-key", "k=" + "9" * 5000),
    ("post-cot-key", "k=1e3"),
    ("post-cot-masked", "ratio=nan"),
    ("post-cot-masked", "ratio=2"),
    ("post-cot-masked", "ratio=-1"),
    ("post-cot-random-k", "k=-3"),
    ("weighted-cot", "alpha=nan"),
    ("edit-krsl", "threshold=nan"),
    ("scott", "tags=nan"),
    ("post-cot-key", "exclude_label=nan"),
]


@pytest.mark.parametrize(("strategy", "param"), PARAMS)
def test_a_parameter_that_is_no_number_is_named(strategy: str, param: str) -> None:
    done = run(
        "distill",
        "rows.jsonl",
        "--strategy",
        strategy,
        "--param",
        param,
        "--student",
        "model",
        "--steps",
        "2",
        "-o",
        "run",
    )
    refused(done, 2, strategy, param.partition("=")[0])
    assert len(done.errors[0]) < 300
    assert not Path("run").exists()


TEMPLATES = {
    "range": ("{% for i in range(10**9) %}x{% endfor %}", "OverflowError"),
    "include": ("{% include 'x' %}", "TypeError"),
    "type": ("{{ question + 1 }}", "TypeError"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "format": ("{{ '%d' % question }}", "TypeError"),
    "deep": ("{{ " + "(" * 20_000 + " }}", ""),
    "unclosed": ("{% if %}", ""),
    "division": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "attribute": ("{{ question.__class__.__mro__ }}", "unsafe"),
    "missing": ("{{ nothing }}", "'nothing' is undefined"),
    "missing attribute": ("{{ question.nothing.x }}", "no attribute 'nothing'"),
    "key": ("{{ {}['x'] + 1 }}", "no attribute 'x'"),
    "half a pair": ("{{ '\\ud83d' }}", "UnicodeEncodeError"),
    "filter": ("{{ question | nosuch }}", "nosuch"),
    "index": ("{{ (choices | list)[99] ~ '' }}", "no element 99"),
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_prompt_template_that_fails_is_named(kind: str, tmp_path: Path) -> None:
    text, said = TEMPLATES[kind]
    (tmp_path / "ask.j2").write_text(text)
    done = run(
        "elicit",
        "--data",
        "asked.jsonl",
        "--teacher",
        "model",
        "--prompt",
        "ask.j2",
        "--shots",
        "0",
        "--device",
        "cpu",
        "--max-new-tokens",
        "2",
        "-o",
        "out.jsonl",
    )
    refused(done, 2, "ask.j2", said)
    assert not Path("out.jsonl").exists()


SCORES = {
    "empty": "",
    "nothing of ours": "{}\n",
    "by another": '{"by": "x"}\n',
    "no scores": '{"rationale": "x"}\n',
    "no rationale": '{"scores": [1]}\n',
    "null": '{"rationale": "x", "scores": null}\n',
    "number": '{"rationale": "x", "scores": 1}\n',
    "words": '{"rationale": "x", "scores": ["a"]}\n',
    "nan": '{"rationale": "x", "scores": [NaN]}\n',
    "inf": '{"rationale": "x", "scores": [1e999]}\n',
    "truth": '{"rationale": "x", "scores": [true]}\n',
    "nested": '{"rationale": "x", "scores": [[1]]}\n',
    "deep": DEEP + "\n",
    "list": "[]\n",
    "broken": "{\n",
    "long": '{"rationale": "x", "scores": [' + "9" * 5000 + "]}\n",
    "of other rows": '{"rationale": "x", "scores": [1]}\n',
}


@pytest.mark.parametrize("kind", SCORES)
def test_a_score_file_that_is_none_is_named(kind: str, tmp_path: Path) -> None:
    header = "" if kind in ("empty", "nothing of ours", "by another") else '{"by": "gradient-input"}\n'
    (tmp_path / "s.jsonl").write_text(header + SCORES[kind])
    done = run(
        "distill",
        "rows.jsonl",
        "--strategy",
        "post-cot-key",
        "--param",
        "by=gradient-input",
        "--scores",
        "s.jsonl",
        "--student",
        "model",
        "--steps",
        "2",
        "--device",
        "cpu",
        "-o",
        "run",
    )
    refused(done, 3, "s.jsonl" if kind == "of other rows" else f"s.jsonl:{2 if header else 1}: ")
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["nowhere.jsonl", ".", "x" * 5000])
def test_a_score_file_that_cannot_be_read_is_named(name: str) -> None:
    refused(
        run(
            "distill",
            "rows.jsonl",
            "--strategy",
            "post-cot-key",
            "--param",
            "by=gradient-input",
            "--scores",
            name,
            "--student",
            "model",
            "-o",
            "run",
        ),
        3,
        name[:100],
    )


@pytest.mark.parametrize(
    "device", ["tpu9", "cuda:99", "cuda", "meta", "cpu0", "gpu", "", "cuda:-1", "xla", "mps", "mars:0"]
)
@pytest.mark.parametrize("command", ["elicit", "distill", "evaluate"])
def test_a_device_that_is_not_there_is_named(device: str, command: str) -> None:
    args = {
        "elicit": ["--data", "asked.jsonl", "--teacher", "model", "-o", "out"],
        "distill": ["rows.jsonl", "--student", "model", "-o", "out"],
        "evaluate": ["model", "--strategy", "cot", "--data", "asked.jsonl"],
    }[command]
    import torch

    if device.split(":")[0] in ("cuda", "mps") and (torch.cuda.is_available() or torch.backends.mps.is_available()):
        pytest.skip("it is there")
    refused(run(command, *args, "--device", device), 6, f"--device {device}: not available here; choose from cpu")
    assert not Path("out").exists()


def put(value: object, *path: str | int) -> Callable[[dict[str, Any]], object]:
    return lambda card: changed(card, path, value)


GONE = object()


def changed(card: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """`card` with another value at `path` (GONE: with none)."""
    at: Any = card
    for step in path[:-1]:
        at = at[step]
    if value is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return card


CARDS: dict[str, Any] = {
    "empty": b"",
    "binary": b"\xff\xfe\x00",
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "cut": b'{"key": "a',
    "{}": b"{}",
    "deep": DEEP.encode(),
    "long number": b'{"key": ' + b"9" * 5000 + b"}",
    "no strategy": put(GONE, "strategy"),
    "strategy null": put(None, "strategy"),
    "strategy text": put("cot", "strategy"),
    "strategy {}": put({}, "strategy"),
    "no forms": put(GONE, "strategy", "forms"),
    "forms text": put("cot", "strategy", "forms"),
    "forms []": put([], "strategy", "forms"),
    "forms of text": put(["x"], "strategy", "forms"),
    "form {}": put({}, "strategy", "forms", 0),
    "form extra": put(1, "strategy", "forms", 0, "zzz"),
    "form kind": put("x", "strategy", "forms", 0, "kind"),
    "form source": put("{answer}", "strategy", "forms", 0, "source"),
    "form slot": put("{nothing}", "strategy", "forms", 0, "source"),
    "form share": put(0.5, "strategy", "forms", 0, "share"),
    "form share nan": put(float("nan"), "strategy", "forms", 0, "share"),
    "target text": put("x", "strategy", "forms", 0, "target"),
    "target []": put([], "strategy", "forms", 0, "target"),
    "target part": put([["x"]], "strategy", "forms", 0, "target"),
    "target weight": put([["x", None]], "strategy", "forms", 0, "target"),
    "target without an answer": put([[" x", 1.0]], "strategy", "forms", 0, "target"),
    "denominator": put("x", "strategy", "forms", 0, "denominator"),
    "plan": put(["x"], "strategy", "plan"),
    "plan []": put([], "strategy", "plan"),
    "plan text": put("cot", "strategy", "plan"),
    "explain": put(["x"], "strategy", "explain"),
    "name": put(1, "strategy", "name"),
    "params": put([], "strategy", "params"),
    "config {}": put({}, "config"),
    "config text": put("x", "config"),
    "answers": put("loud", "config", "answers"),
    "chat": put("yes", "config", "chat"),
    "seed": put("x", "config", "seed"),
    "student {}": put({}, "student"),
    "student name": put(None, "student", "name"),
    "data {}": put({}, "data"),
    "data world": put("x", "data", "world"),
    "counts {}": put({}, "counts"),
    "trained {}": put({}, "trained"),
    "key": put(1, "key"),
    "extra": put(1, "zzz"),
    "versions": put(None, "versions"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_a_run_card_that_is_damaged_is_named(kind: str, base: Path, card: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "student").symlink_to(base / "run" / "student")
    make = CARDS[kind]
    content = make if isinstance(make, bytes) else json.dumps(make(json.loads(json.dumps(card)))).encode()
    (tmp_path / "run" / "run.json").write_bytes(content)
    refused(
        run("evaluate", "run", "--data", "asked.jsonl", "--device", "cpu"),
        3,
        "run/run.json: damaged: ",
        "; remove it and distill again",
    )


STDIN = [
    '{"run": 5}',
    '{"run": null}',
    '{"run": "' + "x" * 5000 + '"}',
    '{"run": "a\\u0000b"}',
    '{"run": ""}',
    '{"x": 1}',
    "[]",
    "x",
    "",
    DEEP,
    '{"run": ' + "9" * 5000 + "}",
    '{"run": "nowhere"}',
    '{"run": "rows.jsonl/x"}',
]


@pytest.mark.parametrize("line", STDIN)
def test_a_run_on_stdin_that_is_none_is_refused(line: str) -> None:
    done = run("evaluate", "--data", "asked.jsonl", stdin=line + "\n")
    refused(done, done.code if done.code in (2, 3) else 3)
    assert len(done.errors[0]) < 500


PREDICTIONS = [
    '{"id": "row-0", "samples": 5}',
    '{"id": "row-0", "samples": "x"}',
    '{"id": "row-0", "samples": [5]}',
    '{"id": "row-0", "samples": [{"text": 5}]}',
    '{"id": "row-0", "samples": [{}]}',
    '{"id": "row-0", "text": 5}',
    '{"id": 5, "text": "x"}',
    '{"id": "row-0"}',
    '{"id": "row-0", "answer": []}',
    '{"samples": ["x"]}',
    DEEP,
    "5",
    '{"id": "row-0", "samples": {"text": "x"}}',
    '{"id": "row-0", "samples": [null]}',
    '{"id": "row-0", "samples": true}',
    '{"id": "row-0", "samples": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("line", PREDICTIONS)
def test_predictions_that_are_none_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "said.jsonl").write_text(line + "\n")
    refused(run("evaluate", "said.jsonl", "--data", "asked.jsonl"), 3, "said.jsonl:1: ")


SET_NAMES = [
    "../../x",
    "/x",
    "a/b",
    "[/red]x",
    "a\\b",
    "..",
    ".",
    " ",
    "\n",
    "a\nb",
    "\x1b[31m",
    "\u202ex",
    "x" * 300,
    "é" * 150,
]


@pytest.mark.parametrize("name", SET_NAMES)
def test_a_set_is_called_by_a_name_not_a_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "said.jsonl").write_text(
        "".join(json.dumps({"id": f"row-{at}", "answer": "x"}) + "\n" for at in range(4))
    )
    refused(run("evaluate", "said.jsonl", "--data", f"{name}=asked.jsonl"), 2, "is not a valid name for a set")


def test_the_same_set_twice_is_refused(base: Path, card: dict[str, Any]) -> None:
    refused(
        run("evaluate", str(base / "run"), "--data", "asked.jsonl", "--data", "asked.jsonl"),
        2,
        "two sets are named asked",
    )
    refused(
        run("ablate", "rows.jsonl", "--data", "asked.jsonl", "--data", "asked.jsonl", "--student", "model"),
        2,
        "two sets are named asked",
    )


def test_ablate_names_rows_that_are_not_there() -> None:
    refused(run("ablate", "nowhere.jsonl"), 3, "nowhere.jsonl: no such file")


@pytest.mark.parametrize("row", ["-1", "4", "-99999999999999999999", "99999999999999999999"])
def test_preview_has_no_such_row(row: str) -> None:
    refused(run("preview", "rows.jsonl", "--student", "model", "--row", row), 2, f"--row {row}: there are 4 rows")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--student", "./nowhere"),
        ("--student", "model,./nowhere"),
        ("--student", "rows.jsonl"),
        ("--student", "."),
        ("--student", "no/such/model"),
        ("--teacher", "./nowhere"),
        ("--device", "tpu9"),
        ("--ray", "127.0.0.1:1"),
    ],
)
def test_what_every_cell_needs_is_missed_before_the_first(option: str, name: str) -> None:
    given = {"--student": "model", "--data": "asked.jsonl", "-o": "grid", "--device": "cpu"} | {option: name}
    done = run(
        "ablate", "rows.jsonl", "--strategies", "cot,answer-only", *(text for pair in given.items() for text in pair)
    )
    assert done.code == 6, done.err
    assert len(done.errors) == 1
    assert name.split(",")[-1] in done.errors[0] or "'cotdistill[ray]'" in done.errors[0]
    assert not Path("grid").exists()


COMMANDS: dict[str, tuple[type[Config], tuple[str, ...]]] = {
    "elicit": (ElicitConfig, ()),
    "distill": (DistillConfig, ("rows.jsonl",)),
    "evaluate": (EvaluateConfig, ("model",)),
    "ablate": (AblateConfig, ("rows.jsonl",)),
}
NUMBERS = [
    (command, field)
    for command, (config, _) in COMMANDS.items()
    for field, one in options_of(config).items()
    if one.type in (int, float)
    or (one.kind == "list" and not one.values and {"int", "float"} & set(re.findall(r"\w+", str(one.type))))
]
NOT_NUMBERS = ("nan", "inf", "-inf", "1e999", "1e300", "-1e300", "9" * 5000, "-5", "0x10", "ten", "1,,x")


@pytest.mark.parametrize(("command", "field"), NUMBERS)
def test_an_option_takes_no_number_that_is_none(command: str, field: str) -> None:
    config, rows = COMMANDS[command]
    option = options_of(config)[field].name
    for text in NOT_NUMBERS:
        done = run(command, *rows, f"{option}={text}")
        refused(done, 2, option)
        assert len(done.errors[0]) < 400, text


CONFIGS = {
    "nul": 'out: "a\\0b"',
    "deep": "a: " + "[" * 20_000,
    "deep blocks": "- " * 20_000,
    "steps text": "steps: '5'",
    "steps words": "steps: many",
    "inf": "lr: .inf",
    "nan": "lr: .nan",
    "huge": "lr: 1.0e+30",
    "huge rate": "lr: 1000",
    "big seed": f"seed: {10**30}",
    "long seed": "seed: " + "9" * 5000,
    "negative seed": "seed: -1",
    "list": "- steps",
    "text": "steps",
    "number": "5",
    "binary": "\x00\x01",
    "tag": "lr: !!python/object/apply:os.system [x]",
    "unknown": "stepz: 5",
    "null key": "~: 5",
    "list for a number": "steps: [5]",
    "mapping for a number": "steps: {a: 5}",
    "truth for a number": "steps: true",
    "number for a name": "strategy: 5",
    "list for a path": "out: [a, b]",
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\nsteps: *b",
    "recursive": "steps: &a [*a]",
    "twice": "lr: 1\nlr: 2\nsteps: x",
    "date": "steps: 2020-01-01",
    "cut": 'steps: "',
    "tabs": "\tsteps: 5",
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_that_is_none_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(CONFIGS[kind] + "\n")
    done = run("distill", "rows.jsonl", "--config", "study.yaml", "--student", "model", "--dry-run")
    refused(done, 2)
    assert len(done.errors[0]) < 500


@pytest.mark.parametrize(
    "args",
    [
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--sweep", "lr=nan"),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--sweep", "lr=1e30"),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--sweep", "lr=0"),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--sweep", "steps=1"),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--strategies", ""),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--strategies", ","),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--strategies", "cot", "--param", "cascod.alpha=1"),
        ("ablate", "rows.jsonl", "--data", "asked.jsonl", "--strategies", "cot", "--param", "alpha=1"),
        ("evaluate", "model", "--strategy", "cot", "--data", "asked.jsonl", "--param", "x=1"),
        ("elicit", "--data", "asked.jsonl", "--teacher", "model", "--lambda", "inf"),
    ],
)
def test_a_value_that_means_nothing_is_refused(
    args: tuple[str, ...], base: Path, card: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "run").symlink_to(base / "run")
    refused(run(*args, "--device", "cpu"), 2)


def test_stored_predictions_that_are_not_there_are_missed(base: Path, card: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(base / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "predictions", ignore_errors=True)
    refused(run("evaluate", "run", "--data", "asked.jsonl", "--from-predictions"), 3, "run/predictions/asked.jsonl")
