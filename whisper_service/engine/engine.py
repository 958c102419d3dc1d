"""Jobs in, hypotheses out: one model, behind a face that says nothing of how it decodes.

Owns what a job means to the model: its language, its prompt, its words. Not thread-safe: one
thread decodes (worker.py). Refuses to know who asked, and what a job's audio is a part of.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from whisper_service.engine import cache, features, footprint, words
from whisper_service.engine.batch import Batch, Finished
from whisper_service.engine.cpu import compiled_attention, key_panel
from whisper_service.engine.cuda_graphs import CudaGraphBackend, CudaRecorder, Recorder
from whisper_service.engine.decoder import Decoder
from whisper_service.engine.device import Device, resolve_device, to_device
from whisper_service.engine.eager import EagerBackend
from whisper_service.engine.encoder import encode
from whisper_service.engine.fallback import Result, is_silence
from whisper_service.engine.logit_filters import LogitFilters
from whisper_service.engine.model import load_model
from whisper_service.engine.precision import EXACT, Dtype, Precision, resolve_precision
from whisper_service.engine.prompt import make_prompt, prefix_tokens
from whisper_service.engine.request import Request
from whisper_service.engine.scheduler import Admit, QueuedRequest, Scheduler
from whisper_service.engine.segments import to_segments
from whisper_service.engine.sequence_group import SequenceGroup, width
from whisper_service.engine.validation import audio_error, options_error
from whisper_service.engine.weights import decoder_weights, encoder_weights
from whisper_service.errors import ModelUnavailable, ServiceError
from whisper_service.models.store import ModelStore
from whisper_service.models.weight_files import Weights
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    LanguageDetection,
    Segment,
    Task,
)

logger = logging.getLogger(__name__)

_TONE: Audio = 0.1 * np.sin(
    np.arange(SAMPLE_RATE, dtype=np.float32) * np.float32(2 * np.pi * 440 / SAMPLE_RATE)
)
"""A second of sound to warm up with."""
_STEP = 2 * SAMPLE_RATE
"""What is encoded of a window comes in these steps: torch prepares each shape's products once."""


