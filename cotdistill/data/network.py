"""Whether the Hugging Face hub can be reached: checked once, so that no library waits and retries endlessly."""

from __future__ import annotations

from functools import cache

PATIENCE = 10.0  # seconds for an answer of any kind


@cache
def unreachable_hub() -> str | None:
    """Why the hub cannot be reached, or None.

    Where it cannot, or HF_HUB_OFFLINE says not to try, the libraries read their caches alone from then on: what was
    downloaded before still loads, anything else fails at once instead of after five retries per file.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception as error:  # every transport has its own errors; a response of any status is not an error
        import datasets

        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        return f"{constants.ENDPOINT} cannot be reached ({str(error) or type(error).__name__})"
    return None
