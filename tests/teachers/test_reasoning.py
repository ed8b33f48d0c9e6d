"""Thoughts and answer apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cotdistill.cli import app
from cotdistill.teachers.reasoning import split_reasoning


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nSo the answer is yes.", "Hm.", "So the answer is yes."),
        ("Hm.</think>So the answer is yes.", "Hm.", "So the answer is yes."),  # the template opened the tag
        ("<think>Hm, cut of", "Hm, cut of", ""),
        ("So the answer is yes.", None, "So the answer is yes."),
        ("", None, ""),
        ("</think>Yes.", "", "Yes."),
        ("<thinking>Hm.</thinking>Yes.", "Hm.", "Yes."),
        ("<thought>Hm.</thought>Yes.", "Hm.", "Yes."),  # EXAONE Deep
        ("<reasoning>Hm.</reasoning>\n<answer>Yes.</answer>", "Hm.", "<answer>Yes.</answer>"),
        ("[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."),  # Magistral
        ("<seed:think>Hm.</seed:think>Yes.", "Hm.", "Yes."),
        ("◁think▷Hm.◁/think▷Yes.", "Hm.", "Yes."),  # Kimi
        (
            "<|begin_of_thought|>\n\nHm.\n<|end_of_thought|>\n<|begin_of_solution|>Yes.<|end_of_solution|>",
            "Hm.",
            "Yes.",
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            "Hm.",
            "Yes.",
        ),
        ("<|channel|>analysis<|message|>Hm. It never ends.", "Hm. It never ends.", ""),
        ("analysisHm.assistantfinalYes.", "Hm.", "Yes."),
        ("analysisHm, cut of", "Hm, cut of", ""),
        ("analysis shows that it is so.", None, "analysis shows that it is so."),
        ("Here is my thought process:\nHm.\nHere is my response:\nYes.", "Hm.", "Yes."),  # Granite 3.2
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Hm.", "Yes."),  # Command A
        ("<think>Hm.</think>Well,\n<think>no.</think>yes.", "Hm.\nno.", "Well,\nyes."),
    ],
)
def test_split(text: str, thoughts: str | None, answer: str) -> None:
    assert split_reasoning(text) == (thoughts, answer)


def test_own_markers_and_unknown_ones(capsys: pytest.CaptureFixture[str]) -> None:
    text = "<deep_think>Hm.</deep_think>Yes."
    assert split_reasoning(text) == split_reasoning(text) == (None, text)
    assert capsys.readouterr().err.count("'<deep_think>' looks like an unknown thinking marker") == 1
    assert split_reasoning(text, ["<deep_think> </deep_think>"]) == ("Hm.", "Yes.")


@pytest.mark.parametrize(
    ("options", "rationale"), [([], "It is able to."), (["--reasoning", "rationale"], "Hm, it can.")]
)
def test_recorded_thoughts_are_dropped_or_the_rationale(tmp_path: Path, options: list[str], rationale: str) -> None:
    questions, recorded, out = tmp_path / "q.jsonl", tmp_path / "r.jsonl", tmp_path / "o.jsonl"
    question = {"id": "a", "question": "Can it?", "choices": ["yes", "no"], "answer": "yes"}
    questions.write_text(json.dumps(question) + "\n")
    said = "[THINK]Hm, it can.[/THINK]It is able to. So the answer is yes."
    recorded.write_text(json.dumps({"id": "a", "teacher": "t", "samples": [{"text": said}]}) + "\n")
    result = CliRunner().invoke(app, ["elicit", "--data", str(questions), "--teacher", f"recorded:{recorded}", *options,
                                      "-o", str(out)])  # fmt: skip
    assert result.exit_code == 0, result.output
    (found,) = json.loads(out.read_text())["rationales"]
    assert (found["text"], found["label"], found["correct"]) == (rationale, "keep", True)