class Engine:
    """A loaded model that decodes windows, any number of them together."""

    def __init__(
        self,
        name: str,
        model: Whisper,
        precision: Precision = EXACT,
        *,
        max_batch_size: int = 8,
        recorder: Recorder | None = None,
    ) -> None:
        self.name = name
        self.dims = model.dims
        self.is_multilingual: bool = bool(model.is_multilingual)
        self.n_parameters = sum(parameter.numel() for parameter in model.parameters())
        self._n_languages: int = model.num_languages
        self._device: torch.device = model.device
        self._alignment_heads: list[tuple[int, int]] = [
            (int(layer), int(head)) for layer, head in model.alignment_heads.indices().T.tolist()
        ]
        self._encoder = encoder_weights(model, precision)
        base = self._tokenizer("transcribe", "en")
        self.filters = LogitFilters(base, self.dims.n_vocab, self.dims.n_audio_ctx, self._device)
        self._decoder = decoder = Decoder(decoder_weights(model, precision))
        if self._device.type == "cuda":
            max_batch_size = self._fitting(precision, max_batch_size)
        self.max_batch_size = max_batch_size
        n_slots = footprint.n_slots(max_batch_size)
        n_lines = n_slots * footprint.LINES_PER_SLOT
        # One line more, for the places of a graph that hold no row.
        self._cache = self._allocate(n_slots, n_lines + 1)
        attention = compiled_attention(self._cache)
        if attention:
            self._decoder = decoder = replace(decoder, attention=attention)
        self._may_encode_less = attention is not None
        eager = EagerBackend(decoder, self._cache, self.filters)
        self.graphs = recorder and CudaGraphBackend(
            eager, decoder, self._cache, self.filters, recorder
        )
        self._batch = Batch(self.graphs or eager, self._cache, n_lines, self.filters)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it knows."""
        return tuple(LANGUAGES)[: self._n_languages] if self.is_multilingual else ("en",)

    @property
    def cache_bytes(self) -> int:
        """Memory taken for keys and values, however many windows are decoded."""
        return self._cache.n_bytes

    # --- one batch at a time

    def decode(self, jobs: Sequence[DecodeJob]) -> list[Hypothesis | ServiceError]:
        """Answer each job, in order; a job that cannot be decoded is answered with its error.

        For whoever has the engine alone: nothing else may be decoded by it meanwhile.
        """
        requests = [Request(job) for job in jobs]
        scheduler = Scheduler(
            max_batch_size=self.max_batch_size, batch_wait=0.0, max_queued=len(requests)
        )
        for request in requests:
            if not self.refuse(request):
                scheduler.add(QueuedRequest(self, request))
        while isinstance(decision := scheduler.schedule(now=0.0), Admit):
            if decision.queued:
                self.admit([queued.request for queued in decision.queued])
            else:
                self.step()
            scheduler.take_done()
        return [request.outcome for request in requests if request.outcome is not None]

    # --- step by step

    @property
    def n_jobs(self) -> int:
        """Jobs being decoded."""
        return self._batch.n_groups

    @property
    def n_rows(self) -> int:
        """Rows the next step decodes a token for."""
        return self._batch.n_rows

    @property
    def encode_batch(self) -> int:
        """Windows the encoder takes at once. One fills a CPU's cores; a GPU wants several."""
        return 1 if self._device.type == "cpu" else min(self.max_batch_size, footprint.MAX_ENCODED)

    def refuse(self, request: Request) -> bool:
        """Answer a job that cannot be decoded with its error."""
        job = request.job
        widest = self._batch.max_width
        request.outcome = audio_error(job.audio) or options_error(job, self, max_width=widest)
        return request.outcome is not None

    def has_room(self, *requests: Request) -> bool:
        """Whether `admit` may be called with these requests now."""
        return self._batch.has_room([width(request.job.options) for request in requests])

    @torch.inference_mode()
    def admit(self, requests: Sequence[Request]) -> None:
        """Begin to decode jobs that were not refused and for which there is room: encode their
        windows, prefill their prompts. A job that is done then has its request's outcome."""
        allocated = self._batch.allocate([width(request.job.options) for request in requests])
        self._write_windows(requests, [lines[0] for lines in allocated])
        groups = [
            self._open(request, lines) for request, lines in zip(requests, allocated, strict=True)
        ]
        self._finish(self._batch.prefill(groups))

    @torch.inference_mode()
    def step(self) -> None:
        """Decode a token for every row. A job that is done then has its request's outcome."""
        self._finish(self._batch.decode())

    def cancel(self, request: Request) -> None:
        """Drop a job that is being decoded; its slot is free at once."""
        self._batch.cancel(request)

    def reset(self) -> None:
        """Drop all jobs."""
        self._batch.reset()

    # --- other questions

    @torch.inference_mode()
    def detect_language(self, audio: Audio) -> LanguageDetection:
        """Say which language the first 30 s of `audio` are in. Raises `InvalidAudio`."""
        window = audio[:WINDOW_SAMPLES]
        if error := audio_error(window):
            raise error
        scratch = self._allocate(1, 1)
        self._decoder.write_cross_kv(scratch, self._encode([window]), [0])
        return self._detect(scratch, 0, 0, None)

    def warm_up(self) -> None:
        """Decode and align a window, so that lazy start-up work does not wait for a request.

        The first alignment also starts numba's pool of threads, which sets OpenMP's number of them,
        and so torch's, to all the machine's cores.
        """
        n_threads = torch.get_num_threads()
        options = DecodeOptions(language="en", temperatures=(0.0,), max_tokens=4)
        (answered,) = self.decode([DecodeJob(_TONE, options)])
        if isinstance(answered, ServiceError):
            raise answered
        self._warm_up_words()
        torch.set_num_threads(n_threads)

    @torch.inference_mode()
    def _warm_up_words(self) -> None:
        tokenizer = self._tokenizer("transcribe", "en")
        spoken = Segment(0, 0.0, 1.0, " one two", tokens=tuple(tokenizer.encode(" one two")))
        scratch = self._allocate(1, 1)
        self._align(scratch, 0, 0, tokenizer, _TONE, [spoken])

    def _allocate(self, n_slots: int, n_lines: int) -> cache.Cache:
        dtype, device = self._decoder.weights.dtype, self._device
        panel = key_panel(self.dims, dtype, device)
        return cache.allocate(self.dims, n_slots, n_lines, dtype, device, panel=panel)

    # --- what a job means to the model

    def _write_windows(self, requests: Sequence[Request], slots: Sequence[int]) -> None:
        """Encode the requests' windows into the slots."""
        jobs = [request.job for request in requests]
        n_samples = max(map(self._n_samples, jobs))
        encoded = self._encode([job.audio for job in jobs], n_samples)
        self._decoder.write_cross_kv(self._cache, encoded, slots)

    def _open(self, request: Request, lines: list[int]) -> SequenceGroup:
        """Find out the language of a window that is in its slot, and make the prompt."""
        options = request.job.options
        detection = self._language(lines[0], options)
        tokenizer = self._tokenizer(options.task, detection.language)
        prompt = make_prompt(tokenizer, request.job, n_text_ctx=self.dims.n_text_ctx)
        return SequenceGroup(request, lines, tokenizer, detection, prompt, self.dims.n_text_ctx)

    def _language(self, slot: int, options: DecodeOptions) -> LanguageDetection:
        detection = self._detect(self._cache, slot, slot, options.language)
        if options.language is not None:
            return detection
        return detection.among(options.allowed_languages).or_likely(options.likely_language)

    def _finish(self, finished: Sequence[Finished]) -> None:
        """Answer the requests of groups that are over, and give their slots back."""
        for done in finished:
            done.group.request.outcome = self.to_hypothesis(done.group, done.result)
            self._batch.release(done.group)

    def to_hypothesis(self, group: SequenceGroup, result: Result) -> Hypothesis:
        """What a finished decode means; words are aligned with the window in the group's slot."""
        return Hypothesis(
            language=group.detection.language,
            language_probability=group.detection.probability,
            segments=self._segments(group, result),
        )

    def _segments(self, group: SequenceGroup, result: Result) -> tuple[Segment, ...]:
        job = group.job
        if is_silence(result, job.options):
            return ()
        found = to_segments(group.tokenizer, result, len(job.audio) / SAMPLE_RATE)
        if not found or job.options.timestamps != "word":
            return found
        place = (group.slot, group.prompt_line)
        if not (prefix := prefix_tokens(group.tokenizer, job, n_text_ctx=self.dims.n_text_ctx)):
            return self._align(self._cache, *place, group.tokenizer, job.audio, found)
        before = Segment(0, 0.0, found[0].end, group.tokenizer.decode(list(prefix)), tokens=prefix)
        aligned = self._align(self._cache, *place, group.tokenizer, job.audio, (before, *found))
        return words.without_prefix(aligned, before.text)

    def _n_samples(self, job: DecodeJob) -> int:
        """How much of the window is encoded, in steps of `_STEP`."""
        if job.padding is None or not self._may_encode_less:
            return WINDOW_SAMPLES
        wanted = len(job.audio) + int(job.padding * SAMPLE_RATE)
        return min(WINDOW_SAMPLES, -(-wanted // _STEP) * _STEP)

    def _encode(self, audios: Sequence[Audio], n_samples: int = WINDOW_SAMPLES) -> Tensor:
        """Return features [B, n_samples / 320, n_state]."""
        mels = features.log_mels(audios, self.dims.n_mels, self._device, n_samples)
        return encode(self._encoder, mels)

    def _detect(
        self, where: cache.Cache, slot: int, line: int, language: str | None
    ) -> LanguageDetection:
        """Detect the language in a slot, unless it is given or the model has only one.

        `line` is overwritten.
        """
        if language is not None or not self.is_multilingual:
            known = language or "en"
            return LanguageDetection(known, 1.0, {known: 1.0})
        tokenizer = self._tokenizer("transcribe", "en")
        sot = to_device([tokenizer.sot], self._device)
        states, _ = self._decoder.prefill(where, sot, line, slot)
        logits = self._decoder.logits(states)[0]
        codes = to_device(list(tokenizer.all_language_tokens), self._device)
        probs = logits[codes].softmax(-1).tolist()
        probabilities = dict(zip(tokenizer.all_language_codes, probs, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        return LanguageDetection(best, probabilities[best], probabilities)

    def _align(
        self,
        where: cache.Cache,
        slot: int,
        line: int,
        tokenizer: Tokenizer,
        audio: Audio,
        found: Sequence[Segment],
    ) -> tuple[Segment, ...]:
        """Find the words' times with one pass over their tokens. `line` is overwritten."""
        heads: defaultdict[int, list[int]] = defaultdict(list)
        for layer, head in self._alignment_heads:
            heads[layer].append(head)

        def score(tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
            states, scores = self._decoder.prefill(
                where, tokens.to(self._device), line, slot, heads
            )
            return self._decoder.logits(states).cpu(), [score.cpu() for score in scores]

        return words.align(
            score,
            self.dims,
            sorted(self._alignment_heads),
            tokenizer,
            features.n_frames(audio),
            found,
            len(audio) / SAMPLE_RATE,
        )

    def _fitting(self, precision: Precision, max_batch_size: int) -> int:
        """How many windows the GPU has memory for. Raises `ModelUnavailable` if for none."""
        free, _ = torch.cuda.mem_get_info(self._device)
        free += torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        fitting = footprint.windows_that_fit(self.dims, precision.dtype, max_batch_size, free)
        if not fitting:
            raise ModelUnavailable(
                f"Model {self.name!r} is loaded, but the GPU has no memory left for one window"
                f" ({footprint.n_bytes(self.dims, precision.dtype, 1) / 2**20:.0f} MiB;"
                f" {free / 2**20:.0f} MiB are free).",
                model=self.name,
            )
        if fitting < max_batch_size:
            logger.warning(
                "model %s: the GPU's free memory holds %d windows, not %d",
                *(self.name, fitting, max_batch_size),
            )
        return fitting

    def _tokenizer(self, task: Task, language: str) -> Tokenizer:
        return get_tokenizer(
            self.is_multilingual, num_languages=self._n_languages, language=language, task=task
        )


def load_engine(
    name: str,
    model_dir: Path,
    *,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_batch_size: int = 8,
) -> Engine:
    """Load a model that lies in a folder. Raises `UnknownModel`, `ModelUnavailable`."""
    weights = ModelStore(model_dir).ensure(name)
    return engine_from(name, weights, device=device, dtype=dtype, max_batch_size=max_batch_size)


def engine_from(
    name: str,
    weights: Weights,
    *,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_batch_size: int = 8,
) -> Engine:
    """Load `weights` as model `name`. Raises `ModelUnavailable`."""
    where = resolve_device(device)
    try:
        precision = resolve_precision(dtype, where)
    except ValueError as error:
        raise ModelUnavailable(
            f"Model {name!r} cannot be computed: {error}. Set WHISPER_DTYPE to another.", model=name
        ) from error
    # What is rounded to 8 bits is rounded once.
    stored = torch.float32 if precision.is_quantized else precision.dtype
    model = load_model(name, weights, where, stored)
    recorder = CudaRecorder(where) if where.type == "cuda" else None
    return Engine(name, model, precision, max_batch_size=max_batch_size, recorder=recorder)
