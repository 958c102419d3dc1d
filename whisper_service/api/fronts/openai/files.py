"""POST /v1/audio/transcriptions and /v1/audio/translations."""

from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.files.errors import FILE_ERRORS
from whisper_service.api.files.events import EventsResponse, SendEvent
from whisper_service.api.files.kept_open import KeptOpenResponse
from whisper_service.api.files.multipart import MULTIPART, FormRoute, real_file
from whisper_service.api.files.transcription import Progress, Transcriber
from whisper_service.api.fronts.openai.answers import Deltas, render, token_usage
from whisper_service.api.fronts.openai.errors import error_answer
from whisper_service.api.fronts.openai.extensions import ignored_fields, ignored_header
from whisper_service.api.fronts.openai.forms import SpeechForm, TranscriptionForm, TranslationForm
from whisper_service.api.fronts.openai.schemas import (
    OTHER_ERRORS,
    STREAMED_EXAMPLES,
    TRANSCRIPTION_EXAMPLES,
    OpenAIErrorBody,
)
from whisper_service.api.http.params import refuse_repeats
from whisper_service.api.http.request import facts_of
from whisper_service.api.http.responses import errors
from whisper_service.api.tasks import unless_client_leaves
from whisper_service.settings import Settings

_ERRORS = errors(*FILE_ERRORS, shape=error_answer, model=OpenAIErrorBody) | OTHER_ERRORS


def openai_files_router(
    settings: Settings, decoder: Decoder, transcriber: Transcriber
) -> APIRouter:
    """The routes of OpenAI's audio API that take a file."""
    router = APIRouter(prefix="/v1/audio", tags=["OpenAI"], route_class=FormRoute)
    speech = _Speech(settings, decoder, transcriber)
    find_ignored = Depends(ignored_fields(settings))

    @router.post(
        "/transcriptions",
        summary="Transcribe a file, as OpenAI's API does",
        response_class=Response,
        dependencies=[Depends(refuse_repeats(TranscriptionForm))],
        responses={200: STREAMED_EXAMPLES, **_ERRORS},
    )
    async def transcriptions(
        form: Annotated[TranscriptionForm, Form(media_type=MULTIPART)],
        request: Request,
        ignored: Annotated[tuple[str, ...], find_ignored],
    ) -> Response:
        """Turn speech in an audio or video file into text in its own language.

        Parameters of OpenAI's API that are not listed here cannot be honoured, and are refused.
        Those of other servers that have no effect are named in the header `X-Ignored-Fields`.
        """
        headers = ignored_header(ignored)
        return await speech.answer(form, request, headers, is_streamed=form.stream)

    @router.post(
        "/translations",
        summary="Translate a file into English, as OpenAI's API does",
        response_class=Response,
        dependencies=[Depends(refuse_repeats(TranslationForm))],
        responses={200: TRANSCRIPTION_EXAMPLES, **_ERRORS},
    )
    async def translations(
        form: Annotated[TranslationForm, Form(media_type=MULTIPART)],
        request: Request,
        ignored: Annotated[tuple[str, ...], find_ignored],
    ) -> Response:
        """Turn speech in any language into English text."""
        return await speech.answer(form, request, ignored_header(ignored), is_streamed=False)

    return router


class _Speech:
    """Answers a form: whole, or as it is decoded."""

    def __init__(self, settings: Settings, decoder: Decoder, transcriber: Transcriber) -> None:
        self._settings = settings
        self._decoder = decoder
        self._transcriber = transcriber

    async def answer(
        self, form: SpeechForm, request: Request, headers: dict[str, str], *, is_streamed: bool
    ) -> Response:
        model = await resolve_model(self._decoder, self._settings, form.model)
        options = form.options()
        await check_model(self._decoder, model, options.decode)
        file, deadline = await real_file(form.file), facts_of(request.scope).deadline
        if is_streamed:
            return self._events(file, model, form, deadline, headers)

        async def whole() -> Response:
            transcript = await self._transcriber.transcribe(file, model, options, deadline)
            body, media_type = render(transcript, form.response_format)
            return Response(body, media_type=media_type, headers=headers)

        if form.keep_open:
            return KeptOpenResponse(whole, headers)
        return await unless_client_leaves(request.receive, whole())

    def _events(
        self,
        file: BinaryIO,
        model: str,
        form: SpeechForm,
        deadline: float,
        headers: dict[str, str],
    ) -> EventsResponse:
        async def work(send_event: SendEvent) -> None:
            deltas = Deltas()

            async def report(progress: Progress) -> None:
                if delta := deltas.next(progress.segments):
                    kind = "transcript.text.delta"
                    await send_event(kind, {"type": kind, "delta": delta})

            transcript = await self._transcriber.transcribe(
                file, model, form.options(), deadline, report
            )
            kind = "transcript.text.done"
            usage = token_usage(transcript)
            await send_event(kind, {"type": kind, "text": transcript.text, "usage": usage})

        return EventsResponse(work, headers, has_names=False)
