"""The handshake of WS /v1/realtime: who is let in, with which session, in which dialect."""

import logging
import time

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_service.api.access.credentials import Subprotocol
from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.fronts.openai.realtime import RealtimeSession
from whisper_service.api.fronts.openai.secrets import PREFIX, ClientSecrets
from whisper_service.api.fronts.openai.transcription_session import TranscriptionSession
from whisper_service.api.http.errors import shown
from whisper_service.api.http.params import given_once
from whisper_service.api.live.streams import LiveStreams
from whisper_service.errors import InvalidParameter

logger = logging.getLogger(__name__)

PARAMETERS = ("intent", "model")
"""Of the address."""
SUBPROTOCOL = Subprotocol("realtime", key_prefix="openai-insecure-api-key.")
"""What a browser asks for, and has to be answered; keys and dialects travel beside it."""
_FLAT = "realtime=v1"
_FLAT_PROTOCOL = "openai-beta.realtime-v1"


def realtime_router(streams: LiveStreams, keys: ClientSecrets) -> APIRouter:
    """The socket's route. A refusal before the handshake is an HTTP answer."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        try:
            with streams.admit():
                await _serve(socket, streams, keys)
        except WebSocketDisconnect as gone:
            logger.info("A Realtime client left (%s)", gone.code)

    return router


async def _serve(socket: WebSocket, streams: LiveStreams, keys: ClientSecrets) -> None:
    session = _session(socket, keys)
    model = await resolve_model(streams.decoder, streams.settings, session.model)
    config = session.stream_config(model)
    await check_model(streams.decoder, config.model_size, config.decode)
    await socket.accept()
    serving = RealtimeSession(socket, streams, session, model, is_flat=_is_flat(socket))
    with streams.open("realtime", config.model_size, lambda: serving.lag) as stream:
        await serving.run(stream)


def _session(socket: WebSocket, keys: ClientSecrets) -> TranscriptionSession:
    """The session that the address and the key ask for."""
    asked = given_once(socket.query_params)
    for name in asked:
        if name not in PARAMETERS:
            told = shown(name)
            raise InvalidParameter(
                f"There is no parameter {told!r}; allowed are {', '.join(PARAMETERS)}.", param=told
            )
    intent = asked.get("intent", "transcription")
    if intent != "transcription":
        raise InvalidParameter(
            f"`intent` is {intent[:100]!r}; allowed is transcription.", param="intent"
        )
    key = _key(socket)
    session = keys.read(key, time.time()) if key.startswith(PREFIX) else TranscriptionSession()
    model = asked.get("model")
    patch = {"audio": {"input": {"transcription": {"model": model}}}} if model else {}
    return session.updated(patch)


def _key(socket: WebSocket) -> str:
    """A browser cannot set headers: its key comes as a subprotocol."""
    key = SUBPROTOCOL.key(socket.scope["subprotocols"])
    return key or socket.headers.get("authorization", "").removeprefix("Bearer ")


def _is_flat(socket: WebSocket) -> bool:
    named = socket.headers.get("openai-beta", "")
    return _FLAT in named or _FLAT_PROTOCOL in socket.scope["subprotocols"]
