"""What `evaluate` writes beside its predictions: a page, tasks of the lm-eval harness, model cards."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import EvaluateConfig
from cotdistill.data.files import check_file, check_folder, write_text
from cotdistill.errors import UsageError
from cotdistill.evaluation.examination import Examined


def check_outputs(config: EvaluateConfig) -> None:
    """Complain now about an output that could not be written later, or that holds what is not ours to replace."""
    from cotdistill.report.page import may_replace

    if config.html is not None:
        check_file(config.html)
        if not config.overwrite and not may_replace(config.html):
            raise UsageError(f"--html {config.html} holds something this command did not write; name another file, or "
                             "replace it with --overwrite")
    for folder in (config.export[1] if config.export else None, config.out):
        if folder is not None:
            check_folder(folder)


def write_outputs(config: EvaluateConfig, examined: Sequence[Examined]) -> None:
    """The page, the harness's tasks and the model cards, where they are asked for."""
    if config.html:
        from cotdistill.report.evaluation import page
        from cotdistill.report.questions import Answered

        said = [
            Answered(one.subject.name, one.name, one.predictions, one.rationales, one.probed)
            for one in examined
        ]
        write_text(config.html, page([one.record for one in examined], said))
    if config.export:
        from cotdistill.report.harness import export_harness

        for one in examined:
            export_harness(config.export[1], config, one)
    if config.model_card:
        from cotdistill.report.metadata import note_in_card

        for folder in dict.fromkeys(one.subject.folder for one in examined):
            records = [one.record for one in examined if one.subject.folder == folder]
            note_in_card(folder / "README.md", records)
