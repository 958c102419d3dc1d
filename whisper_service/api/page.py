"""The web client at `/`, and the sample to try things with."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse
from starlette.responses import Response

PACKAGE = Path(__file__).parents[1]
SAMPLE = PACKAGE / "assets" / "sample.wav"
PAGES = (PACKAGE.parent / "whisper_client.html", PACKAGE / "assets" / "whisper_client.html")
"""Where the page is: beside the package in a checkout and in the image, inside it in a wheel."""

INLINE_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script\b", re.DOTALL | re.IGNORECASE)
"""Hashed as served, not as built: a page that an operator has edited runs, too."""

NO_PAGE = """<!doctype html><html lang="en"><title>Whisper Streaming</title>
<h1>The web client is not installed</h1>
<p>whisper_client.html is not beside the service. Everything else works: see <a href="docs">the
API's documentation</a>.</p></html>"""


def page_router() -> APIRouter:
    """The routes that people open in a browser."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        path = next((path for path in PAGES if path.is_file()), None)
        if path is None:
            return HTMLResponse(NO_PAGE, status_code=404)
        html, policy = _page(path, path.stat().st_mtime_ns)
        headers = {
            "Content-Security-Policy": policy,
            "Permissions-Policy": "microphone=(self), display-capture=(self), camera=()",
            "Cache-Control": "no-cache",
        }
        return HTMLResponse(html, headers=headers)

    return router


def sample_router() -> APIRouter:
    """The route of the bundled recording."""
    router = APIRouter(tags=["what there is"])

    @router.get(
        "/sample.wav",
        summary="Download a sample",
        response_class=FileResponse,
        responses={200: {"content": {"audio/wav": {}}, "description": "A few spoken words."}},
    )
    async def sample() -> FileResponse:
        """A few spoken words, to try everything else with."""
        return FileResponse(SAMPLE, media_type="audio/wav", filename="sample.wav")

    return router


@cache
def _page(path: Path, changed: int) -> tuple[str, str]:
    """The page and its policy; read again when the file has changed."""
    html = path.read_text(encoding="utf-8")
    return html, content_security_policy(html)


def content_security_policy(html: str) -> str:
    """Only the scripts that are in the page may run, by their hashes: injected ones can not.

    The page is one file, so style attributes are allowed; a worklet and recordings are blobs made
    by the page itself; 'self' covers the socket to the same host (CSP 3, section 6.7.2.8).
    """
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in INLINE_SCRIPT.findall(html))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts} blob:".replace("  ", " "),
            "worker-src blob:",
            "style-src 'unsafe-inline'",
            "connect-src 'self' blob: data:",
            "img-src 'self' data: blob:",
            "media-src 'self' blob: data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digest(text: str) -> str:
    # Browsers hash what the parser gives them, and that has line ends of one character.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
