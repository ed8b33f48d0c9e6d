"""Files written by lm-eval and inspect_ai themselves: the figures of the outcomes that were planted in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from cotdistill.statistics.comparison import compare
from tests.in_process import run
from tests.models import student
from tests.outcomes.written import drawn, passage, question

TASK = """task: sums
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list:
  - metric: acc
"""
A, B = drawn(24, 0.5, 0), drawn(24, 0.8, 1)


def figures(one: Path, two: Path, *more: str) -> dict[str, Any]:
    done = run("compare", f"base={one}", f"other={two}", *more)
    assert done.code == 0, done.err
    return json.loads(done.out)  # type: ignore[no-any-return]


def expected(a: list[list[int]], b: list[list[int]], clusters: list[str] | None = None) -> dict[str, Any]:
    found = compare(
        "other", "base", np.array(b), np.array(a), [str(at) for at in range(24)], clusters=clusters
    ).figures()
    return {name: found[name] for name in ("mean", "baseline_mean", "difference", "interval", "p", "mcnemar")}


class TestLmEval:
    def test_samples_that_it_logs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra peers)")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        rows = [{"question": question(at), "answer": str(2 * at), "passage": passage(at)} for at in range(24)]
        data = tmp_path / "data.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name, outcomes in (("one", A), ("two", B)):
            self.evaluate(data, outcomes, tmp_path / name)
        found = figures(tmp_path / "one", tmp_path / "two", "--filter", "strict")
        assert expected([A], [B]).items() <= found.items()
        clustered = figures(tmp_path / "one", tmp_path / "two", "--filter", "strict", "--cluster", "passage")
        assert clustered["interval"] == expected([A], [B], [passage(at) for at in range(24)])["interval"]

    def test_two_models_from_its_own_command_line(self, tmp_path: Path) -> None:
        pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra peers)")
        rows = [{"question": question(at), "choices": [str(2 * at), str(at + 7)], "gold": 0} for at in range(24)]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "sums.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
        for name, layers in (("one", 1), ("two", 3)):
            model = student("gpt2", layers=layers, seed=layers)
            model.model.save_pretrained(tmp_path / name)
            model.tokenizer.save_pretrained(tmp_path / name)
            asked = ["--model", "hf", "--model_args", f"pretrained={tmp_path / name}", "--tasks", "sums"]
            where = ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out" / name)]
            command = [sys.executable, "-m", "lm_eval", "run", *asked, *where, "--log_samples", "--device", "cpu"]
            done = subprocess.run(
                command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=400
            )
            assert done.returncode == 0, done.stderr[-2000:]
        found = figures(tmp_path / "out" / "one", tmp_path / "out" / "two", "--metric", "acc")
        a, b = (self.logged(tmp_path / "out" / name) for name in ("one", "two"))
        assert expected([a], [b]).items() <= found.items()
        table = [[sum(x == i and y == j for x, y in zip(a, b, strict=True)) for j in (1, 0)] for i in (1, 0)]
        assert found["exact"]["p"] == pytest.approx(mcnemar(table, exact=True).pvalue)

    @staticmethod
    def logged(out: Path) -> list[int]:
        (file,) = out.rglob("samples_sums_*.jsonl")
        lines = sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda line: line["doc_id"])
        return [int(line["acc"]) for line in lines]

    @staticmethod
    def evaluate(data: Path, outcomes: list[int], out: Path) -> None:
        from lm_eval import simple_evaluate
        from lm_eval.api.model import LM
        from lm_eval.loggers import EvaluationTracker

        said = {question(at): str(2 * at) if hit else "none" for at, hit in enumerate(outcomes)}

        class Canned(LM):  # type: ignore[misc]
            """Says what was planted; the harness formats, extracts, scores and writes."""

            def generate_until(self, requests: list[Any]) -> list[str]:
                return [said[request.args[0]] for request in requests]

            def loglikelihood(self, requests: list[Any]) -> Any:
                raise NotImplementedError

            loglikelihood_rolling = loglikelihood

        take = {"function": "take_first"}
        task = {
            "task": "sums",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "doc_to_text": "{{question}}",
            "output_type": "generate_until",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n"], "do_sample": False},
            "filter_list": [
                {"name": "strict", "filter": [take]},
                {"name": "lower", "filter": [{"function": "lowercase"}, take]},
            ],
            "metric_list": [{"metric": "exact_match"}],
            "metadata": {"version": 1},
        }
        results = simple_evaluate(model=Canned(), tasks=[task], log_samples=True, bootstrap_iters=0)
        samples = results.pop("samples")
        tracker = EvaluationTracker(output_path=str(out))
        tracker.save_results_aggregated(results=results, samples=samples)
        for name, lines in samples.items():
            tracker.save_results_samples(task_name=name, samples=lines)


class TestInspect:
    @pytest.mark.parametrize("kind", ["eval", "json"])
    def test_logs_that_it_writes(self, kind: str, tmp_path: Path) -> None:
        pytest.importorskip("inspect_ai", reason="inspect_ai is not installed (extra peers)")
        one, two = self.evaluate([A], tmp_path / "one", kind), self.evaluate([B, A], tmp_path / "two", kind)
        found = figures(one, two, "--metric", "exact")
        assert expected([A], [B, A]).items() <= found.items()
        assert found["seeds"] == [2, 1]
        clustered = figures(one, two, "--cluster", "passage")
        assert clustered["interval"] == expected([A], [B, A], [passage(at) for at in range(24)])["interval"]

    @staticmethod
    def evaluate(outcomes: list[list[int]], folder: Path, kind: str) -> Path:
        from inspect_ai import Task
        from inspect_ai import eval as evaluate
        from inspect_ai.dataset import MemoryDataset, Sample
        from inspect_ai.model import ModelOutput
        from inspect_ai.scorer import exact, match
        from inspect_ai.solver import solver

        @solver  # type: ignore[untyped-decorator]
        def canned() -> Any:
            async def solve(state: Any, generate: Any) -> Any:
                hit = outcomes[state.epoch - 1][int(state.sample_id)]
                state.output = ModelOutput.from_content("canned", str(2 * int(state.sample_id)) if hit else "none")
                return state

            return solve

        samples = [
            Sample(id=str(at), input=question(at), target=str(2 * at), metadata={"passage": passage(at)})
            for at in range(24)
        ]
        task = Task(
            dataset=MemoryDataset(samples),
            solver=canned(),
            scorer=[match(), exact()],
            epochs=len(outcomes),
            name="sums",
        )
        (log,) = evaluate(task, model="mockllm/model", log_dir=str(folder), log_format=kind, display="none")
        assert log.status == "success"
        return Path(str(log.location))
