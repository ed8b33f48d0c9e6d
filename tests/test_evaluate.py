"""`evaluate` end to end on a small student that was really trained: probes, resuming, pages, other tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cotdistill import evaluating
from cotdistill.config import DistillConfig, EvaluateConfig
from cotdistill.data.records import Example, Item
from cotdistill.distilling import distill_items
from cotdistill.errors import UsageError
from cotdistill.evaluating import evaluate
from cotdistill.strategies.registry import create
from tests.models import items, student

ROWS = items(8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of four strategies on eight rows, and the question rows."""
    folder = tmp_path_factory.mktemp("runs")
    student("gpt2", width=64).save(folder / "base")
    for name in ("cot", "cascod", "scott", "post-cot", "answer-only", "mt-cot"):
        config = DistillConfig(
            strategy=name,
            student=str(folder / "base"),
            steps=120,
            batch_size=8,
            lr=3e-3,
            out=folder / name,
            device="cpu",
        )
        distill_items(config, create(name), ROWS, str(write(folder / "rows.jsonl", ROWS)))
    write(folder / "asked.jsonl", [row.example() for row in ROWS])
    return folder


def write(path: Path, rows: list[Item] | list[Example]) -> Path:
    path.write_text("".join(row.line() + "\n" for row in rows))
    return path


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy to write predictions into."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def asked(runs: Path, *names: str, **options: Any) -> list[dict[str, Any]]:
    config = EvaluateConfig.build(None, data=options.pop("data", [str(runs / "asked.jsonl")]), device="cpu", **options)
    return list(evaluate(config, [str(runs / name) for name in names]))


def test_a_run_that_weighs_parts_is_evaluated(runs: Path) -> None:
    config = DistillConfig(student=str(runs / "base"), steps=1, batch_size=8, out=runs / "weighed", device="cpu")
    weighed = create("cot", {"weigh": "rationale@50-100=0+prompt=0.1"})
    distill_items(config, weighed, ROWS, str(runs / "rows.jsonl"))
    (found,) = asked(runs, "weighed")
    assert found["n"] == 8


def test_probes_of_a_trained_student(runs: Path) -> None:
    (found,) = asked(runs, "cot", probe=["all"], rationales=str(runs / "rows.jsonl"))
    probes = found["probes"]
    assert found["accuracy"] == 1.0
    assert probes["truncation-100"]["changed"]["estimate"] == 0.0
    assert probes["oracle"]["n"] == probes["counterfactual"]["n"] == 8
    assert probes["tag-swap"]["not_applicable"]
    assert "too few" in probes["las-tfidf"]["not_applicable"]
    for name, probe in probes.items():
        what = probe.get("headline")
        assert what is None or {"estimate", "interval", "floor", "floor_is"} <= set(probe[what]), name
    assert found["overlap"]["exact"] == 1.0
    stored = [json.loads(line) for line in (runs / "cot/predictions/asked.probes.jsonl").read_text().splitlines()[1:]]
    assert stored[0]["probes"]["truncation-0"]["given"] == ""
    assert stored[0]["probes"]["counterfactual"]["given"] == ROWS[0].rationales[1].text


def test_a_transformer_foresees_the_answers_for_las(runs: Path) -> None:
    """It starts from the student's own base model, which is loaded for it."""
    again = [row.example().model_copy(update={"id": f"{row.id}-{time}"}) for row in ROWS for time in range(5)]
    data = str(write(runs / "again.jsonl", again))
    (found,) = asked(runs, "cot", data=[data], probe=["las"], simulator=["transformer"])
    las = found["probes"]["las-transformer"]
    assert las["simulator"] == "transformer"
    assert las["n"] == 40
    assert -1 <= las["las"]["estimate"] <= 1


def test_a_probe_of_a_walk_equals_the_walk_alone(runs: Path) -> None:
    """Sharing a question's computation between its probes changes no answer."""
    (together,) = asked(runs, "scott", probe=["all"], rationales=str(runs / "rows.jsonl"))
    shutil.rmtree(runs / "scott/predictions")
    for name in ("swapped", "filler", "tag-swap"):
        (alone,) = asked(runs, "scott", probe=[name], rationales=str(runs / "rows.jsonl"), batch_size=1)
        assert alone["probes"][name] == together["probes"][name]


