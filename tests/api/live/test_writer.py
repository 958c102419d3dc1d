import asyncio

from whisper_service.api.live.writer import SocketWriter
from whisper_service.settings import Settings


class SlowReader:
    """A client that takes a message only when it is let."""

    def __init__(self):
        self.read = asyncio.Semaphore(0)
        self.is_sent_to = asyncio.Event()
        self.received = []

    async def send_text(self, message):
        self.is_sent_to.set()
        await self.read.acquire()
        self.received.append(message)

    async def close(self, code, reason):
        self.received.append(code)


async def test_a_client_that_reads_slowly_is_not_read_from(monkeypatch):
    monkeypatch.setattr("whisper_service.api.live.writer.MAX_QUEUED", 1)
    reader = SlowReader()
    writer = SocketWriter(reader, Settings())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        for message in "abc":
            writer.send(message)
        waiting = group.create_task(writer.wait_for_room())
        await reader.is_sent_to.wait()
        await asyncio.sleep(0)
        assert not waiting.done()  # two more are there
        reader.read.release()
        await waiting
        writer.close(1000, "done")
        for _ in "bc":
            reader.read.release()
    assert reader.received == ["a", "b", "c", 1000]


async def test_nothing_is_said_after_the_first_close():
    reader = SlowReader()
    writer = SocketWriter(reader, Settings())
    reader.read.release()
    writer.send("last")
    writer.close(1000, "done")
    writer.send("too late")
    writer.close(1012, "restarting")
    await writer.run()
    assert reader.received == ["last", 1000]
