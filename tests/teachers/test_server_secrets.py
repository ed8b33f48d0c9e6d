"""Keys and passwords are in no stream, journal, row or traceback, whatever fails; bad keys are refused by name."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cotdistill.config import AblateConfig, Config, ElicitConfig
from tests.teachers.asking import KEY, elicit, failure, rationale
from tests.teachers.servers import TEXT, Canned, completion, serving

pytestmark = pytest.mark.usefixtures("server_environment")
PASSWORD = "hunter22 is my/pass"
SPELLINGS = {KEY, PASSWORD, quote(PASSWORD, safe=""), base64.b64encode(f"me:{PASSWORD}".encode()).decode()}


def nothing_told(folder: Path, *streams: str) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    for text in (*streams, *(file.read_text(errors="replace") for file in files)):
        assert not any(secret in text for secret in SPELLINGS), text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPENAI_API_KEY", f"{KEY}\n", "OPENAI_API_KEY begins or ends with whitespace"),
        ("OPENAI_API_KEY", f" {KEY}", "OPENAI_API_KEY begins or ends with whitespace"),
        ("OPENAI_API_KEY", f"{KEY}\r\nX-Evil: 1", "OPENAI_API_KEY contains several lines"),
        ("OPENAI_API_KEY", "", "OPENAI_API_KEY is empty"),
        ("OPENAI_API_KEY", " \n", "OPENAI_API_KEY is empty"),
        ("OPENAI_API_KEY", f"{KEY}é", "OPENAI_API_KEY contains characters that are not ASCII"),
        ("OPENAI_API_KEY", f"{KEY}\udcff", "OPENAI_API_KEY contains characters that are not ASCII"),
        ("OPENAI_API_KEY", f"{KEY}\x07", "OPENAI_API_KEY contains whitespace or control characters"),
        ("OPENAI_API_KEY", f"Bearer {KEY}", "OPENAI_API_KEY contains whitespace or control characters"),
        ("OPENAI_ORG_ID", "org\n1", "OPENAI_ORG_ID contains several lines"),
        ("OPENAI_CUSTOM_HEADERS", f"X-Auth: {KEY}é", ""),
        ("ALL_PROXY", f"socks4://me:{quote(PASSWORD)}@127.0.0.1:9", ""),
        ("ALL_PROXY", f"http://me:{quote(PASSWORD, safe='')}@127.0.0.1:9", ""),
    ],
)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_what_no_header_can_carry_is_refused_by_name(
    name: str, value: str, said: str, debug: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    done = elicit(tmp_path, "http://127.0.0.1:9/v1", "--retries", "0", *debug)
    assert done.code in ((6,) if said else (5, 6))
    assert len(done.errors) == 1
    assert said in done.errors[0]
    nothing_told(tmp_path, done.out, done.err)


ECHOES: list[Any] = [
    Canned(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    Canned(400, f"'Bearer {KEY}'"),
    Canned(500, f"<html><title>{KEY}</title></html>"),
    Canned(403, {"detail": f"{quote(KEY)} flagged"}),
    Canned(body={"error": {"message": f"bad key {KEY}\n"}}),
    Canned(429, f"key={KEY}&x=1"),
    Canned(body=f"no json {KEY}"),
    Canned(404, f"/v1/{KEY}"),
    Canned(body=completion(None, refusal=f"I know {KEY}")),
    Canned(body=completion(f"The key {KEY}. " + TEXT)),
    Canned(307, "", {"Location": f"http://127.0.0.1:9/{KEY}"}),
    "drop",
    "malformed",
]


@pytest.mark.parametrize("behaviour", ECHOES)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_no_failure_tells_the_key_or_a_password(behaviour: Any, debug: tuple[str, ...], tmp_path: Path) -> None:
    with serving(lambda prompt, before: behaviour) as server:
        where = server.url.replace("http://", f"http://me:{quote(PASSWORD, safe='')}@")
        for url in (server.url, where):
            done = elicit(tmp_path, url, "--retries", "1", "--retry-failed", *debug)
            nothing_told(tmp_path, done.out, done.err)
            assert ("Traceback" in done.err) == (bool(debug) and done.code != 0)
        assert {key and key.split()[0] for key in server.keys} <= {"Bearer", "Basic"}


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with serving() as server:
        gone = server.url.replace("http://", f"http://me:{quote(PASSWORD, safe='')}@")
    done = elicit(tmp_path, gone, "--retries", "1", "--debug")
    assert done.code == 6
    where = server.url.replace("//", "//***@")
    assert done.errors == [f"error: cannot reach {where}: Connection refused; is it running?"]
    nothing_told(tmp_path, done.err)


def test_extra_parameters_are_sent_and_recorded_without_their_secrets(tmp_path: Path) -> None:
    body = {
        "chat_template_kwargs": {"enable_thinking": False},
        "provider": {"order": ["a"], "api_key": PASSWORD},
        "top_k": 20,
    }
    with serving() as server:
        done = elicit(tmp_path, server.url, "--extra-body", json.dumps(body))
        assert done.code == 0
        assert {name: server.requests[0][name] for name in body} == body
        changed = elicit(tmp_path, server.url, "--extra-body", '{"top_k": 21}')
    assert rationale(tmp_path)["decoding"]["extra_body"] == {**body, "provider": {"order": ["a"], "api_key": "***"}}
    assert changed.code == 2, "other parameters are other settings"
    assert "extra_body" in changed.errors[0]
    dry = elicit(tmp_path, "http://127.0.0.1:9", "--extra-body", json.dumps(body), "--dry-run")
    nothing_told(tmp_path, done.out, done.err, changed.err, dry.out, dry.err)


@pytest.mark.parametrize("kind", [AblateConfig, ElicitConfig])
def test_what_is_recorded_of_a_config_holds_no_secret_and_the_config_does(kind: type[Config]) -> None:
    given = {
        "base_url": f"http://me:{quote(PASSWORD)}@host/v1?api-key={KEY}&v=1",
        "extra_body": json.dumps({"a": {"api_key": KEY}}),
    }
    section = "elicit." if kind is AblateConfig else ""
    config = kind.build(teacher="openai:m", **{section + name: value for name, value in given.items()})
    held = getattr(config, "elicit", config)
    recorded = json.loads(config.model_dump_json())
    recorded = recorded.get("elicit", recorded)
    assert (held.base_url, held.extra_body) == tuple(given.values())
    assert recorded["base_url"] == "http://***@host/v1?api-key=***&v=1"
    assert recorded["extra_body"] == '{"a": {"api_key": "***"}}'
    assert KEY not in json.dumps(config.defining())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes at character 2)"),
        ("[1]", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('{"x": NaN}', "contains a value that JSON does not allow"),
        ('{"x": "\\ud83d"}', "contains a value that JSON does not allow"),
        ('{"x":' * 5000, "nested too deeply"),
        (f'{{"x": {"9" * 5000}}}', "contains a value that JSON does not allow"),
        ('{"model": "x"}', "'model' is reserved; use --teacher"),
        ('{"max_tokens": 9}', "use --max-new-tokens"),
        ('{"stream": true}', "answers are read whole"),
        (f'{{"key": "{KEY}", }}', "not JSON"),
    ],
)
def test_what_is_no_object_of_parameters_is_refused(text: str, said: str, tmp_path: Path) -> None:
    done = elicit(tmp_path, "http://127.0.0.1:9/v1", "--extra-body", text)
    assert done.code == 2
    assert len(done.errors) == 1
    assert done.errors[0].startswith("error: --extra-body: ")
    assert said in done.errors[0]
    nothing_told(tmp_path, done.err)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            folder / "key.pem",
            "-out",
            folder / "cert.pem",
            "-days",
            "9",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_a_certificate_of_ones_own_names_what_to_set(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        named, numbered = (
            server.url.replace("http://127.0.0.1", f"https://{host}") for host in ("localhost", "127.0.0.1")
        )
        place = named.split("/")[2]
        refused = elicit(tmp_path, named)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        other, trusted = elicit(tmp_path, numbered), elicit(tmp_path, named)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "none.pem"))
        missing = elicit(tmp_path, named, rows=2)
    assert [refused.code, trusted.code, other.code, missing.code] == [6, 0, 6, 6]
    assert refused.errors == [
        f"error: the certificate of {place} does not verify (self-signed certificate); set "
        "SSL_CERT_FILE to the PEM file of the authority that signed it"
    ]
    assert "write the name it was made for in --base-url" in other.errors[0]
    assert missing.errors[0].startswith("error: SSL_CERT_FILE: cannot read certificates")


def test_plain_http_on_an_https_url_says_so(tmp_path: Path) -> None:
    with serving() as server:
        done = elicit(tmp_path, server.url.replace("http://", "https://"))
    assert done.code == 6
    assert "does not speak TLS; write http:// in --base-url" in done.errors[0]


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
def test_a_socks_proxy_names_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, f"socks5://me:{PASSWORD.split()[0]}@127.0.0.1:9")
    done = elicit(tmp_path, "https://127.0.0.1:9/v1")
    assert (done.code, done.errors) == (
        6,
        [
            f"error: the SOCKS proxy of {name} needs an optional package; install it "
            "with: pip install 'cotdistill[socks]'"
        ],
    )


def test_the_reason_of_a_failed_row_is_the_servers_own(tmp_path: Path) -> None:
    said = {"error": {"message": f"no {PASSWORD} in \x1b[2J prompts"}}
    with serving(lambda prompt, before: Canned(400, said)) as server:
        elicit(tmp_path, server.url.replace("http://", f"http://me:{quote(PASSWORD, safe='')}@"))
    assert failure(tmp_path) == "HTTP 400: no *** in \\x1b[2J prompts"
