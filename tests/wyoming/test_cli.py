"""The command, as a process."""

import asyncio
import os
import signal
import socket
import sys

import pytest
from wyoming.client import AsyncClient
from wyoming.info import Describe, Info

from whisper_service.wyoming.cli import main


async def test_the_command_serves_until_it_is_terminated(service, tmp_path):
    uri = f"unix://{tmp_path}/wyoming"
    bridge = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "whisper_service.wyoming", "--uri", uri, "--url", service.url),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said = b""
        while b"served at" not in said:
            said += await bridge.stderr.readline()
        assert b"base, base.en, small" in said
        while not os.path.exists(uri.removeprefix("unix://")):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        async with AsyncClient.from_uri(uri) as client:
            await client.write_event(Describe().event())
            info = Info.from_event(await client.read_event())
            bridge.send_signal(signal.SIGTERM)
            assert await client.read_event() is None
        assert await bridge.wait() == 0
    assert info.asr[0].models


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--uri", "http://localhost:1"], "tcp://"),
        (["--uri", "tcp://localhost"], "port"),
        (["--uri", "stdio://"], "tcp://HOST:PORT"),
        (["--url", "ftp://localhost"], "no http address"),
        (["--max-audio", "601"], "600 s"),
        (["--answer-timeout", "0"], "more than 0"),
        (["--retry", "nan"], "--retry nan"),
        (["--max-connections", "0"], "at least one"),
    ],
)
def test_what_cannot_be_is_told(arguments, says, capsys):
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--uri", f"tcp://127.0.0.1:{port}", "--url", "http://127.0.0.1:9"]) == 3
    assert "in use" in capsys.readouterr().err
