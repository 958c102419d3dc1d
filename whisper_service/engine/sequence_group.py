"""One request in the batch: its slot and lines, its decodes from the first temperature to the last.

Host-side bookkeeping, no device work. `Batch` feeds it candidates and asks where its rows are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer
from whisper.utils import compression_ratio

from whisper_service.engine.fallback import Result, best, needs_fallback
from whisper_service.engine.logit_filters import LogitFilters, TokenConstraints
from whisper_service.engine.prompt import Prompt, has_timestamps
from whisper_service.engine.request import Request
from whisper_service.engine.sampling import BeamSearch, Candidate, Sampling, Search, SpecialTokens
from whisper_service.types import DecodeJob, DecodeOptions, LanguageDetection

_SEED = 0
"""Sampling is seeded per job: the same audio gives the same words whatever else is in the batch."""


def width(options: DecodeOptions) -> int:
    """The most rows a job takes at any of its temperatures."""
    sampled = options.best_of or 1 if max(options.temperatures) > 0 else 1
    searched = options.beam_size or 1 if 0.0 in options.temperatures else 1
    return max(sampled, searched)


@dataclass(slots=True, eq=False)
class SequenceGroup:
    """A request that has a slot for its window and a line for each of its rows."""

    request: Request
    lines: list[int]
    tokenizer: Tokenizer
    detection: LanguageDetection
    prompt: Prompt
    n_text_ctx: int
    no_speech: Tensor | None = None
    """float32 []: the probability that nobody speaks, on the device until it is asked for."""
    first_logits: Tensor | None = None
    """float32 [1 + n, V], unmasked: at the prompt's end, what every temperature begins with; and
    after each of the draft's n tokens, until those are followed."""
    slot: int = field(init=False)
    """The number of its first line, too."""
    search: Search = field(init=False)
    generator: torch.Generator | None = None
    _attempt: int = -1
    _failed: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slot = self.lines[0]

    @property
    def prompt_line(self) -> int:
        """Where the keys and values of the prompt are, for all its rows."""
        return self.slot

    @property
    def job(self) -> DecodeJob:
        return self.request.job

    @property
    def is_timed(self) -> bool:
        return has_timestamps(self.job)

    @property
    def has_more_temperatures(self) -> bool:
        return self._attempt + 1 < len(self.job.options.temperatures)

    @property
    def position(self) -> int:
        """Where the rows' last tokens belong in the decoder's context."""
        return len(self.prompt.tokens) + len(self.search.rows[0].tokens) - 1

    def begin(self, device: torch.device) -> None:
        """Set up the decode at the next temperature."""
        self._attempt += 1
        temperature = self.job.options.temperatures[self._attempt]
        self.search = self._search(temperature)
        if temperature > 0 and self.generator is None:
            self.generator = torch.Generator(device).manual_seed(_SEED)

    def constraints(self, filters: LogitFilters) -> list[TokenConstraints]:
        """What may come next in each of its rows."""
        return [
            filters.constraints(beam.tokens, beam.last_time, is_timed=self.is_timed)
            for beam in self.search.rows
        ]

    def advance(self, candidates: Sequence[Sequence[Candidate]]) -> list[tuple[int, int]]:
        """Take the rows' candidates; answer whose past each row's line takes over, if not its own.

        -> (line, line it takes over from) pairs.
        """
        was = self.lines[: len(candidates)]
        sources = [was[row] for row in self.search.advance(candidates)]
        if self.search.temperature > 0 or len(sources) == len(was) == 1:
            # Independent rows keep their lines; those that have ended are free for nobody else
            # before the job is done.
            self.lines = sources + [line for line in self.lines if line not in sources]
            return []
        pairs = zip(self.lines, sources, strict=False)
        return [(line, source) for line, source in pairs if line != source]

    def result(self) -> Result:
        """The finished decode's."""
        best = self.search.best()
        text = self.tokenizer.decode(list(best.tokens)).strip()
        return Result(
            tokens=best.tokens,
            avg_logprob=best.sum_logprob / (len(best.tokens) + 1),
            no_speech_prob=0.0 if self.no_speech is None else float(self.no_speech),
            compression_ratio=compression_ratio(text),
            temperature=self.search.temperature,
        )

    def judge(self, result: Result) -> Result | None:
        """What the job gets: `result` if it is good enough, the best one if there is no other
        temperature to try; None: try that."""
        if not needs_fallback(result, self.job.options):
            return result
        self._failed.append(result)
        return None if self.has_more_temperatures else best(self._failed, self.job.options)

    def _search(self, temperature: float) -> Search:
        options = self.job.options
        special = SpecialTokens(self.tokenizer.eot, self.tokenizer.timestamp_begin)
        half = self.n_text_ctx // 2
        room = self.n_text_ctx + 1 - len(self.prompt.tokens)
        max_tokens = max(1, min(options.max_tokens or half, half, room))
        if temperature > 0:
            n = options.best_of or 1
            return Sampling(special, max_tokens, temperature, n, options.length_penalty)
        if options.beam_size is not None:
            patience = options.patience or 1.0
            return BeamSearch(
                special, max_tokens, options.beam_size, patience, options.length_penalty
            )
        return Sampling(special, max_tokens)
