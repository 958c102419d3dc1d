"""The text that the next decode is conditioned on."""

from whisper_service.policy.context import next_context
from whisper_service.types import Segment


def segment(text: str, temperature: float = 0.0) -> Segment:
    return Segment(0, 0.0, 1.0, text, temperature=temperature)


def test_context_is_the_last_whole_words() -> None:
    context = next_context("x" * 150, segment(" yes" * 20 + " no"))
    assert len(context) <= 200
    assert context.split() == ["yes"] * 20 + ["no"]


def test_a_wild_guess_is_no_context() -> None:
    assert next_context("before", segment("guess", temperature=0.8)) == ""
