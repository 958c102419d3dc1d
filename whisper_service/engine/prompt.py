"""The tokens a decode is conditioned on: the user's prompt, then the text before the window."""

from whisper.tokenizer import Tokenizer


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
