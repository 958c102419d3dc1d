"""Open WebUI: the request that its speech-to-text sends, engine "OpenAI".

    pip install aiohttp
    python examples/open_webui.py [FILE] [URL]

In Open WebUI itself: Admin Panel, Settings, Audio, Speech-to-Text: engine OpenAI, URL/v1 as the
address, any key where the service asks for none, `whisper-1` as the model.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"


async def chunks() -> AsyncIterator[bytes]:
    """As Open WebUI reads an upload: the request has no length."""
    with open(FILE, "rb") as file:  # noqa: ASYNC230
        while chunk := file.read(64 * 1024):
            yield chunk


async def main() -> None:
    form = aiohttp.FormData()
    form.add_field("model", "whisper-1")
    form.add_field("language", "en")
    form.add_field("file", chunks(), filename=Path(FILE).name)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{URL}/v1/audio/transcriptions", headers={"Authorization": "Bearer any"}, data=form
        ) as answer,
    ):
        body = await answer.json()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {body}")
        print(body["text"])


asyncio.run(main())
