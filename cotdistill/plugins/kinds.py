"""The kinds of things that can come from outside: a registry and a decorator of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cotdistill.errors import UsageError
from cotdistill.plugins.checkers import Checker, RationaleCheck
from cotdistill.plugins.data_sets import DataSet, RowsOfSplit
from cotdistill.plugins.guard import guarded_call, plugin_code
from cotdistill.plugins.registry import Registry, origin_of

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Checker])

PAPERS = ("baselines", "multi_task", "scott", "cascod", "post_cot", "edit_krsl", "icot", "backward")
WORLD = ("cotdistill.demo.plugin",)  # the embedded world, which registers as a plug-in does

# What a kind's functions must be is said where they are called: `strategies.registry`, `data.tasks`, ...
STRATEGIES = Registry[Callable[..., Any]](
    "strategy", "cotdistill.strategies", [f"cotdistill.strategies.{paper}" for paper in PAPERS]
)
REWRITES = Registry[Callable[..., Any]](
    "rewrite", "cotdistill.rewrites", [f"cotdistill.strategies.{room}" for room in ("rewrites", "icot", "backward")]
)
TEACHERS = Registry[Callable[..., Any]](
    "teacher", "cotdistill.teachers", reserved=("demo", "rows", "openai", "recorded")
)
DIVERGENCES = Registry[Callable[..., Any]]("divergence", "cotdistill.divergences", reserved=("kl", "reverse-kl", "jsd"))
DATA = Registry[DataSet]("data set", "cotdistill.data", WORLD, reserved=("hf",))
CHECKERS = Registry[Checker]("checker", "cotdistill.checkers", WORLD)
PROBES = Registry[Callable[..., Any]](
    "probe",
    "cotdistill.probes",
    reserved=(
        "all",
        "oracle",
        "corrupt",
        "permuted",
        "swapped",
        "truncation",
        "filler",
        "counterfactual",
        "tag-swap",
        "mistake",
        "paraphrase",
        "consistency",
        "mentions-cue",
        "las",
    ),
)
EXTRACTORS = Registry[Callable[..., Any]]("extractor", "cotdistill.extractors", reserved=("answers", "math-verify"))
TRACKERS = Registry[Callable[..., Any]](
    "tracker", "cotdistill.trackers", reserved=("trackio", "wandb", "tensorboard", "mlflow")
)


def _decorator(registry: Registry[Callable[..., Any]]) -> Callable[[str], Callable[[F], F]]:
    def named(name: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            if inspect.isclass(function) or not callable(function):
                raise UsageError(f"{origin_of(function)}: the {registry.kind} {name!r} is not a function")
            registry.register(name, function, function)
            return function

        return register

    return named


def strategy(name: str) -> Callable[[F], F]:
    """Register a factory of a `Strategy`; its keyword arguments are the strategy's parameters."""
    return _decorator(STRATEGIES)(name)


def rewrite(name: str) -> Callable[[F], F]:
    """Register a factory of a `Rewrite` for `--rewrite NAME:VALUE` (see `strategies.rewrites`)."""
    return _decorator(REWRITES)(name)


def divergence(name: str) -> Callable[[F], F]:
    """Register a factory of `(teacher, student) -> divergence [n]` for `--kd NAME:VALUE` (see `training.kd`)."""
    return _decorator(DIVERGENCES)(name)


def teacher(name: str) -> Callable[[F], F]:
    """Register `(config: ElicitConfig) -> Teacher` for `--teacher NAME` or `--teacher NAME:MODEL`."""
    return _decorator(TEACHERS)(name)


def probe(name: str) -> Callable[[F], F]:
    """Register `(case: Case) -> Intervention | None` for `--probe NAME` (see `evaluation.probes`)."""
    return _decorator(PROBES)(name)


def extractor(name: str) -> Callable[[F], F]:
    """Register `(output, choices, kind) -> answer | None` for `--extractor NAME` (see `answers.judging`)."""
    return _decorator(EXTRACTORS)(name)


def tracker(name: str) -> Callable[[F], F]:
    """Register `(folder: Path) -> accelerate.tracking.GeneralTracker` for `--track NAME`."""
    return _decorator(TRACKERS)(name)


def data_set(
    name: str,
    *,
    evaluated: Sequence[str],
    train: str = "train",
    dev: str | None = None,
    shifted: Sequence[str] = (),
    teacher: str | None = None,
) -> Callable[[RowsOfSplit], RowsOfSplit]:
    """Register `(split, seed) -> rows` for `--data NAME`; what the arguments mean is said at `DataSet`."""

    def register(rows: RowsOfSplit) -> RowsOfSplit:
        DATA.register(name, DataSet(rows, tuple(evaluated), train, dev, tuple(shifted), teacher), rows)
        return rows

    return register


def checker(name: str) -> Callable[[C], C]:
    """Register a `Checker`, made once without arguments."""

    def register(kind: C) -> C:
        if not (inspect.isclass(kind) and issubclass(kind, Checker)):
            raise UsageError(f"{origin_of(kind)}: the checker {name!r} is not a subclass of Checker")
        CHECKERS.register(name, kind(), kind)
        return kind

    return register


def checker_of(question: str) -> Checker | None:
    """The checker of the task that a question belongs to; None where nobody can check it."""
    for entry in CHECKERS.entries():
        if entry.value is None:
            continue
        found = (
            entry.value if entry.code is None else _Guarded(entry.value, f"checker {entry.name!r} of {entry.origin}")
        )
        if found.knows(question):
            return found
    return None


def check(question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
    """The verdict on a rationale; None where nobody can check the question ("not applicable")."""
    found = checker_of(question)
    return None if found is None else found.check(question, choices, rationale)


class _Guarded(Checker):
    """A plug-in's checker: what it raises or returns wrongly is one line that names it."""

    def __init__(self, own: Checker, where: str) -> None:
        self.own, self.where, self.prompts_bare = own, where, own.prompts_bare

    def check(self, question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
        with plugin_code(self.where):
            found = self.own.check(question, choices, rationale)
        if found is not None and not isinstance(found, RationaleCheck):
            raise UsageError(f"{self.where}: check returned {found!r:.80}, not RationaleCheck or None")
        return found

    def knows(self, question: str) -> bool:
        return guarded_call(self.own.knows, self.where)(question)

    def argue(self, question: str, answer: str, seed: int = 0) -> str | None:
        return guarded_call(self.own.argue, self.where)(question, answer, seed)

    def cue(self, question: str) -> str | None:
        return guarded_call(self.own.cue, self.where)(question)

    def acknowledges(self, question: str, rationale: str) -> bool | None:
        return guarded_call(self.own.acknowledges, self.where)(question, rationale)

    def paraphrase(self, question: str, rationale: str, seed: int = 0) -> str | None:
        other: object = guarded_call(self.own.paraphrase, self.where)(question, rationale, seed)
        if other is not None and not isinstance(other, str):
            raise UsageError(f"{self.where}: paraphrase returned {other!r:.80}, not a text or None")
        return other

    def card(self) -> Mapping[str, Any] | None:
        return guarded_call(self.own.card, self.where)()