def test_scott_s_tag_is_swapped_alone_and_with_a_counterfactual_rationale(runs: Path) -> None:
    (found,) = asked(runs, "scott", probe=["tag-swap"], rationales=str(runs / "rows.jsonl"))
    assert found["probes"]["tag-swap-counterfactual"]["follows"]["estimate"] == 1.0  # it was trained to follow
    assert found["probes"]["tag-swap"]["headline"] == "changed"


def test_an_answer_before_the_rationale_is_not_applicable_never_zero(runs: Path) -> None:
    for name in ("post-cot", "answer-only"):
        (found,) = asked(runs, name, probe=["all"])
        for probe in ("oracle", "corrupt-0.5", "truncation", "swapped"):
            assert found["probes"][probe] == {"n": 0, "not_applicable": found["probes"][probe]["not_applicable"]}
    explained = json.loads((runs / "post-cot/predictions/asked.explanations.jsonl").read_text().splitlines()[1])
    assert explained["rationale"] == ROWS[0].rationales[0].text  # by the explain plan, after its own answer
    assert not (runs / "answer-only/predictions/asked.explanations.jsonl").exists()


def test_an_answer_with_reasoning_is_compared_with_the_one_without(runs: Path) -> None:
    (found,) = asked(runs, "mt-cot", probe=["consistency"])
    assert found["probes"]["consistency"]["agrees_without"]["estimate"] == 1.0  # both were learned by heart
    line = json.loads((runs / "mt-cot/predictions/asked.explanations.jsonl").read_text().splitlines()[1])
    assert line["rationale"] == ROWS[0].rationales[0].text
    assert line["reasoned"]["answer"] == ROWS[0].answer


@pytest.mark.parametrize("strategy", ["cot", "cascod"])
def test_rationales_of_many_lengths_in_one_batch_of_an_encoder_decoder(tmp_path: Path, strategy: str) -> None:
    """They stand in its decoder (cot) or its encoder (cascod); alone each gives the same answer."""
    student("t5", width=64).save(tmp_path / "base")
    write(tmp_path / "asked.jsonl", [row.example() for row in ROWS[:3]])
    source = str(write(tmp_path / "rows.jsonl", ROWS))
    config = DistillConfig(
        strategy=strategy,
        student=str(tmp_path / "base"),
        steps=60,
        batch_size=8,
        lr=1e-2,
        out=tmp_path / "run",
        device="cpu",
    )
    distill_items(config, create(strategy), ROWS, source)
    said = []
    for size in (16, 1):
        asked(
            tmp_path,
            "run",
            max_new_tokens=24,
            batch_size=size,
            rationales=source,
            probe=["oracle", "truncation", "swapped", "counterfactual"],
        )
        stored = (tmp_path / "run/predictions/asked.probes.jsonl").read_text().splitlines()[1:]
        said.append([json.loads(line)["probes"] for line in stored])
        shutil.rmtree(tmp_path / "run/predictions")
    assert said[0] == said[1]
    assert len({answer["output"] for probes in said[0] for answer in probes.values() if answer}) > 1


def test_figures_from_predictions_are_the_same_bytes_without_the_model(runs: Path) -> None:
    options = {"probe": ["all"], "samples": 2, "flip_rate": 1, "rationales": str(runs / "rows.jsonl")}
    first = json.dumps(asked(runs, "cot", "cascod", **options))
    for name in ("cot", "cascod"):
        shutil.rmtree(runs / name / "student")
    assert json.dumps(asked(runs, "cot", "cascod", **options, from_predictions=True)) == first
    with pytest.raises(Exception, match="missing"):
        asked(runs, "cot", from_predictions=True, score="choices")


