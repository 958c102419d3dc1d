"""What /docs says beyond the routes themselves: the socket, the errors, the examples.

Swagger UI is served from here, out of the package fastapi-offline: a closed network has no CDN.
"""

import html
import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.staticfiles import StaticFiles

from whisper_service.api.access.scopes import OPEN
from whisper_service.api.catalog import stand_in_notice
from whisper_service.api.decoder import Decoder
from whisper_service.api.fronts.native.messages import (
    ConfigMessage,
    DoneMessage,
    Finalize,
    FinalMessage,
    Keepalive,
    PartialMessage,
    Ready,
    ResumeMessage,
    SpeechEndedMessage,
    SpeechStartedMessage,
    Stop,
    WarningMessage,
)
from whisper_service.api.http.errors import Shape, own_shape
from whisper_service.api.schemas import ErrorBody, TranscriptBody, VerboseTranscriptBody
from whisper_service.errors import (
    AudioTooLong,
    AudioTooShort,
    EmptyAudio,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    MissingFile,
    ModelUnavailable,
    NoAudioTrack,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    ServiceError,
    TimedOut,
    Unauthorized,
    UndecodableAudio,
    UnknownLanguage,
    UnknownModel,
)
from whisper_service.settings import Settings

TAGS = [
    {"name": "files", "description": "Speech in a file to text."},
    {"name": "jobs", "description": "The same later: take a file, ask for its text by an id."},
    {"name": "OpenAI", "description": "The same for OpenAI's clients: base URL `http://HOST/v1`."},
    {"name": "access", "description": "Tokens for browsers, where the service asks for keys."},
    {"name": "what there is", "description": "Models, languages, a sample."},
    {"name": "health", "description": "For probes and load balancers."},
]

FILE_ERRORS: tuple[ServiceError, ...] = (
    InvalidRequest("The form breaks off: its last boundary did not come."),
    TimedOut("The upload was not done after 3600 s, all the time one may take.", limit=3600),
    PayloadTooLarge("The request body is larger than 1,073,741,824 bytes.", max_bytes=2**30),
    AudioTooLong("The audio is longer than 14400 s.", max_duration=14400),
    MissingFile("There is no file.", param="file", got="nothing", allowed="an audio or video file"),
    InvalidParameter(
        "`beam_size` is 11; allowed is 10 or less.",
        param="beam_size",
        got="11",
        allowed="10 or less",
    ),
    UnknownModel(
        "There is no model 'huge'; allowed are base, small.",
        param="model_size",
        got="huge",
        allowed=["base", "small"],
    ),
    UnknownLanguage(
        "This is not a language Whisper knows.",
        param="language",
        got="klingon",
        allowed=["de", "en"],
    ),
    EmptyAudio("The file is empty."),
    UndecodableAudio("The file is no audio or video that can be read."),
    NoAudioTrack("The file has no sound."),
    AudioTooShort("The audio is 0.05 s long.", duration=0.05, min_duration=0.1),
    Unauthorized("There is no API key. Send `Authorization: Bearer KEY`."),
    Forbidden(
        "The API key does not open this: it needs the scope `transcribe`.",
        got=["stream"],
        allowed=["transcribe"],
    ),
    RateLimited(
        "The API key has used its 60 requests a minute.",
        retry_after=1,
        limit=60,
        what="requests a minute",
    ),
    Overloaded("64 uploads are going on, which is the limit.", retry_after=2, limit=64),
    ModelUnavailable(
        "The weights of the model `small` are not here and may not be downloaded.",
        model="small",
        path="/models/small.pt",
    ),
)
"""One example of each error an upload can meet."""


def errors(
    *examples: ServiceError,
    shape: Shape = own_shape,
    model: type[BaseModel] = ErrorBody,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: the errors by status, each with the JSON it really has.

    `shape` gives an error's status and body where a route speaks another protocol than ours.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in examples:
        status, body = shape(error)
        code = body["error"]["code"]
        response = responses.setdefault(
            status,
            {
                "model": model,
                "description": "",
                "content": {"application/json": {"examples": {}}},
            },
        )
        response["description"] = (response["description"] + f", `{code}`").lstrip(", ")
        response["content"]["application/json"]["examples"][code] = {
            "summary": (type(error).__doc__ or code).strip().splitlines()[0],
            "value": body,
        }
        if error.retry_after is not None:
            description = "Seconds after which to try again."
            header = {"description": description, "schema": {"type": "integer"}}
            response["headers"] = {"Retry-After": header}
    return responses


_WORDS = {"text": "one two three", "language": "en", "duration": 2.4}
_SEGMENT = {
    "id": 0,
    "seek": 0,
    "start": 0.0,
    "end": 2.4,
    "text": " one two three",
    "tokens": [50364, 472, 732, 1045, 50484],
    "temperature": 0.0,
    "avg_logprob": -0.21,
    "compression_ratio": 0.9,
    "no_speech_prob": 0.01,
    "language": "en",
}
_VERBOSE = {
    **_WORDS,
    "task": "transcribe",
    "language_probability": 0.99,
    "segments": [_SEGMENT],
    "warnings": [],
}
FORMAT_EXAMPLES: dict[str, Any] = {
    "description": "The transcript in the form asked for.",
    "model": TranscriptBody | VerboseTranscriptBody,
    "content": {
        "application/json": {
            "examples": {
                "json": {"summary": "response_format=json", "value": _WORDS},
                "verbose_json": {"summary": "response_format=verbose_json", "value": _VERBOSE},
            }
        },
        "text/plain": {"schema": {"type": "string"}, "example": "one two three\n"},
        "application/x-subrip": {
            "schema": {"type": "string"},
            "example": "1\n00:00:00,000 --> 00:00:02,400\none two three\n\n",
        },
        "text/vtt": {
            "schema": {"type": "string"},
            "example": "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\none two three\n\n",
        },
        "text/tab-separated-values": {
            "schema": {"type": "string"},
            "example": "start\tend\ttext\n0\t2400\tone two three\n",
        },
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'event: language\ndata: {"language": "en", "language_probability": 0.99}\n\n'
            'event: done\ndata: {"text": "one two three"}\n\n',
        },
    },
}


