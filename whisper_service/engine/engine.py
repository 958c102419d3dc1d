"""Jobs in, hypotheses out: one model, behind a face that says nothing of how it decodes.

Owns the order of the steps. Not thread-safe: one thread decodes (scheduler.py). Refuses to know
who asked, and what a job's audio is a part of.
"""

from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from whisper.decoding import DecodingResult, detect_language
from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from whisper_service.engine import fallback, features, prompt, segments, words
from whisper_service.engine.model import (
    Device,
    Dtype,
    ensure_weights,
    load_model,
    resolve_device,
    resolve_dtype,
)
from whisper_service.errors import (
    InvalidAudio,
    InvalidParameter,
    ServiceError,
    UnknownLanguage,
)
from whisper_service.types import (
    SAMPLE_RATE,
    TASKS,
    WINDOW_SAMPLES,
    WINDOW_SECONDS,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    LanguageDetection,
    Segment,
    Task,
)

_TONE: Audio = 0.1 * np.sin(
    np.arange(SAMPLE_RATE, dtype=np.float32) * np.float32(2 * np.pi * 440 / SAMPLE_RATE)
)
"""A second of sound to warm up with."""


class Engine:
    """A loaded model that decodes batches of windows."""

    def __init__(self, name: str, model: Whisper, dtype: torch.dtype = torch.float32) -> None:
        self.name = name
        self._model = model
        self._dtype = dtype
        self._languages: tuple[str, ...] = tuple(LANGUAGES)[: model.num_languages]

    @property
    def is_multilingual(self) -> bool:
        """Whether it knows any language but English."""
        return bool(self._model.is_multilingual)

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it knows."""
        return self._languages if self.is_multilingual else ("en",)

    def batch_key(self, job: DecodeJob) -> Hashable:
        """Jobs with equal keys are decoded as one batch."""
        return (job.options, job.previous_text)

    @torch.inference_mode()
    def decode(self, jobs: Sequence[DecodeJob]) -> list[Hypothesis | ServiceError]:
        """Answer each job, in order; a job that cannot be decoded is answered with its error."""
        answers: dict[int, Hypothesis | ServiceError] = {}
        for index, job in enumerate(jobs):
            if error := self._refusal(job):
                answers[index] = error
        accepted = [index for index in range(len(jobs)) if index not in answers]
        if accepted:
            audios = [jobs[index].audio for index in accepted]
            encoded = dict(zip(accepted, self._encode(audios), strict=True))
            for group in self._groups(jobs, accepted):
                batch = torch.stack([encoded[index] for index in group])
                hypotheses = self._decode_batch([jobs[index] for index in group], batch)
                answers.update(zip(group, hypotheses, strict=True))
        return [answers[index] for index in range(len(jobs))]

    @torch.inference_mode()
    def detect_language(self, audio: Audio) -> LanguageDetection:
        """Say which language the first 30 s of `audio` are in. Raises `InvalidAudio`."""
        window = audio[:WINDOW_SAMPLES]
        if error := _bad_audio(window):
            raise error
        return self._languages_of(self._encode([window]), None)[0]

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Decode and align a window, so that lazy start-up work does not wait for a request.

        The alignment's inner loop alone takes 3 s to compile (numba).
        """
        options = DecodeOptions(language="en", temperatures=(0.0,), max_tokens=4)
        (answer,) = self.decode([DecodeJob(_TONE, options)])
        if isinstance(answer, ServiceError):
            raise answer
        tokenizer = self._tokenizer("transcribe", "en")
        spoken = Segment(0, 0.0, 1.0, " one two", tokens=tuple(tokenizer.encode(" one two")))
        encoded = self._encode([_TONE])[0]
        words.align(self._model, tokenizer, encoded, features.n_frames(_TONE), [spoken], 1.0)

    def _refusal(self, job: DecodeJob) -> ServiceError | None:
        return _bad_audio(job.audio) or self._bad_options(job.options)

    def _bad_options(self, options: DecodeOptions) -> ServiceError | None:
        if options.task not in TASKS:
            return _bad("task", options.task, ", ".join(TASKS))
        if options.task == "translate" and not self.is_multilingual:
            allowed = f"transcribe; {self.name} knows only English and cannot translate"
            return _bad("task", options.task, allowed)
        if options.beam_size is not None and options.beam_size < 1:
            return _bad("beam_size", options.beam_size, "1 and more, or none for greedy")
        if options.max_tokens is not None and options.max_tokens < 1:
            return _bad("max_tokens", options.max_tokens, "1 and more")
        if not options.temperatures or min(options.temperatures) < 0:
            return _bad("temperature", options.temperatures, "one or more numbers from 0 on")
        if options.language is not None and options.language not in self.languages:
            return UnknownLanguage(
                f"Model {self.name!r} does not know the language {options.language!r}."
                f" Languages: {', '.join(self.languages)}.",
                param="language",
                got=options.language,
                allowed=list(self.languages),
            )
        return None

    def _groups(self, jobs: Sequence[DecodeJob], accepted: list[int]) -> Iterator[list[int]]:
        """Yield the indices of jobs that can be decoded together."""
        keys = {index: self.batch_key(jobs[index]) for index in accepted}
        order = {key: rank for rank, key in enumerate(dict.fromkeys(keys.values()))}
        ranked = sorted(accepted, key=lambda index: order[keys[index]])
        for _, group in groupby(ranked, key=lambda index: order[keys[index]]):
            yield list(group)

    def _encode(self, audios: Sequence[Audio]) -> torch.Tensor:
        """Return features [B, 1500, n_state]."""
        dims, device = self._model.dims, self._model.device
        mels = features.log_mels(audios, dims.n_mels, device)
        encoded: torch.Tensor = self._model.encoder(mels.to(self._dtype))
        return encoded

    def _decode_batch(self, jobs: Sequence[DecodeJob], encoded: torch.Tensor) -> list[Hypothesis]:
        """Decode jobs of one key together."""
        options = jobs[0].options
        detections = self._languages_of(encoded, options.language)
        languages = [detection.language for detection in detections]
        tokens = prompt.prompt_tokens(
            self._tokenizer(options.task, languages[0]),  # words are spelt alike in all languages
            options.prompt,
            jobs[0].previous_text,
            n_text_ctx=self._model.dims.n_text_ctx,
        )
        results = fallback.decode_with_fallback(self._model, encoded, options, languages, tokens)
        return [
            Hypothesis(
                language=detection.language,
                language_probability=detection.probability,
                segments=self._segments(job, row, result),
            )
            for job, row, detection, result in zip(jobs, encoded, detections, results, strict=True)
        ]

    def _languages_of(
        self, encoded: torch.Tensor, language: str | None
    ) -> Sequence[LanguageDetection]:
        """Detect each row's language, unless it is given or the model has only one."""
        if language is None and self.is_multilingual:
            _, rows = detect_language(self._model, encoded)
            return [_detection(probabilities) for probabilities in rows]
        known = language or "en"
        return [LanguageDetection(known, 1.0, {known: 1.0})] * len(encoded)

    def _segments(
        self, job: DecodeJob, encoded: torch.Tensor, result: DecodingResult
    ) -> tuple[Segment, ...]:
        if fallback.is_silence(result, job.options):
            return ()
        tokenizer = self._tokenizer(job.options.task, result.language)
        duration = len(job.audio) / SAMPLE_RATE
        found = _segments(tokenizer, result, duration)
        if not found or job.options.timestamps != "word":
            return found
        frames = features.n_frames(job.audio)
        return words.align(self._model, tokenizer, encoded, frames, found, duration)

    def _tokenizer(self, task: Task, language: str) -> Tokenizer:
        return get_tokenizer(
            self.is_multilingual,
            num_languages=self._model.num_languages,
            language=language,
            task=task,
        )


