"""`cotdistill compare` as a user types it: every format, one set of figures; what cannot be compared is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotdistill.statistics.comparison import adjust, compare
from tests.in_process import Done, run
from tests.outcomes import written

A, B, C = written.drawn(60, 0.5, 0), written.drawn(60, 0.7, 1), written.drawn(60, 0.8, 2)
SAMPLES = "samples_sums_2026-01-02T03-04-05.678901.jsonl"
WRITERS: dict[str, Callable[[Path, list[int]], Path]] = {
    "lm-eval": lambda folder, one: written.lm_eval(folder / SAMPLES, one),
    "inspect json": lambda folder, one: written.inspect_json(folder / "log.json", [one]),
    "inspect eval": lambda folder, one: written.inspect_eval(folder / "log.eval", [one]),
    "JSON lines": lambda folder, one: written.rows(folder / "rows.jsonl", one),
    "CSV": lambda folder, one: written.table(folder / "rows.csv", one),
    "predictions": lambda folder, one: written.ours(folder / "predictions/sums.jsonl", one),
}


def compared(*args: str | Path) -> list[dict[str, Any]]:
    done = run("compare", *map(str, args))
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def refused(*args: str | Path, code: int) -> str:
    done = run("compare", *map(str, args))
    assert (done.code, done.out, len(done.errors)) == (code, "", 1), done.err
    return done.errors[0]


class TestFormats:
    @pytest.mark.parametrize("kind", WRITERS)
    def test_every_format_gives_the_figures_of_the_same_outcomes(self, kind: str, tmp_path: Path) -> None:
        files = []
        for name, outcomes in (("a", A), ("b", B)):
            (tmp_path / name).mkdir()
            files.append(WRITERS[kind](tmp_path / name, outcomes))
        (found,) = compared(f"base={files[0]}", f"other={files[1]}")
        expected = compare("other", "base", np.array([B]), np.array([A]), [str(at) for at in range(60)])
        assert {**expected.figures(), "p_holm": expected.p}.items() <= found.items()
        assert found["joined_by"] == "id"
        assert found["joined"] == 1.0

    def test_exact_p_is_statsmodels_mcnemar(self, tmp_path: Path) -> None:
        from statsmodels.stats.contingency_tables import mcnemar

        (found,) = compared(written.rows(tmp_path / "a.jsonl", A), written.inspect_eval(tmp_path / "b.eval", [B]))
        counts = [[sum((a, b) == (x, y) for a, b in zip(A, B, strict=True)) for y in (1, 0)] for x in (1, 0)]
        assert found["exact"] == {
            "test": "McNemar",
            "p": pytest.approx(mcnemar(counts, exact=True).pvalue),
            "p_holm": pytest.approx(found["exact"]["p"]),
        }
        assert found["paired"]["better"] == pytest.approx(counts[1][0] / 60)

    def test_clusters_are_statsmodels_cluster_robust_ones(self, tmp_path: Path) -> None:
        from statsmodels.api import OLS

        draw = np.random.default_rng(0)
        a, b = draw.random(60).round(2), draw.random(60).round(2)
        for name, values in (("a", a), ("b", b)):
            lines = [
                {"id": at, "score": value, "passage": written.passage(at)} for at, value in enumerate(values.tolist())
            ]
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (found,) = compared(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--cluster", "passage")
        groups = [at // 4 for at in range(60)]
        fit = OLS(b - a, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        assert found["interval"] == pytest.approx(list(fit.conf_int()[0]))
        assert found["p"] == pytest.approx(fit.pvalues[0])
        assert found["cluster"] == {"field": "passage", "clusters": 15}
        assert found["exact"]["test"] == "permutation"

    def test_files_of_a_side_and_epochs_of_a_file_are_seeds(self, tmp_path: Path) -> None:
        one, two = written.rows(tmp_path / "1.jsonl", B), written.table(tmp_path / "2.csv", C)
        log = written.inspect_json(tmp_path / "log.json", [A, C, B])
        (found,) = compared(f"seeds={one},{two}", f"epochs={log}")
        expected = compare("epochs", "seeds", [A, C, B], [B, C], [str(at) for at in range(60)])
        assert found["interval"] == [expected.difference.low, expected.difference.high]
        assert found["seeds"] == [3, 2]
        assert found["seed_se"] == expected.seed_se
        (found,) = compared(f"seeds={tmp_path}/[12].*", f"epochs={log}")
        assert found["seeds"] == [3, 2]

    def test_two_seeds_too_far_apart_could_show_no_difference(self, tmp_path: Path) -> None:
        first = written.inspect_json(tmp_path / "first.json", [A, B])
        second = written.inspect_json(tmp_path / "second.json", [[1] * 60, [0] * 60])
        (found,) = compared(first, second, "--html", tmp_path / "page.html", "--out", tmp_path / "out")
        assert found["detectable"] is None
        assert "no difference, however large, would have been seen" in found["sentence"]
        page = (tmp_path / "page.html").read_text()
        assert "Whether second really differs from the baseline: any difference would have been missed." in page
        assert " & -- " in (tmp_path / "out" / "tables" / "comparisons.tex").read_text()

    def test_three_sides_are_one_family(self, tmp_path: Path) -> None:
        files = [written.rows(tmp_path / f"{name}.jsonl", one) for name, one in (("a", A), ("b", B), ("c", C))]
        found = compared(*files)
        expected = adjust(
            [compare(name, "a", [one], [A], [str(at) for at in range(60)]) for name, one in (("b", B), ("c", C))]
        )
        assert [(one["name"], one["p_holm"]) for one in found] == [(one.name, one.p_holm) for one in expected]
        assert [one["detectable"] for one in found] == [one.mde for one in expected]
        pairs = compared(*files, "--all-pairs")
        assert [(one["name"], one["baseline"]) for one in pairs] == [("b", "a"), ("c", "a"), ("c", "b")]
        assert compared(*files, "--baseline", "c")[0]["baseline"] == "c"

    def test_tasks_have_rows_of_their_own(self, tmp_path: Path) -> None:
        for side, first, second in (("x", A, B), ("y", B, C)):
            written.lm_eval(tmp_path / side / "m" / SAMPLES, first)
            written.lm_eval(tmp_path / side / "m" / SAMPLES.replace("sums", "gsm8k_cot"), second)
        found = compared(tmp_path / "x", tmp_path / "y")
        assert [one["task"] for one in found] == [None, "gsm8k_cot", "sums"]
        assert [one["items"] for one in found] == [120, 60, 60]
        assert [one["family"] for one in found] == [1, 2, 2]
        assert found[2]["difference"] == pytest.approx(np.mean(B) - np.mean(A))

    def test_a_run_directory_is_read(self, tmp_path: Path) -> None:
        written.ours(tmp_path / "run/predictions/sums.jsonl", A)
        (tmp_path / "run/run.json").write_text("{}")
        (tmp_path / "run/predictions/sums.timings.jsonl").write_text('{"seconds": 1}\n')
        (found,) = compared(tmp_path / "run", written.rows(tmp_path / "b.jsonl", B))
        assert found["baseline_mean"] == pytest.approx(np.mean(A))

    def test_predictions_are_judged_with_gold_answers(self, tmp_path: Path) -> None:
        gold = tmp_path / "gold.jsonl"
        gold.write_text(
            "".join(
                json.dumps({"id": f"{at}", "question": written.question(at), "answer": f"{2 * at}"}) + "\n"
                for at in range(60)
            )
        )
        bare = tmp_path / "bare.jsonl"
        bare.write_text(
            "".join(
                json.dumps({"id": f"{at}", "prediction": f"So the answer is {2 * at + 1 - one}."}) + "\n"
                for at, one in enumerate(A)
            )
        )
        (found,) = compared(bare, written.rows(tmp_path / "b.jsonl", A), "--data", gold)
        assert found["difference"] == 0.0
        assert found["baseline_mean"] == pytest.approx(np.mean(A))
        assert "gold answer" in refused(bare, tmp_path / "b.jsonl", code=3)

    def test_another_metric_and_filter(self, tmp_path: Path) -> None:
        one = written.lm_eval(tmp_path / "a.jsonl", A, filters=("strict", "flexible"))
        two = written.lm_eval(tmp_path / "b.jsonl", B)
        assert "--filter strict or flexible" in refused(one, two, code=2)
        (found,) = compared(one, two, "--filter", "strict")
        assert found["baseline_mean"] == pytest.approx(np.mean(A))
        (found,) = compared(one, two, "--filter", "flexible", "--metric", "other")
        assert found["mean"] == 0.25
        assert "did you mean" in refused(one, two, "--filter", "strict", "--metric", "othr", code=2)


class TestJoining:
    def test_ids_that_differ_are_joined_by_question(self, tmp_path: Path) -> None:
        one = written.inspect_json(tmp_path / "a.json", [A])
        lines = [
            {"id": f"other-{at}", "question": f" {written.question(at)}\n", "correct": value}
            for at, value in reversed(list(enumerate(B)))
        ]
        two = tmp_path / "b.jsonl"
        two.write_text("".join(json.dumps(line) + "\n" for line in lines))
        (found,) = compared(one, two)
        assert (found["joined_by"], found["items"]) == ("question", 60)
        assert found["difference"] == pytest.approx(np.mean(B) - np.mean(A))

    def test_ids_of_other_questions_are_never_joined(self, tmp_path: Path) -> None:
        one = written.rows(tmp_path / "a.jsonl", A)
        shifted = [{"id": at, "question": written.question(at + 1), "correct": value} for at, value in enumerate(B)]
        two = tmp_path / "b.jsonl"
        two.write_text("".join(json.dumps(line) + "\n" for line in shifted))
        (found,) = compared(one, two)  # 59 of 60 questions are the same, each under another id
        assert (found["joined_by"], found["items"]) == ("question", 59)
        assert found["difference"] == pytest.approx(np.mean(B[:-1]) - np.mean(A[1:]))
        other = [{"id": at, "question": f"Why {at}?", "correct": value} for at, value in enumerate(B)]
        two.write_text("".join(json.dumps(line) + "\n" for line in other))
        assert "another question on each side" in refused(one, two, code=3)
        assert compared(one, two, "--join", "id")[0]["items"] == 60

    def test_what_does_not_join_is_listed_and_too_little_refused(self, tmp_path: Path) -> None:
        one, two = written.rows(tmp_path / "a.jsonl", A), written.rows(tmp_path / "b.jsonl", B[:50])
        assert "only 50 items (83% of the larger side)" in refused(one, two, code=3)
        done = run("compare", str(one), str(two), "--min-join", "0.8")
        found = json.loads(done.out)
        assert found["unjoined"] == {"b": [], "a": [str(at) for at in range(50, 60)]}
        assert "10 items of a do not join: 50, 51, 52 and 7 more" in done.err

    def test_mixed_tasks_are_refused(self, tmp_path: Path) -> None:
        one = written.rows(tmp_path / "a.jsonl", A, task="arc")
        other = [{"id": at, "task": "sums", "correct": value} for at, value in enumerate(B)]
        (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in other))
        assert "mixed tasks, sums against arc" in refused(one, tmp_path / "b.jsonl", code=3)

    def test_an_id_twice_is_refused_with_both_lines(self, tmp_path: Path) -> None:
        one = written.rows(tmp_path / "a.jsonl", A)
        one.write_text(one.read_text() + one.read_text().splitlines()[4] + "\n")
        assert f"{one}:61: duplicate id '4', first in {one}:5" in refused(one, one.with_name("b.jsonl"), code=3)


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "code", "what"),
        [
            ('{"id": 1}\n', 3, "1: no outcome and no prediction"),
            ('{"id": 1, "correct": "maybe"}\n', 3, "1: correct is 'maybe', no outcome"),
            ('{"correct": true}\n', 3, "1: neither an id nor a question"),
            ("", 3, "holds no rows"),
            ('{"eval": {}, "status": "success", "samples": []}\n', 3, "holds no samples"),
            ("nonsense\n", 3, "malformed JSON"),
        ],
    )
    def test_files_without_outcomes(self, content: str, code: int, what: str, tmp_path: Path) -> None:
        bad = tmp_path / "bad.jsonl"
        bad.write_text(content)
        assert what in refused(bad, written.rows(tmp_path / "b.jsonl", B), code=code)

    def test_a_damaged_archive(self, tmp_path: Path) -> None:
        log = written.inspect_eval(tmp_path / "a.eval", [A])
        content = bytearray(log.read_bytes())
        content[len(content) // 4] ^= 0xFF
        log.write_bytes(content)
        assert "damaged archive" in refused(log, written.rows(tmp_path / "b.jsonl", B), code=3)

    def test_sides(self, tmp_path: Path) -> None:
        one = written.rows(tmp_path / "a.jsonl", A)
        assert "two sides or more" in refused(one, code=2)
        assert "twice" in refused(f"x={one},{one}", one, code=2)
        assert "two sides are called 'x'" in refused(f"x={one}", f"x={one}", code=2)
        assert "no such file" in refused(one, tmp_path / "missing.jsonl", code=3)
        assert "has no such field; there are" in refused(f"x={one}", f"y={one}", "--cluster", "chapter", code=2)
        assert "--baseline z" in refused(f"x={one}", f"y={one}", "--baseline", "z", code=2)


class TestOutputs:
    def test_page_and_directory(self, tmp_path: Path) -> None:
        one, two = written.rows(tmp_path / "a.jsonl", A), written.rows(tmp_path / "<b>.jsonl", B)
        (found,) = compared(one, two, "--html", tmp_path / "page.html", "-o", tmp_path / "out")
        page = (tmp_path / "page.html").read_text()
        assert "&lt;b&gt; is" in page
        assert "<b>" not in page
        assert page.count("<svg") == 2
        assert [json.loads(line) for line in (tmp_path / "out/comparisons.jsonl").open()] == [found]
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
        compared(one, two, "-o", tmp_path / "out")
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before

    def test_a_strangers_page_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "page.html").write_text("mine")
        one = written.rows(tmp_path / "a.jsonl", A)
        assert "--overwrite" in refused(f"x={one}", f"y={one}", "--html", tmp_path / "page.html", code=2)

    @pytest.mark.parametrize("other", ["ablation.json", "notes.txt"])
    def test_a_directory_of_others_is_kept(self, other: str, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        for name in (other, "comparisons.jsonl"):
            (tmp_path / "out" / name).write_text("mine")
        one, two = written.rows(tmp_path / "a.jsonl", A), written.rows(tmp_path / "b.jsonl", B)
        assert f"such as {other!r}; choose another --out" in refused(one, two, "-o", tmp_path / "out", code=2)
        assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"mine"}
        compared(one, two, "-o", tmp_path / "out", "--overwrite")
        assert (tmp_path / "out" / other).read_text() == "mine"

    def test_a_table_for_people(self, tmp_path: Path) -> None:
        done: Done = run("compare", *(str(written.rows(tmp_path / f"{n}.jsonl", o)) for n, o in (("a", A), ("b", B))))
        assert "exact p (Holm)" in done.err
        assert "points" in done.err
