"""What a student writes into its strategy's forms while it learns: the samples of on-policy training.

Each learned form is walked by itself, as at inference: its learned slots are sampled from the student (temperature 1,
its own distribution), the others are given what an earlier form has said, else what the rows say. The forms filled so
become token trees by the same encoder as rows. A slot that the student ended by itself keeps its token ids; one that
ran into the next connector is tokenised anew up to it, as a walk reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cotdistill.data.records import Question, RationaleKind
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.sampling import Sampling
from cotdistill.decoding.walk import WalkSession
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Form, Part, Slot, SlotValue, Strategy
from cotdistill.students.encode import Encoder, FormSequence, merge
from cotdistill.students.student import Student
from cotdistill.training.on_policy import OnPolicy, Written, teacher_of
from cotdistill.training.training_set import TrainingRows, TrainingSet

AT_ONCE = 64  # texts decoded together: as many as a large step has, and no more than a small GPU holds

Given = Mapping[RationaleKind, tuple[Question, Mapping[Slot, SlotValue]]]  # what the rows say of one sample


def on_policy(rows: TrainingRows, learned: TrainingSet) -> OnPolicy | None:
    """What a run with `--on-policy` does at each step; its teacher is loaded. `learned`: of these rows."""
    config, student = rows.config, rows.student
    if config.on_policy is None:
        return None
    teacher = teacher_of(config)
    limits = (config.max_length, student.context, None if teacher is None else teacher.context)
    encoder = student.encoder(config.answers, min((limit for limit in limits if limit), default=None), "chain")
    write = OwnWords(
        encoder,
        rows.strategy,
        learned.data.ids,
        rows.slots(learned),
        config.seed,
        config.on_policy_tokens,
        config.on_policy_signal == "constant",
    )
    return OnPolicy(config, write, teacher, max(student.tokens.tokenizer.get_vocab().values()) + 1)


@dataclass
class _Draft:
    """One example while it is written: slots known so far by kind of rationale."""

    place: int
    sample: int
    slots: dict[RationaleKind, dict[Slot, SlotValue]]
    sequences: list[FormSequence] = field(default_factory=list)
    tokens: int = 0
    finished: bool = True
    fits: bool = True


@dataclass(frozen=True)
class OwnWords:
    """The student's texts in all learned forms of a strategy, see `training.on_policy.Write`. `ids` and `given`: of the
    samples. `sampled_only`: no connector is learned, and no end that the student did not write."""

    encoder: Encoder
    strategy: Strategy
    ids: Sequence[str]
    given: Sequence[Given]
    seed: int
    max_new_tokens: int
    sampled_only: bool = False

    def __call__(self, student: Student, step: int, wanted: Sequence[tuple[int, int]]) -> list[Written | None]:
        """The samples `wanted`, (place in the step, sample), as the student writes them now."""
        drafts = [
            _Draft(place, sample, {kind: dict(slots) for kind, (_, slots) in self.given[sample].items()})
            for place, sample in wanted
        ]
        for at, form in self._in_order():
            self._write(student, step, at, form, drafts)
        return [self._written(draft) for draft in drafts]

    def _in_order(self) -> list[tuple[int, Form]]:
        """The learned forms with their numbers, those that are walked for the answer first."""
        walked = [*self.strategy.plan, *(self.strategy.explain or ())]
        forms = list(enumerate(self.strategy.learned_forms()))
        return sorted(forms, key=lambda one: walked.index(one[1].name) if one[1].name in walked else len(walked))

    def _write(self, student: Student, step: int, at: int, form: Form, drafts: Sequence[_Draft]) -> None:
        """One form of all drafts. Its learned slots are the student's to fill, whatever was there."""
        own = {part.slot for part in form.target if part.slot is not None and part.weight != 0}
        sessions = []
        for draft in drafts:
            known = {slot: value for slot, value in draft.slots[form.kind].items() if slot not in own}
            example = self.given[draft.sample][form.kind][0]
            session = WalkSession(self.encoder, [form], example, known, "all", "forced", self.max_new_tokens)
            session.random = rng(self.seed, "on-policy", step, self.ids[draft.sample], draft.place, form.name)
            sessions.append(session)
        running = [session for session in sessions if session.begin()]
        if running:
            decoder_for(student, Sampling(), AT_ONCE).run(running)
        for draft, session in zip(drafts, sessions, strict=True):
            draft.tokens += session.generated
            draft.finished &= session.finished
            if not own <= set(session.slots):  # no room for all of it
                draft.fits = False
                continue
            draft.slots[form.kind].update(session.slots)
            scored = self._scored(form, session.finished)
            draft.sequences.append(self.encoder.sequence(at, scored, session.example, session.slots))

    def _scored(self, form: Form, finished: bool) -> Form:
        """The form as it is learned: its prompt is not the student's."""
        if not self.sampled_only:
            return replace(form, source_weight=0.0)
        target = tuple(part if part.slot is not None else _given(part) for part in form.target)
        return replace(form, source_weight=0.0, target=target, eos=form.eos and finished)

    def _written(self, draft: _Draft) -> Written | None:
        sequences = [sequence for sequence in draft.sequences if sequence.targets]
        if not (draft.fits and sequences) or any(self.encoder.too_long(sequence.ids) for sequence in sequences):
            return None
        return Written(merge(sequences, "chain"), draft.tokens, draft.finished)


def _given(part: Part) -> Part:
    return replace(part, weight=0.0)