def _table(*models: type[BaseModel]) -> str:
    rows = ["| field | values | meaning |", "|---|---|---|"]
    for model in models:
        for name, field in model.model_json_schema()["properties"].items():
            if "description" in field:
                text = field["description"]
                if "default" in field:
                    text += f" Default `{json.dumps(field['default'])}`."
                rows.append(f"| `{name}` | {_values(field)} | {text} |")
    return "\n".join(rows)


def _values(field: dict[str, Any]) -> str:
    """A field's type in words, with its range."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_values(kind) for kind in field["anyOf"])
    words = {"string": "text", "integer": "whole number", "array": "list"}
    kind = words.get(field.get("type", "object"), field.get("type", "object"))
    if "minimum" in field:
        kind += f", {field['minimum']:g} to {field['maximum']:g}"
    return str(kind)


def _message(model: type[BaseModel]) -> str:
    kind = model.model_fields["type"].default
    doc = " ".join((model.__doc__ or "").split())
    return f"**`{kind}`** {doc}\n\n{_table(model)}\n"


DESCRIPTION = f"""
OpenAI's Whisper as a service: files over HTTP, live audio over a WebSocket.

**Try it here:** download [sample.wav](sample.wav), open *POST /transcribe* below, press *Try it
out*, choose the file, press *Execute*; every other field may stay as it is. Or in a terminal:

    curl -O http://localhost:8000/sample.wav
    curl -F file=@sample.wav http://localhost:8000/transcribe

**Errors** have one shape everywhere: `{{"error": {{"code", "message", ...}}}}`. Branch on `code`,
show `message`. With a `Retry-After` header, the same request can succeed later.

<details><summary><b>WebSocket /stream</b>: live audio to text, message by message</summary>

Connect to `ws://HOST/stream`. A server that is full answers the handshake with 503 and
`Retry-After`. Times are seconds on the stream's own clock, which is 0 at its first sample.

1. Send the configuration as text, within ten seconds. Every field is optional; `{{}}` is enough.

{_table(ConfigMessage)}

Or go on where a broken stream ended:

{_table(ResumeMessage)}

2. Send audio as binary messages of any size; 100 to 250 ms each is a good one. An empty binary
message means stop. Further text messages:
`{{"type": "finalize"}}` {Finalize.__doc__}
`{{"type": "keepalive"}}` {Keepalive.__doc__}
`{{"type": "stop"}}` {" ".join((Stop.__doc__ or "").split())}

3. Receive text messages; each has a `type` and a `seq` that counts up by one.

{_message(Ready)}
{_message(SpeechStartedMessage)}
{_message(PartialMessage)}
{_message(FinalMessage)}
{_message(SpeechEndedMessage)}
{_message(WarningMessage)}
{_message(DoneMessage)}
**`error`** `code` and `message` as everywhere; then the close: 1003 audio before the configuration,
1007 a message that cannot be read, 1008 a value or pace that is not allowed, 1009 too much, 1011 a
bug of ours, 1012 the replica goes away (resume elsewhere), 1013 try again later.

</details>
"""


def add_docs(app: FastAPI, settings: Settings, decoder: Decoder) -> None:
    """Serve /docs, and tell the OpenAPI document what only the settings know."""
    assets = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    app.mount("/docs/assets", assets, name="docs-assets")
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            schemas = schema["components"]["schemas"]
            for name in {"TranscribeForm", "DetectForm", "JobForm"} & schemas.keys():
                field = schemas[name]["properties"]["model_size"]
                field["default"] = settings.default_model
                field["examples"] = [settings.default_model]
            if settings.needs_keys:
                _add_security(schema)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        # Relative addresses, so that a path prefix in front of the service does no harm.
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Whisper Streaming",
            swagger_js_url="docs/assets/swagger-ui-bundle.js",
            swagger_css_url="docs/assets/swagger-ui.css",
            swagger_favicon_url="docs/assets/favicon.png",
        )
        if notice := await _notice(decoder):
            page = HTMLResponse(bytes(page.body).decode().replace("<body>", f"<body>{notice}", 1))
        # The page's own script is written by FastAPI; everything it loads comes from here.
        page.headers["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self' 'unsafe-inline';"
            " style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' blob:;"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return page


async def _notice(decoder: Decoder) -> str:
    """A paragraph on top where `demo` answers; nothing where nobody answers."""
    try:
        notice = stand_in_notice(await decoder.models())
    except ServiceError:
        return ""
    if notice is None:
        return ""
    style = "margin:0;padding:1em 20px;background:#fff3cd;color:#664d03;font:16px sans-serif"
    return f'<p role="status" style="{style}">{html.escape(notice)}</p>'


def _add_security(schema: dict[str, Any]) -> None:
    """Say that every route but the open ones needs a key; /docs then has a place to put it."""
    kind = {"type": "http", "scheme": "bearer", "description": "An API key, or a token."}
    schema["components"]["securitySchemes"] = {"key": kind}
    schema["security"] = [{"key": []}]
    for path in OPEN & schema["paths"].keys():
        for operation in schema["paths"][path].values():
            operation["security"] = []
