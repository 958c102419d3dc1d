"""A browser's or program's handshake with any socket of the application, and what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers

from tests.api.fakes import PATIENCE, Socket


@dataclass
class Answer:
    """Status 101 and the subprotocol of a socket that opened, else the refusal."""

    status: int
    headers: Headers
    subprotocol: str | None = None
    body: bytes = b""

    @property
    def error(self) -> dict:
        return json.loads(self.body)["error"]


@asynccontextmanager
async def opened(app, path, headers=None, offered=()) -> AsyncIterator[Answer]:
    """Try to open a socket, and keep it for the length of the block."""
    socket = Socket()
    path, _, query = path.partition("?")
    scope = {
        "type": "websocket",
        "path": path,
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        "query_string": query.encode(),
        "subprotocols": list(offered),
        "extensions": {"websocket.http.response": {}},
    }
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        serving = group.create_task(app(scope, socket.to_app.get, socket.from_app.put))
        first = await socket.raw()
        if first["type"] == "websocket.accept":
            yield Answer(101, Headers(raw=first.get("headers", [])), first.get("subprotocol"))
        else:
            assert first["type"] == "websocket.http.response.start", first
            body = (await socket.raw())["body"]
            yield Answer(first["status"], Headers(raw=first["headers"]), body=body)
        socket.leave()
        await serving


async def shake(app, path, headers=None, offered=()) -> Answer:
    """What a handshake is answered; an open socket is left at once."""
    async with opened(app, path, headers, offered) as answer:
        return answer


async def converse(app, path, messages) -> dict:
    """Send everything at once, then leave; the last thing that the application did with it.

    An application that is still listening when the client leaves has nothing to say: "left", or
    "told" if it had named an error and gone on, as OpenAI's protocol does.
    """
    socket = Socket()
    path, _, query = path.partition("?")
    scope = {
        "type": "websocket",
        "path": path,
        "headers": [],
        "query_string": query.encode(),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    for message in messages:
        socket.send(message)
    socket.leave()
    async with asyncio.timeout(PATIENCE):
        await app(scope, socket.to_app.get, socket.from_app.put)
    said = [socket.from_app.get_nowait() for _ in range(socket.from_app.qsize())]
    ends = ("websocket.close", "websocket.http.response.start")
    closed = next((message for message in said if message["type"] in ends), None)
    if closed is not None:
        return closed
    texts = [message["text"] for message in said if message["type"] == "websocket.send"]
    has_told = any(json.loads(text)["type"] == "error" for text in texts)
    return {"type": "told" if has_told else "left"}