def load_engine(
    name: str,
    model_dir: Path,
    *,
    device: Device = "auto",
    dtype: Dtype = "auto",
    can_download: bool = True,
    download_timeout: float = 30.0,
) -> Engine:
    """Find or download a model's weights and load them. Raises `UnknownModel`,
    `ModelUnavailable`."""
    path = ensure_weights(
        name, model_dir, can_download=can_download, download_timeout=download_timeout
    )
    where = resolve_device(device)
    arithmetic = resolve_dtype(dtype, where)
    return Engine(name, load_model(name, path, where, arithmetic), arithmetic)


def _segments(tokenizer: Tokenizer, result: DecodingResult, duration: float) -> tuple[Segment, ...]:
    """Turn a decode's tokens into segments; those without text are left out."""
    found: list[Segment] = []
    for span in segments.split(result.tokens, tokenizer.timestamp_begin, duration):
        text = tokenizer.decode([token for token in span.tokens if token < tokenizer.eot])
        if not text.strip():
            continue
        found.append(
            Segment(
                id=len(found),
                start=span.start,
                end=max(span.start, span.end),
                text=text,
                tokens=span.tokens,
                avg_logprob=float(result.avg_logprob),
                no_speech_prob=float(result.no_speech_prob),
                compression_ratio=float(result.compression_ratio),
                temperature=float(result.temperature),
            )
        )
    return tuple(found)


def _detection(probabilities: dict[str, float]) -> LanguageDetection:
    language = max(probabilities, key=probabilities.__getitem__)
    return LanguageDetection(language, probabilities[language], probabilities)


def _bad_audio(audio: Audio) -> InvalidAudio | None:
    if audio.ndim != 1 or audio.dtype != np.float32 or not 0 < len(audio) <= WINDOW_SAMPLES:
        return InvalidAudio(
            f"A window is mono float32 of up to {WINDOW_SECONDS} s at 16 kHz, and not empty;"
            f" got {audio.dtype} of shape {list(audio.shape)}."
        )
    if not np.isfinite(audio).all():
        return InvalidAudio("The audio holds samples that are not finite numbers.")
    return None


def _bad(param: str, got: object, allowed: str) -> InvalidParameter:
    return InvalidParameter(
        f"{param} cannot be {got!r}. Allowed: {allowed}.",
        param=param,
        got=got,
        allowed=allowed,
    )
