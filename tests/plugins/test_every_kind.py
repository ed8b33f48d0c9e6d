"""One file brings things of every kind, and a user names each of them on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import Done, run

PLUGIN = str(Path(__file__).with_name("every_kind.py"))


def records(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def elicit(folder: Path, *options: str) -> Path:
    rows = folder / "rows.jsonl"
    done = run("elicit", "--plugin", PLUGIN, "--data", "colours", "--teacher", "parrot", "-o", str(rows), *options)
    assert done.code == 0, done.err
    return rows


def distill(folder: Path) -> Path:
    options = ("--strategy", "reasoned", "--track", "lines", "--steps", "2", "--device", "cpu", "--max-unknown", "1")
    done = run("distill", str(elicit(folder)), "--plugin", PLUGIN, *options, "-o", str(folder / "run"))
    assert done.code == 0, done.err
    return folder / "run"


def test_a_study_of_plug_ins_alone(tmp_path: Path) -> None:
    run_folder = distill(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows[:4]] == [f"colours-train-{n:05d}" for n in range(4)]
    assert rows[0]["rationales"][0]["text"] == "Everybody says blue."
    assert rows[0]["rationales"][0]["teacher"] == "parrot-1"
    curves = [json.loads(line) for line in (run_folder / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curves] == [1, 2]
    asked = ("--data", "colours", "--extractor", "first-choice", "--probe", "first-word,truncation", "--device", "cpu")
    (found,) = records(run("evaluate", str(run_folder), "--plugin", PLUGIN, *asked))
    assert (found["set"], found["n"], found["right"], found["wrong"]) == ("colours-test", 4, 1, 3)
    assert found["extractor"].startswith("first-choice-")
    assert found["probes"]["first-word"]["n"] == found["probes"]["truncation-100"]["n"]
    again = run("evaluate", str(run_folder), "--plugin", PLUGIN, *asked, "--from-predictions")
    assert records(again) == [found]


def test_the_probe_of_other_code_is_asked_again(tmp_path: Path) -> None:
    run_folder, plugin = distill(tmp_path), tmp_path / "probe.py"
    text = (
        "from cotdistill.evaluation.probes import Intervention\nfrom cotdistill.plugins import probe\n\n"
        '@probe("said")\ndef said(case):\n    return Intervention("{}", None)\n'
    )
    options = ("--data", "demo", "--split", "id", "--limit", "2", "--probe", "said", "--device", "cpu")
    stored = run_folder / "predictions" / "demo-id.probes.jsonl"
    for words in ("A drill is a tool.", "A robin is a bird."):
        plugin.write_text(text.format(words))
        records(run("evaluate", str(run_folder), "--plugin", PLUGIN, "--plugin", str(plugin), *options))
        lines = [json.loads(line) for line in stored.read_text().splitlines()[1:]]
        assert {line["probes"]["said"]["given"] for line in lines} == {words}


def test_names_are_listed_with_their_origin() -> None:
    listed = {(one["kind"], one["name"]): one for one in records(run("plugins", "--json", "--plugin", PLUGIN))}
    for kind, name in (
        ("strategy", "reasoned"),
        ("data set", "colours"),
        ("teacher", "parrot"),
        ("probe", "first-word"),
        ("extractor", "first-choice"),
        ("tracker", "lines"),
    ):
        assert listed[kind, name]["origin"] == PLUGIN
    assert listed["data set", "colours"]["about"] == "Which colour a thing has."
    assert {("checker", "demo"), ("data set", "demo:stow"), ("probe", "oracle"), ("strategy", "cot")} < set(listed)
    assert listed["checker", "demo"]["origin"] == "built in"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("evaluate", "run", "--extractor", "first-choise"), "--extractor first-choise: unknown extractor"),
        (("evaluate", "run", "--probe", "first-wort"), "--probe first-wort: unknown probe"),
        (("distill", "rows.jsonl", "--track", "line"), "--track line: unknown tracker"),
        (("ablate", "rows.jsonl", "--extractor", "first-choise"), "--extractor first-choise: unknown extractor"),
        (("elicit", "--data", "colours", "--split", "tset"), "no split 'tset' in 'colours' (did you mean \"test\"?)"),
        (("elicit", "--data", "colors"), "unknown data set 'colors' (did you mean \"colours\"?)"),
        (("elicit", "--data", "demo:stov"), "unknown data set 'demo:stov' (did you mean \"demo:stow\"?)"),
    ],
)
def test_a_wrong_name_is_refused_with_a_suggestion(command: tuple[str, ...], said: str) -> None:
    done = run(*command, "--plugin", PLUGIN)
    assert done.code == 2
    assert said in done.errors[0]
    assert "did you mean" in done.errors[0]


def test_names_of_a_plug_in_are_unknown_without_it() -> None:
    done = run("evaluate", "run", "--extractor", "first-choice")
    assert done.code == 2
    assert "unknown extractor 'first-choice'" in done.errors[0]
