"""The two routes that take a file: POST /transcribe and POST /detect-language."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from pydantic import Field
from starlette.responses import Response

from whisper_service.api.catalog import check_model, resolve_model
from whisper_service.api.decoder import Decoder
from whisper_service.api.files.errors import FILE_ERRORS
from whisper_service.api.files.events import EventsResponse, SendEvent
from whisper_service.api.files.kept_open import KeptOpenResponse
from whisper_service.api.files.multipart import MULTIPART, FormRoute, real_file
from whisper_service.api.files.transcription import Detected, Progress, Transcriber
from whisper_service.api.fronts.native.guide import FORMAT_EXAMPLES
from whisper_service.api.http.params import refuse_repeats
from whisper_service.api.http.request import facts_of
from whisper_service.api.http.responses import errors
from whisper_service.api.schemas.base import Output
from whisper_service.api.schemas.forms import DetectForm, TranscribeForm
from whisper_service.api.tasks import unless_client_leaves
from whisper_service.formats import FORMATS, segment_fields, to_summary
from whisper_service.languages import LANGUAGES
from whisper_service.settings import Settings
from whisper_service.types import LanguageDetection, Transcript

N_LANGUAGES = 10
"""Languages told by /detect-language; the other ninety share what is left of one percent."""


class DetectionBody(Output):
    """The answer of /detect-language."""

    language: str = Field(
        description="Code of the likeliest language of the first speech; empty if there was none.",
        examples=["en"],
    )
    name: str = Field(description="Its English name.", examples=["english"])
    probability: float = Field(description="How sure that is, 0 to 1.", examples=[0.98])
    probabilities: dict[str, float] = Field(
        description="The ten likeliest languages, likeliest first.",
        examples=[{"en": 0.98, "de": 0.01}],
    )
    warnings: list[str] = Field(
        description="What was wrong with the audio; that no speech was heard, if none was.",
        examples=[[]],
    )


def files_router(settings: Settings, decoder: Decoder, transcriber: Transcriber) -> APIRouter:
    """The routes that take a file."""
    router = APIRouter(tags=["files"], route_class=FormRoute)

    @router.post(
        "/transcribe",
        summary="Transcribe a file",
        response_class=Response,
        dependencies=[Depends(refuse_repeats(TranscribeForm))],
        responses={200: FORMAT_EXAMPLES, **errors(*FILE_ERRORS)},
    )
    async def transcribe(
        form: Annotated[TranscribeForm, Form(media_type=MULTIPART)], request: Request
    ) -> Response:
        """Turn speech in an audio or video file into text.

        With `stream` the answer is a stream of server-sent events: `language` once it is known,
        `segment` for each finished stretch of text, `progress` {position, duration}, and at the
        end `done` with the whole text, or `error`.
        """
        model, options = await resolve_model(decoder, settings, form.model_size), form.options()
        await check_model(decoder, model, options.decode)
        file, deadline = await real_file(form.file), facts_of(request.scope).deadline
        if form.stream:

            async def stream(send_event: SendEvent) -> None:
                events = _ProgressEvents(send_event)
                transcript = await transcriber.transcribe(
                    file, model, options, deadline, events.report
                )
                await events.done(transcript)

            return EventsResponse(stream)

        async def whole() -> Response:
            transcript = await transcriber.transcribe(file, model, options, deadline)
            chosen = FORMATS[form.response_format]
            return Response(chosen.render(transcript), media_type=chosen.media_type)

        if form.keep_open:
            return KeptOpenResponse(whole)
        return await unless_client_leaves(request.receive, whole())

    @router.post(
        "/detect-language",
        summary="Detect the language of a file",
        dependencies=[Depends(refuse_repeats(DetectForm))],
        responses=errors(*FILE_ERRORS),
    )
    async def detect_language(
        form: Annotated[DetectForm, Form(media_type=MULTIPART)], request: Request
    ) -> DetectionBody:
        """Say which language the first speech in a file is in, as /transcribe would find it."""
        model = await resolve_model(decoder, settings, form.model_size)
        await check_model(decoder, model)
        file, options = await real_file(form.file), form.options()
        work = transcriber.detect_language(file, model, options, facts_of(request.scope).deadline)
        return _detection_body(await unless_client_leaves(request.receive, work))

    return router


def _detection_body(found: Detected) -> DetectionBody:
    detection = found.detection or LanguageDetection("", 0.0, {})
    ranked = sorted(detection.probabilities.items(), key=lambda item: item[1], reverse=True)
    return DetectionBody(
        language=detection.language,
        name=LANGUAGES.get(detection.language, detection.language),
        probability=detection.probability,
        probabilities=dict(ranked[:N_LANGUAGES]),
        warnings=list(found.warnings),
    )


class _ProgressEvents:
    """Sends a file's progress as named events."""

    def __init__(self, send_event: SendEvent) -> None:
        self._send_event = send_event
        self._has_language = False

    async def report(self, progress: Progress) -> None:
        if progress.language and not self._has_language:
            self._has_language = True
            await self._send_event(
                "language",
                {
                    "language": progress.language,
                    "language_probability": progress.language_probability,
                },
            )
        for segment in progress.segments:
            await self._send_event("segment", segment_fields(segment))
        await self._send_event(
            "progress",
            {"position": round(progress.position, 3), "duration": progress.duration},
        )

    async def done(self, transcript: Transcript) -> None:
        await self._send_event("done", to_summary(transcript))
