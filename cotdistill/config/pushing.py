"""`cotdistill push`: where a run goes on the hub, and who may see it."""

from __future__ import annotations

from cotdistill.config.common import Config
from cotdistill.config.option import option

HUB = "Hub"


class PushConfig(Config):
    """`cotdistill push`: a run's student and model card out, to the Hugging Face hub."""

    repo: str | None = option(None, "Name on the hub: NAME, or OWNER/NAME", HUB, key=False)
    public: bool = option(False, "Make it public (without this: a new repository is private)", HUB, key=False)
    revision: str | None = option(None, "Branch to push to, made where it is missing", HUB, key=False, shown="main")