def test_a_killed_evaluation_resumes_to_the_same_bytes(runs: Path) -> None:
    asked(runs, "cot", probe=["swapped"])
    predictions, probes = (runs / f"cot/predictions/asked{kind}.jsonl" for kind in ("", ".probes"))
    whole, text = predictions.read_bytes(), probes.read_text()
    predictions.write_bytes(whole[: len(whole) // 2])
    probes.write_text("".join(text.splitlines(keepends=True)[:4]))
    asked(runs, "cot", probe=["swapped"])
    assert predictions.read_bytes() == whole
    assert probes.read_text() == text


def test_a_later_call_adds_only_its_own_probes(runs: Path) -> None:
    asked(runs, "cot", probe=["filler"])
    before = (runs / "cot/predictions/asked.probes.jsonl").read_text()
    (found,) = asked(runs, "cot", probe=["filler", "swapped"])
    after = (runs / "cot/predictions/asked.probes.jsonl").read_text()
    assert after.startswith(before)
    assert {"filler", "swapped", "truncation-100"} == set(found["probes"])
    (again,) = asked(runs, "cot", probe=["filler"], from_predictions=True)
    assert set(again["probes"]) == {"filler", "truncation-100"}


def test_choices_walks_and_free_walks_do_not_overwrite_each_other(runs: Path) -> None:
    (walked,), (scored,), (free,) = (
        asked(runs, "cot", **options) for options in ({}, {"score": "choices"}, {"connectors": "free"})
    )
    assert walked["accuracy"] == scored["accuracy"] == free["accuracy"] == 1.0
    assert walked["calibration"]["n"] == 8
    names = {path.name for path in (runs / "cot/predictions").glob("*.jsonl")}
    assert {"asked.jsonl", "asked.choices.jsonl", "asked.free.jsonl"} <= names
    assert scored["forwarded_per_question"] > walked["forwarded_per_question"] / 2


def test_several_sets_are_told_apart_and_pooled(runs: Path) -> None:
    hard = [row.example().model_copy(update={"answer": row.rationales[1].answer, "task": "hard"}) for row in ROWS[:4]]
    write(runs / "hard.jsonl", hard)
    found = asked(runs, "cot", data=[f"easy={runs / 'asked.jsonl'}", str(runs / "hard.jsonl")])
    assert [(one["set"], one["domain"]) for one in found] == [("easy", "in"), ("hard", "out")]
    assert found[0]["domains"]["gap"]["estimate"] == 1.0
    with pytest.raises(UsageError, match="hard"):
        asked(runs, "cot", in_domain=["hurd"], data=[str(runs / "hard.jsonl")])
    with pytest.raises(UsageError, match="two sets are named asked"):
        asked(runs, "cot", data=[str(runs / "asked.jsonl")] * 2)


def test_samples_depend_on_the_question_not_on_the_batch(runs: Path) -> None:
    (large,) = asked(runs, "cot", samples=3, temperature=2.0)
    shutil.rmtree(runs / "cot/predictions")
    (small,) = asked(runs, "cot", samples=3, temperature=2.0, batch_size=2)
    assert small["sampled"] == large["sampled"]
    assert set(large["sampled"]["pass_at_k"]) == {"1", "2", "3"}


def test_a_plain_model_and_its_own_predictions_elsewhere(runs: Path, tmp_path: Path) -> None:
    (plain,) = asked(runs, "cot/student", strategy="cot", out=tmp_path / "plain")
    assert plain["accuracy"] == 1.0
    lines = [json.loads(line) for line in (tmp_path / "plain/predictions/asked.jsonl").read_text().splitlines()[1:]]
    made = tmp_path / "made.jsonl"
    made.write_text(
        "".join(
            json.dumps({"id": line["id"], "text": f"{line['rationale']} So the answer is {line['output']}."}) + "\n"
            for line in lines
        )
    )
    (elsewhere,) = list(evaluate(EvaluateConfig(data=(str(runs / "asked.jsonl"),), probe=("all",)), [str(made)]))
    assert elsewhere["accuracy"] == 1.0
    assert "cannot be asked again" in elsewhere["probes"]["oracle"]["not_applicable"]
    assert elsewhere["probes"]["consistency"]["n"] == 8


def test_the_page_is_whole_and_safe(runs: Path) -> None:
    evil = ROWS[0].example().model_copy(update={"question": "Is </script><script>alert(1)</script> <!-- kept?"})
    write(runs / "asked.jsonl", [evil, *(row.example() for row in ROWS[1:])])
    asked(runs, "cot", "answer-only", probe=["all"], html=runs / "page.html")
    page = (runs / "page.html").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "<script>alert(1)" not in page
    assert page.count("</script>") == 3  # the questions, what shows them, what copies tables
    data = json.loads(re.search(r'id="q-data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert data[0]["questions"][0]["question"] == evil.question
    assert set(data[0]["questions"][0]["runs"]) == {"cot", "answer-only"}
    assert data[0]["questions"][1]["runs"]["cot"]["probes"]["swapped"]["given"]
    for name in ("truncation-asked", "reliability-asked", "risk-coverage-asked"):
        assert f'id="figure-{name}"' in page


def test_the_model_card_keeps_what_it_says_and_replaces_its_own_results(runs: Path) -> None:
    card = runs / "cot/README.md"
    card.write_text(card.read_text().replace("## License", "## My notes\n\nkept\n\n## License"))
    before, section = card.read_text(), re.compile(r"<!-- results.*<!-- end of results -->", re.DOTALL)
    for _ in range(2):
        (record,) = asked(runs, "cot", probe=["swapped"])
    after = card.read_text()
    bodies = [section.sub("", text.split("---", 2)[2]).strip() for text in (before, after)]
    assert bodies[0] == bodies[1]
    low, high = record["interval"]
    assert f"| asked | accuracy | {record['accuracy']:.3f} | {low:.3f} to {high:.3f} | {record['n']} |" in after
    assert "| asked | accuracy" not in before
    assert "tags:\n- cotdistill" in after
    assert after.count("type: accuracy") == 1
    assert "swapped" in after


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cot", "post-cot", "cascod"])
def test_lm_eval_gives_the_same_accuracy(runs: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("lm_eval")
    wrong = [row.example().model_copy(update={"answer": row.rationales[1].answer}) for row in ROWS[:3]]
    write(runs / "asked.jsonl", [*wrong, *(row.example() for row in ROWS[3:])])
    (scored,) = asked(runs, name, score="choices", export=("lm-eval", tmp_path / "tasks"))
    (free,) = asked(runs, name, connectors="free")
    tasks = sorted(path.stem for path in (tmp_path / "tasks").glob("*.yaml"))
    assert len(tasks) == (1 if name == "cascod" else 2)  # two prompts cannot be one generation
    script = (
        "import json, sys, lm_eval\nfrom lm_eval.tasks import TaskManager\n"
        "tasks = TaskManager(include_path=sys.argv[2], include_defaults=False)\n"
        "found = lm_eval.simple_evaluate(model='hf', model_args=f'pretrained={sys.argv[1]},dtype=float32', "
        "tasks=sys.argv[3].split(','), task_manager=tasks, device='cpu', batch_size=4, bootstrap_iters=0)\n"
        "print(json.dumps({name: {k: float(v) for k, v in one.items() if k.split(',')[0] in "
        "('acc', 'acc_norm', 'exact_match')} for name, one in found['results'].items()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(runs / name / "student"), str(tmp_path / "tasks"), ",".join(tasks)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    choices = next(one for task, one in found.items() if task.endswith("-choices"))
    assert choices["acc,none"] == pytest.approx(scored["accuracy_by_likelihood"]["sum"])
    assert choices["acc_norm,none"] == pytest.approx(scored["accuracy_by_likelihood"]["character"])
    assert 0 < choices["acc,none"] < 1
    for task, one in found.items():
        if task.endswith("-walk"):
            assert one["exact_match,answer"] == pytest.approx(free["accuracy"])


def test_the_model_is_not_loaded_when_nothing_is_missing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(runs, "cot", probe=["all"])
    monkeypatch.setattr(evaluating, "_loaded", lambda *_: pytest.fail("the student was loaded"))
    asked(runs, "cot", probe=["all"])
