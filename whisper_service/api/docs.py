"""/docs and the OpenAPI document: what the routes say, what the fronts add, what settings know.

Swagger UI is served from here, out of the package fastapi-offline: a closed network has no CDN.
"""

import html
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from whisper_service.api.access.scopes import OPEN
from whisper_service.api.catalog import stand_in_notice
from whisper_service.api.decoder import Decoder
from whisper_service.api.fronts.front import Front
from whisper_service.errors import ServiceError
from whisper_service.settings import Settings

_TAGS = {
    "access": "Tokens for browsers, where the service asks for keys.",
    "what there is": "Models, languages, a sample.",
    "health": "For probes and load balancers.",
}
"""Of the routes that belong to no front."""
_INTRODUCTION = """
OpenAI's Whisper as a service: files over HTTP, live audio over a WebSocket.

**Try it here:** download [sample.wav](sample.wav), open *POST /transcribe* below, press *Try it
out*, choose the file, press *Execute*; every other field may stay as it is. Or in a terminal:

    curl -O http://localhost:8000/sample.wav
    curl -F file=@sample.wav http://localhost:8000/transcribe

**Errors** have one shape everywhere: `{"error": {"code", "message", ...}}`. Branch on `code`,
show `message`. With a `Retry-After` header, the same request can succeed later.
"""


def describe(fronts: Iterable[Front]) -> str:
    """What /docs begins with, as Markdown."""
    return _INTRODUCTION + "".join(front.guide for front in fronts)


def tags(fronts: Iterable[Front]) -> list[dict[str, str]]:
    """The headings of /docs, in their order."""
    own = [front.tags for front in fronts]
    return [
        {"name": name, "description": text} for part in (*own, _TAGS) for name, text in part.items()
    ]


def add_docs(app: FastAPI, settings: Settings, decoder: Decoder) -> None:
    """Serve /docs, and tell the OpenAPI document what only the settings know."""
    assets = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    app.mount("/docs/assets", assets, name="docs-assets")
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            schemas = schema["components"]["schemas"]
            for body in schemas.values():
                field = body.get("properties", {}).get("model_size")
                if field is not None and "model_size" not in body.get("required", ()):
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
