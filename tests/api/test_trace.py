"""Log lines of a stream carry its session id, those of anything else carry none."""

import asyncio
import logging

from whisper_service.api.trace import SessionFilter, current_session, name_session


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
