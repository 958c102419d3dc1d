"""What is carried from one final to the next."""

from whisper_service.policy.memory import LanguageMemory, next_context
from whisper_service.types import Segment


def segment(text: str, temperature: float = 0.0) -> Segment:
    return Segment(0, 0.0, 1.0, text, temperature=temperature)


def test_a_language_is_known_after_two_seconds_of_speech() -> None:
    memory = LanguageMemory(None, 0.0)
    memory.hear("nl", 0.4, 8_000)
    assert memory.known is None
    memory.hear("de", 0.9, 24_000)
    assert memory.known == "de"


def test_a_language_asked_for_is_never_doubted() -> None:
    memory = LanguageMemory("en", 1.0)
    memory.hear("de", 1.0, 100_000)
    assert (memory.known, memory.probability) == ("en", 1.0)


def test_context_is_the_last_whole_words() -> None:
    context = next_context("x" * 150, segment(" yes" * 20 + " no"))
    assert len(context) <= 200
    assert context.split() == ["yes"] * 20 + ["no"]


def test_a_wild_guess_is_no_context() -> None:
    assert next_context("before", segment("guess", temperature=0.8)) == ""
