"""The tokens a decode begins with: what came before, what to do, the prefix."""

from dataclasses import dataclass

from whisper.tokenizer import Tokenizer

from whisper_service.types import DecodeJob


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder is given before it samples its first token."""

    tokens: tuple[int, ...]
    sot_index: int
    """Where `<|startoftranscript|>` stands; the probability of no speech is read there."""
    draft: tuple[int, ...] = ()
    """What it will probably sample first."""


def make_prompt(tokenizer: Tokenizer, job: DecodeJob, *, n_text_ctx: int) -> Prompt:
    """The whole prompt of a job whose language and task `tokenizer` carries."""
    options = job.options
    context = prompt_tokens(tokenizer, options.prompt, job.previous_text, n_text_ctx=n_text_ctx)
    before = (tokenizer.sot_prev, *context) if context else ()
    start = tokenizer.sot_sequence
    if not has_timestamps(job):
        start = tokenizer.sot_sequence_including_notimestamps
    prefix = prefix_tokens(tokenizer, job, n_text_ctx=n_text_ctx)
    tokens = (*before, *start, *prefix)
    draft = _draft_tokens(tokenizer, job)[: n_text_ctx - len(tokens)]
    return Prompt(tokens, len(before), draft)


def has_timestamps(job: DecodeJob) -> bool:
    """Whether timestamps are decoded: after a prefix, one would end the sentence there."""
    return job.options.timestamps != "none" and not job.prefix


def prefix_tokens(tokenizer: Tokenizer, job: DecodeJob, *, n_text_ctx: int) -> tuple[int, ...]:
    """The last tokens of the prefix, half a context at most."""
    return tuple(_encode(tokenizer, job.prefix)[-(n_text_ctx // 2 - 1) :])


def _draft_tokens(tokenizer: Tokenizer, job: DecodeJob) -> tuple[int, ...]:
    """None for a decode whose next token is not simply the likeliest, or whose timestamps the draft
    does not have."""
    is_greedy = job.options.temperatures[0] == 0 and job.options.beam_size is None
    if not job.draft or not is_greedy or has_timestamps(job):
        return ()
    return tuple(tokenizer.encode(job.draft, disallowed_special=()))


def prompt_tokens(
    tokenizer: Tokenizer, prompt: str | None, previous_text: str, *, n_text_ctx: int
) -> tuple[int, ...]:
    """Return at most `n_text_ctx // 2 - 1` tokens, what a decode leaves for them.

    As `whisper.transcribe` with `carry_initial_prompt`: the user's prompt is kept whole and the
    oldest previous text goes first, so that a vocabulary hint never scrolls out.
    """
    limit = n_text_ctx // 2 - 1
    hint = _encode(tokenizer, prompt or "")[-limit:]
    context = _encode(tokenizer, previous_text)
    room = limit - len(hint)
    return (*hint, *(context[-room:] if room else ()))


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode as openai-whisper does a prompt, with one leading space.

    `<|endoftext|>` and its like, typed by a user, are plain text here; by default the tokenizer
    raises ValueError on them.
    """
    text = text.strip()
    tokens: list[int] = tokenizer.encode(f" {text}", disallowed_special=()) if text else []
    return tokens
