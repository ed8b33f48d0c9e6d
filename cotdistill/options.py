"""Options that every command has, as Typer annotations."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML of options; a run.json works as one")]
Seed = Annotated[int | None, typer.Option(help="Seed of training and of every draw", show_default="0")]
DataSeed = Annotated[int | None, typer.Option(help="Seed of what is drawn from data", show_default="0")]
Limit = Annotated[int | None, typer.Option(help="Read at most this many rows")]
Plugin = Annotated[list[Path] | None, typer.Option(help="Python file with strategies of your own (repeatable)")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...", show_default="auto")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16", show_default="float32")]
TrustRemoteCode = Annotated[bool | None, typer.Option("--trust-remote-code", help="Run code shipped with a model")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Nothing on stderr but errors")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop")]
