"""What `evaluate` writes besides its predictions: a page, tasks of the lm-eval harness, model cards."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import EvaluateConfig
from cotdistill.console import warn
from cotdistill.data.files import check_file, check_folder, write_text
from cotdistill.errors import DataError, OutputError, UsageError
from cotdistill.evaluation.inputs import Subject
from cotdistill.evaluation.results import Examined


def check_outputs(config: EvaluateConfig) -> None:
    """Fail now if an output could not be written later, or holds what is not ours to replace."""
    from cotdistill.report.page import may_replace

    if config.html is not None:
        check_file(config.html)
        if not config.overwrite and not may_replace(config.html):
            raise UsageError(
                f"--html {config.html} was not written by this command; choose another file, or "
                "replace it with --overwrite"
            )
    for folder in (config.export[1] if config.export else None, config.out):
        if folder is not None:
            check_folder(folder)


def check_export(config: EvaluateConfig, subject: Subject, sets: Sequence[str], examined: Sequence[Examined]) -> None:
    """Fail now if a subject's harness tasks would replace somebody else's files, or another subject's."""
    if config.export is None:
        return
    from cotdistill.export.lm_eval import refuse_foreign_tasks, task_name

    written = {task_name(set_name.subject, set_name.name): set_name.subject.name for set_name in examined}
    for name in (task_name(subject, set_name) for set_name in sets):
        if name in written:
            raise UsageError(
                f"--export {' '.join(map(str, config.export))}: {written[name]} and {subject.name} would both write "
                f"{name}; export them into two directories"
            )
        refuse_foreign_tasks(config.export[1], name, config.overwrite)


def write_outputs(config: EvaluateConfig, examined: Sequence[Examined]) -> None:
    """The page, the harness's tasks and the model cards, where they are asked for."""
    if config.html:
        from cotdistill.report.evaluation_page import page
        from cotdistill.report.questions import RunAnswers

        answered = [
            RunAnswers(result.subject.name, result.name, result.predictions, result.rationales, result.probed)
            for result in examined
        ]
        write_text(config.html, page([result.record for result in examined], answered))
    if config.export:
        from cotdistill.export.lm_eval import export_harness

        for result in examined:
            export_harness(config.export[1], config, result)
    if config.model_card:
        _renew_cards(examined)


def _renew_cards(examined: Sequence[Examined]) -> None:
    """The results in the model cards of runs. One that cannot be read or written stays as it is, and it is said."""
    from cotdistill.export.card_results import note_in_card

    runs = [one for one in examined if one.subject.model is not None and (one.subject.folder / "run.json").is_file()]
    for folder in dict.fromkeys(one.subject.folder for one in runs):
        try:
            records = [one.record for one in runs if one.subject.folder == folder]
            whole = [record for record in records if "think_budget" not in record]
            if whole:
                note_in_card(folder / "README.md", whole)
        except (DataError, OutputError) as error:
            warn(f"the results are not in the model card: {error}")
