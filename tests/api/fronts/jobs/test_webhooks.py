"""Who is told that a job has ended: signed, until it is taken, and never inside the network."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest

from tests.api.fakes import PATIENCE
from whisper_service.api.fronts.jobs import rounds, webhooks
from whisper_service.api.fronts.jobs.webhooks import DELAYS, next_delay
from whisper_service.jobs import store

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HERE = {"webhook_secret": SECRET, "webhook_private_networks": "127.0.0.0/8"}


class Receiver:
    """An HTTP server that keeps what it is sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.answers: list[bytes] = []
        """Heads of the next answers; 204 when there are none left."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?for=jobs"

    async def next(self) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE):
            return await self.received.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.put_nowait(({"request": head[0], **headers}, body))
        writer.write(self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(tls=None):
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@pytest.fixture
async def receiver():
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sending(serve):
    async with serve(**HERE) as replica:
        yield replica


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(webhooks, "DELAYS", (0.01,) * 3)


async def delivery(replica, job_id, *states):
    return (await replica.once(job_id, lambda job: job["webhook"]["state"] in states))["webhook"]


async def test_a_receiver_is_told_what_it_can_fetch(sending, receiver):
    job_id = await sending.added(webhook_url=receiver.url)
    headers, body = await receiver.next()
    assert headers["request"] == "POST /hook?for=jobs HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    message, job = json.loads(body), await sending.until(job_id, "done")
    assert message["type"] == "job.done"
    assert message["data"] == {k: v for k, v in job.items() if k not in ("result", "webhook")}
    assert b"level 7" not in body
    assert await delivery(sending, job_id, "delivered") == {
        "url": receiver.url,
        "state": "delivered",
        "attempts": 1,
        "error": None,
    }


async def test_a_receiver_is_told_of_failures(sending, receiver):
    await sending.added(("a.wav", b"no audio" * 100), webhook_url=receiver.url)
    message = json.loads((await receiver.next())[1])
    assert message["type"] == "job.failed"
    assert message["data"]["error"]["code"] == "undecodable_audio"


async def test_the_signature_is_one_that_standard_webhooks_verifies(sending, receiver):
    library = pytest.importorskip(
        "standardwebhooks", reason="standardwebhooks is not installed (requirements-dev.txt)"
    )
    job_id = await sending.added(webhook_url=receiver.url)
    headers, body = await receiver.next()
    assert library.Webhook(SECRET).verify(body, headers)["data"]["id"] == job_id
    with pytest.raises(library.WebhookVerificationError):
        library.Webhook(SECRET).verify(body.replace(b"done", b"gone"), headers)


async def test_what_is_not_taken_is_sent_again_as_the_same_message(sending, receiver, at_once):
    receiver.answers = [
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    ]
    job_id = await sending.added(webhook_url=receiver.url)
    sent = [await receiver.next() for _ in range(3)]
    assert {headers["webhook-id"] for headers, _ in sent} == {f"msg_{job_id}"}
    assert len({body for _, body in sent}) == 1
    found = await delivery(sending, job_id, "delivered")
    assert (found["attempts"], found["error"]) == (3, None)


async def test_a_receiver_that_never_takes_it_is_given_up(sending, receiver, at_once):
    receiver.answers = [b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"] * 9
    job_id = await sending.added(webhook_url=receiver.url)
    found = await delivery(sending, job_id, "failed")
    assert (found["attempts"], found["error"]) == (4, "answered 302")
    assert receiver.received.qsize() == 4


async def test_a_receiver_that_is_gone_is_left_alone(sending, receiver, at_once):
    receiver.answers = [b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"]
    job_id = await sending.added(webhook_url=receiver.url)
    assert (await delivery(sending, job_id, "failed"))["attempts"] == 1


async def test_what_a_receiver_may_do_ends_after_a_while(sending, at_once, monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.2)

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        job_id = await sending.added(webhook_url=url)
        found = await delivery(sending, job_id, "failed")
    assert found["error"] == "did not answer within 0.2 s"


async def test_an_endless_answer_is_not_read(sending, receiver):
    receiver.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 10000]
    job_id = await sending.added(webhook_url=receiver.url)
    assert (await delivery(sending, job_id, "delivered"))["attempts"] == 1


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 999999 X\r\n\r\n"])
async def test_nonsense_is_no_delivery(sending, receiver, at_once, answer):
    receiver.answers = [answer] * 9
    job_id = await sending.added(webhook_url=receiver.url)
    assert (await delivery(sending, job_id, "failed"))["error"] == "could not be reached"


async def test_a_port_where_nobody_listens(sending, at_once):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    job_id = await sending.added(webhook_url=url)
    assert (await delivery(sending, job_id, "failed"))["error"] == "could not be reached"


async def test_a_webhook_outlives_the_service_that_owes_it(serve, receiver, monkeypatch):
    receiver.answers = [b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n"]
    monkeypatch.setattr(webhooks, "DELAYS", (0.01,) * 3)
    monkeypatch.setattr(store, "_DELIVERY", 0.01)
    async with serve(**HERE) as replica:
        monkeypatch.setattr(rounds, "PERIOD", 60.0)
        job_id = await replica.added(webhook_url=receiver.url)
        await receiver.next()
    monkeypatch.setattr(rounds, "PERIOD", 0.02)
    async with serve(**HERE) as replica:
        headers, _ = await receiver.next()
        assert headers["webhook-id"] == f"msg_{job_id}"


# --- where they may go


async def test_a_name_that_leads_inside_is_not_followed(serve, receiver, at_once, monkeypatch):
    """Whatever it led to when the job was made: it is looked at when it is connected to."""
    resolving(monkeypatch, {"hooks.test": ["127.0.0.1"]})
    async with serve(webhook_secret=SECRET) as replica:
        url = f"http://hooks.test:{receiver.port}/"
        found = await delivery(replica, await replica.added(webhook_url=url), "failed")
    assert found["error"] == "leads to an address that webhooks may not go to"
    assert receiver.received.empty()


async def test_the_address_that_was_looked_at_is_the_one_connected_to(
    sending, receiver, monkeypatch
):
    """A name that answers otherwise the second time (DNS rebinding) gets no second time."""
    asked = resolving(monkeypatch, {"hooks.test": ["127.0.0.1"]})
    await sending.added(webhook_url=f"http://hooks.test:{receiver.port}/")
    headers, _ = await receiver.next()
    assert headers["host"] == f"hooks.test:{receiver.port}"
    assert asked.count("hooks.test") == 1


async def test_of_several_addresses_one_that_answers_is_enough(sending, receiver, monkeypatch):
    resolving(monkeypatch, {"hooks.test": ["10.0.0.1", "127.0.0.9", "127.0.0.1"]})
    await sending.added(webhook_url=f"http://hooks.test:{receiver.port}/")
    assert (await receiver.next())[0]["request"] == "POST / HTTP/1.1"


def resolving(monkeypatch, names):
    """Let names lead somewhere; -> the names that are asked for."""
    asked, real = [], asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host, port, **options):
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        if name not in names:
            return await real(host, port, **options)
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (each, port)) for each in names[name]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of hooks.test, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=hooks.test"]
    command += ["-addext", "subjectAltName=DNS:hooks.test"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


@pytest.mark.parametrize(("name", "state"), [("hooks.test", "delivered"), ("other.test", "failed")])
async def test_the_name_is_what_tls_checks(serve, certificate, at_once, monkeypatch, name, state):
    key, path = certificate
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path, key)
    trusting = ssl.create_default_context(cafile=path)
    monkeypatch.setattr(webhooks, "_trust", lambda: trusting)
    resolving(monkeypatch, {"hooks.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    async with receiving(tls) as receiver, serve(**HERE) as replica:
        url = f"https://{name}:{receiver.port}/"
        await delivery(replica, await replica.added(webhook_url=url), state)
        assert receiver.received.empty() == (state == "failed")


def test_tries_come_further_and_further_apart_and_end_within_a_days_keeping():
    delays = [next_delay(n, lambda low, high: 1.0) for n in range(1, len(DELAYS) + 2)]
    assert delays == [*DELAYS, None]
    assert list(DELAYS) == sorted(DELAYS)
    assert sum(DELAYS) < 24 * 3600
    assert 4.4 < next_delay(1) < 5.6
