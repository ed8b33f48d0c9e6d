"""On-policy training against TRL, where it is installed: its loss and gradient on the texts that our student wrote."""

from __future__ import annotations

import pytest

from tests.benchmarks.on_policy import SAME, distances, main, opinionated
from tests.benchmarks.workload import llama


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_loss_and_gradient_are_trls() -> None:
    pytest.importorskip("trl", reason="trl is not installed (extra peers)")
    pupil, teacher = opinionated(llama(64, 1)), opinionated(llama(64, 2, seed=1))
    assert max(distances(pupil, teacher, "jsd:0.3", batch_size=2, on_policy_tokens=8)) < SAME


def test_without_trl_the_benchmark_says_why_it_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["on_policy"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main()
    assert capsys.readouterr().out == "on_policy: skipped, TRL is not installed (the extra `peers`)\n"
