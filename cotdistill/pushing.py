"""`cotdistill push`: a run's student, its model card and its run card, as one commit of a model repository of the hub.

The student's files are at the top, where every library looks for them; kept adapters are in `adapter/`. `predict` and
`evaluate` take a downloaded repository for the run it is. Checkpoints, logs, predictions and rows are never sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cotdistill.config import PushConfig
from cotdistill.console import console, say, warn
from cotdistill.data.runcard import read_card
from cotdistill.errors import CotdistillError, Unavailable, UsageError
from cotdistill.escaping import one_line
from cotdistill.evaluation.inputs import Subject, kept_student, student_of
from cotdistill.export.manual import named
from cotdistill.redaction import hide
from cotdistill.students.model_files import adapter_base, check_model_folder, is_adapter

CARD, README, ADAPTER = "run.json", "README.md", "adapter"
LONGEST = 300  # characters of what the hub says


def push(config: PushConfig, run: str, dry_run: bool = False) -> dict[str, Any]:
    """Send a run to the hub; the object that `push` prints.

    Raises `UsageError` for a name that the hub does not take, or a public repository without --public;
    `Unavailable` where the student was not kept, there is no token, or the hub refuses. All of that is found before
    the first file is sent.
    """
    repo = _repo(config)
    files = files_of(Path(run))
    listed = [{"file": name, "bytes": path.stat().st_size} for name, path in files.items()]
    described = {
        "repo": repo,
        "revision": config.revision or "main",
        "private": not config.public,
        "files": listed,
        "bytes": sum(path.stat().st_size for path in files.values()),
    }
    for line in listed:
        say(f"{line['file']}: {line['bytes']:,} bytes")
    if dry_run:
        say(f"would push {described['bytes']:,} bytes to {repo}, {_seen(config.public)}")
        return described
    return {**described, **_sent(config, repo, files)}


def files_of(run: Path) -> dict[str, Path]:
    """{name in the repository: file} of a run. Raises `DataError` for no run, `Unavailable` without a student."""
    card = read_card(run)
    student = Path(kept_student(Subject(str(run), run, card, student_of(run))).model or "")
    check_model_folder(student)
    if is_adapter(student) and Path(adapter_base(student)).exists():
        warn(f"{student} is an adapter of {adapter_base(student)}, which is a local model: nobody else can load it")
    top = {str(path.relative_to(student)): path for path in _within(student)}
    beside = {f"{ADAPTER}/{path.relative_to(run / ADAPTER)}": path for path in _within(run / ADAPTER)}
    cards = {name: run / name for name in (README, CARD) if (run / name).is_file()}
    kept = {name: path for name, path in top.items() if name != README and not name.startswith("checkpoints/")}
    return {**cards, **kept, **beside}


def _within(folder: Path) -> list[Path]:
    """Its files, hidden ones left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _repo(config: PushConfig) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is public

    if not config.repo:
        raise UsageError("push needs a name on the hub: --repo NAME, or --repo OWNER/NAME")
    try:
        validate_repo_id(config.repo)
    except HFValidationError as error:
        raise UsageError(f"--repo {config.repo}: {one_line(str(error))}") from None
    return config.repo


def _sent(config: PushConfig, repo: str, files: dict[str, Path]) -> dict[str, Any]:
    """Make the repository where it is missing, and commit the files; {repo, private, url, commit}."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # it is public

    if not console.is_terminal:
        disable_progress_bars()
    token = _token()
    with _one_line_of(repo):
        api = HfApi(token=token, library_name="cotdistill")
        owner = api.whoami()["name"]
        whole = repo if "/" in repo else f"{owner}/{repo}"
        private = _visibility(api, whole, config.public)
        api.create_repo(whole, private=private, exist_ok=True)
        if config.revision is not None:
            api.create_branch(whole, branch=config.revision, exist_ok=True)
        commit = api.create_commit(
            whole,
            [CommitOperationAdd(name, _content(name, path, whole)) for name, path in files.items()],
            commit_message="A student trained by cotdistill",
            revision=config.revision,
        )
    say(f"pushed to {api.endpoint}/{whole}, {_seen(not private)}")
    return {"repo": whole, "private": private, "url": f"{api.endpoint}/{whole}", "commit": commit.oid}


def _content(name: str, path: Path, repo: str) -> str | bytes:
    """A path; of the model card its text, with commands for the name on the hub."""
    if name != README:
        return str(path)
    return named(path.read_text(encoding="utf-8"), repo).encode()


def _token() -> str:
    """The hub's token, registered as a secret. Raises `Unavailable` where there is none."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it")
    token = get_token()
    if not token:
        raise Unavailable(
            "push needs a token of the hub that may write: set HF_TOKEN (from https://huggingface.co/settings/tokens), "
            "or log in with: hf auth login"
        )
    hide(token)
    return token


def _visibility(api: Any, repo: str, public: bool) -> bool:
    """Whether the repository will be private. Raises `UsageError` where it is public and --public was not given."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        private = bool(api.repo_info(repo).private)
    except RepositoryNotFoundError:
        return not public
    if not private and not public:
        raise UsageError(f"--repo {repo}: that repository is public; pass --public to push to it all the same")
    if private and public:
        warn(f"{repo} is private and stays so; its visibility is changed in its settings on the hub")
    return private


def _seen(public: bool) -> str:
    return "public" if public else "private"


@contextmanager
def _one_line_of(repo: str) -> Iterator[None]:
    """Whatever the hub and the way to it raise, as one line and exit code 6."""
    try:
        yield
    except CotdistillError:
        raise
    except Exception as error:  # HTTP errors of the hub, of httpx, of its upload library
        said = one_line(getattr(error, "server_message", None) or str(error) or type(error).__name__)
        status = getattr(getattr(error, "response", None), "status_code", None)
        remedy = (
            "; check HF_TOKEN, and that it may write there"
            if status in (401, 403)
            else "; the same command tries again"
        )
        raise Unavailable(f"the hub did not take {repo}: {said[:LONGEST]}{remedy}") from error
