"""A bad plug-in of any kind is one line that names its file, its line where one is known, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.in_process import Done, run
from tests.plugins.test_every_kind import PLUGIN, distill, elicit

HEAD = "from cotdistill.plugins import *\nfrom cotdistill.plugins import RationaleCheck as Check\n\n"
DATA = '@data_set("bad", evaluated=("test",))\ndef bad(split, seed):\n'
CHECKER = '@checker("bad")\nclass Bad(Checker):\n    def check(self, question, choices, rationale):\n        '
TEACHER = (
    "from cotdistill.teachers.plugin import TextTeacher\n\nclass T(TextTeacher):\n    def answer(self, call):\n"
    '        return {}\n\n@teacher("bad")\ndef bad(config):\n    return {}\n'
)
ROWS = {
    "raises": (DATA + "    yield {}['x']", 2, "line 6: KeyError: 'x'"),
    "no iterator": (DATA + "    return 5", 2, "TypeError"),
    "no row": (DATA + "    yield 5", 3, "row 0 of train: 5 is not a mapping"),
    "no answer": (DATA + "    yield {'question': 'Why?'}", 3, "row 0 of train: answer: Field required"),
    "an id twice": (DATA + "    for _ in 'ab': yield {'id': '1', 'question': 'q', 'answer': 'a'}", 3, "is taken"),
    "an unknown field": (DATA + "    yield {'question': 'q', 'answer': 'a', 'x': 1}", 3, "row 0 of train: x: "),
    "exits": (DATA + "    raise SystemExit(0)\n    yield", 2, "line 6: SystemExit"),
}
ASKED = {
    "raises": (TEACHER.format("1 / 0", "T()"), "ZeroDivisionError"),
    "gives a number": (TEACHER.format("5", "T()"), "not a Reply with text"),
    "is none": (TEACHER.format("''", "5"), "returned a int without name, not a Teacher"),
    "is not made": (TEACHER.format("''", "{}['x']"), "KeyError: 'x'"),
}
CHECKED = {
    "raises": (CHECKER + "return {}['x']", "line 7: KeyError: 'x'"),
    "gives a number": (CHECKER + "return 5", "check returned 5, not RationaleCheck or None"),
}
TOLD = {
    "probe raises": ('@probe("bad")\ndef bad(case):\n    1 / 0', "--probe", "line 6: ZeroDivisionError"),
    "probe gives text": ('@probe("bad")\ndef bad(case):\n    return "x"', "--probe", "not an Intervention or None"),
    "extractor raises": ('@extractor("bad")\ndef bad(*_):\n    1 / 0', "--extractor", "line 6: ZeroDivisionError"),
    "extractor gives a number": ('@extractor("bad")\ndef bad(*_):\n    return 5', "--extractor", "not text or None"),
}


def refused(done: object, code: int, *said: str) -> None:
    assert done.code == code, done.err  # type: ignore[attr-defined]
    (line,) = done.errors  # type: ignore[attr-defined]
    assert "a bug of cotdistill" not in line
    assert all(one in line for one in said), line


def written(folder: Path, text: str) -> str:
    (folder / "plug.py").write_text(HEAD + text + "\n")
    return str(folder / "plug.py")


@pytest.mark.parametrize("kind", ROWS)
def test_a_bad_data_set_is_named(kind: str, tmp_path: Path) -> None:
    text, code, said = ROWS[kind]
    plugin = written(tmp_path, text)
    refused(run("elicit", "--data", "bad", "--teacher", "rows", "--plugin", plugin), code, "'bad'", "plug.py", said)


@pytest.mark.parametrize("kind", ASKED)
def test_a_bad_teacher_is_named(kind: str, tmp_path: Path) -> None:
    text, said = ASKED[kind]
    done = run("elicit", "--limit", "2", "--teacher", "bad", "--plugin", written(tmp_path, text))
    refused(done, 2, "teacher 'bad'", "plug.py", said)
    assert done.out == ""


@pytest.mark.parametrize("kind", CHECKED)
def test_a_bad_checker_is_named(kind: str, tmp_path: Path) -> None:
    text, said = CHECKED[kind]
    (tmp_path / "asked.jsonl").write_text('{"id": "1", "question": "Why?", "choices": null, "answer": "x"}\n')
    options = ("--data", str(tmp_path / "asked.jsonl"), "--teacher", "parrot", "--plugin", PLUGIN)
    done = run("elicit", *options, "--plugin", written(tmp_path, text))
    refused(done, 2, "checker 'bad'", "plug.py", said)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distill(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("kind", TOLD)
def test_a_bad_probe_or_extractor_is_named(kind: str, tmp_path: Path, trained: Path) -> None:
    text, option, said = TOLD[kind]
    options = ("--data", "colours", "--device", "cpu", option, "bad")
    done = run("evaluate", str(trained), "--plugin", PLUGIN, "--plugin", written(tmp_path, text), *options)
    refused(done, 2, "'bad'", "plug.py", said)


TRACKER = (
    "from accelerate.tracking import GeneralTracker\n\n\nclass T(GeneralTracker):\n    name = 't'\n"
    "    requires_logging_directory, tracker = False, None\n"
    "    def store_init_configuration(self, values):\n        print('a tracker that talks')\n        {}\n"
    "    def log(self, values, step=None, **more):\n        {}\n\n"
    '@tracker("bad")\ndef bad(folder):\n    return T()\n'
)


def tracked(folder: Path, rows: Path, *lines: str) -> Done:
    plugin = written(folder, TRACKER.format(*lines))
    few = ("--steps", "2", "--device", "cpu", "--max-unknown", "1")
    return run("distill", str(rows), "--plugin", plugin, "--track", "bad", *few, "-o", str(folder / "run"))


def test_a_tracker_that_fails_stops_training_before_it_begins_or_not_at_all(tmp_path: Path) -> None:
    rows = elicit(tmp_path)
    done = tracked(tmp_path, rows, "raise OSError('no route')", "pass")
    assert done.code == 6
    assert done.errors == ["error: --track bad: OSError: no route; training did not begin"]
    done = tracked(tmp_path, rows, "pass", "raise OSError('no route')")
    assert done.code == 0, done.err
    assert done.err.count("warning: --track t: OSError: no route; training goes on without it") == 1
    assert json.loads(done.out)["steps"] == 2  # what a tracker prints is no result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('@probe("oracle")\ndef mine(case): ...', "the probe 'oracle' has the name of a built-in one"),
        ('@data_set("demo", evaluated=("x",))\ndef mine(split, seed): ...', "the data set 'demo' is defined twice"),
        ('@teacher("openai")\ndef mine(config): ...', "the teacher 'openai' has the name of a built-in one"),
        ('@checker("demo")\nclass Mine(Checker):\n    def check(self, *_): ...', "the checker 'demo' is defined twice"),
        ('@checker("mine")\nclass Mine: ...', "the checker 'mine' is not a subclass of Checker"),
        ('@extractor("mine")\nclass Mine: ...', "the extractor 'mine' is not a function"),
        ('@checker("mine")\nclass Mine(Checker): ...', "TypeError"),
        ("x = 1", "registers nothing"),
    ],
)
def test_what_cannot_be_registered_is_named(text: str, said: str, tmp_path: Path) -> None:
    refused(run("plugins", "--plugin", written(tmp_path, text)), 2, "plug.py", said)
