"""Log lines of a stream carry its session id, those of anything else carry none."""

import asyncio
import logging

from tests.api.fakes import connect, level, say_level
from whisper_service.api.log_context import SessionFilter, current_session, name_session


def line() -> logging.LogRecord:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "hello", None, None)
    assert SessionFilter().filter(record)
    return record


async def test_lines_of_a_stream_and_of_its_tasks_have_its_id():
    async def stream() -> tuple[str, str]:
        name_session("abc")
        inner = await asyncio.create_task(asyncio.to_thread(line))
        return line().session_id, inner.session_id

    assert await asyncio.create_task(stream()) == ("abc", "abc")
    assert current_session() == ""
    assert not hasattr(line(), "session_id")


async def test_what_a_stream_has_decoded_is_decoded_in_its_name(app, decoder):
    names = []

    def answer(job):
        names.append(current_session())
        return say_level(job)

    decoder.answer = answer
    config = {"chunk_duration": 1, "overlap": 0, "partial_interval": 0, "vad": False}
    async with connect(app, config) as socket:
        ready = await socket.receive()
        socket.send(level(21))
        socket.send({"type": "stop"})
        await socket.rest()
    assert set(names) == {ready["session_id"]}
