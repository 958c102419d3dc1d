"""Reads the multipart forms that clients really send, and says of others what is wrong with them.

RFC 7578 and RFC 2046, section 5.1.1, with one liberty: the part `file` is a file, also where it has
no `filename`, or only the `filename*` that some HTTP libraries send for names that are not ASCII.
The parsing itself is Starlette's and python-multipart's.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, BinaryIO

from fastapi.routing import APIRoute
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from whisper_service.api.http.errors import missing_file, shown
from whisper_service.errors import InvalidRequest

MULTIPART = "multipart/form-data"
MAX_TEXT_BYTES = 1024 * 1024
"""Of a field that is no file: they are kept in memory."""

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class FormRoute(APIRoute):
    """A route that takes a file in a form: `APIRouter(route_class=FormRoute)`."""

    def get_route_handler(self) -> Handle:
        """Read the form first: FastAPI tells every failure in it as "an error parsing the body"."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_then_handle(request: Request) -> Response:
            request = _FormRequest(request.scope, request.receive)
            await request.form()
            return await handle(request)

        return read_then_handle


def is_multipart(content_type: str) -> bool:
    """Whether the value of a Content-Type header is that of a multipart form, in any case."""
    return parse_options_header(content_type)[0] == MULTIPART.encode()


async def real_file(upload: UploadFile) -> BinaryIO:
    """The upload with a descriptor that ffmpeg can seek in; small ones are in memory until here."""
    if not upload.filename and not upload.size:
        raise missing_file()  # what a browser sends when no file was chosen
    await asyncio.to_thread(upload.file.fileno)  # makes a spooled file a real one
    return upload.file


class _FormRequest(Request):
    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None:
            content_type = self.headers.get("content-type", "")
            if not is_multipart(content_type):
                raise missing_file(content_type)
            self._form = await _read(self)
        return self._form


async def _read(request: Request) -> FormData:
    """The fields and files; raises `InvalidRequest`."""
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise InvalidRequest(
            "The content type multipart/form-data comes without its boundary. HTTP libraries set"
            " both where the header Content-Type is left to them."
        )
    parser = _Parser(request, boundary)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(_explain(error, parser.field)) from None


def _explain(error: MultiPartException, field: str) -> str:
    cause = error.__cause__
    if isinstance(cause, FormParserError):
        return f"The body is no well-formed multipart form: {cause}."
    if error.message.startswith("Part exceeded"):
        return f"`{shown(field)}` has more than {MAX_TEXT_BYTES:,} bytes, the most for a text."
    return error.message


class _Parser(MultiPartParser):
    def __init__(self, request: Request, boundary: bytes) -> None:
        self._boundary = boundary
        self._has_ended = False
        super().__init__(
            request.headers, self._checked(request.stream()), max_part_size=MAX_TEXT_BYTES
        )

    @property
    def field(self) -> str:
        """The name of the part that is being read."""
        return self._current_part.field_name

    def on_headers_finished(self) -> None:
        part = self._current_part
        options = parse_options_header(part.content_disposition)[1]
        if options.get(b"name") == b"file" and b"filename" not in options:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()

    def on_end(self) -> None:
        self._has_ended = True

    async def _checked(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The body from its first boundary on: what stands before is for people. Raises at its end
        if the last boundary did not come; the parser then closes what it has opened."""
        first = b"\n--" + self._boundary
        has_begun, before = False, b"\n"
        async for chunk in stream:
            if not has_begun:
                chunk = before + chunk
                at = chunk.find(first)
                has_begun, before = at >= 0, chunk[-len(first) :]
                chunk = chunk[at + 1 :] if has_begun else b""
            yield chunk
        if has_begun and not self._has_ended:
            raise InvalidRequest(
                f"The form breaks off: its last boundary, '--{_text(self._boundary)}--', did not"
                " come. Was the upload cut short?"
            )
        if not has_begun and before != b"\n":
            raise InvalidRequest(
                f"The boundary of the content type, '{_text(self._boundary)}', is nowhere in the"
                " body. HTTP libraries set it where the header Content-Type is left to them."
            )


def _text(boundary: bytes) -> str:
    return str(shown(boundary.decode("latin-1")))
