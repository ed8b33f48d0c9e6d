"""A key, no proxies, and retries that do not wait, for tests of server teachers."""

from __future__ import annotations

import pytest

from tests.teachers.asking import KEY

UNSET = (
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_CUSTOM_HEADERS",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@pytest.fixture
def server_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use it by `pytestmark`."""
    monkeypatch.setattr("cotdistill.teachers.server.FIRST_WAIT", 0.01)
    monkeypatch.setattr("cotdistill.teachers.server.LONGEST_BACKOFF", 0.05)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
