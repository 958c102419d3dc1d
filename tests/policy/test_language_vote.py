"""The language of a stream."""

from whisper_service.policy.language_vote import LanguageVote


def test_a_language_is_known_after_two_seconds_of_speech() -> None:
    vote = LanguageVote(None, 0.0)
    vote.add("nl", 0.4, 8_000)
    assert vote.known is None
    vote.add("de", 0.9, 24_000)
    assert vote.known == "de"


def test_a_language_asked_for_is_never_doubted() -> None:
    vote = LanguageVote("en", 1.0)
    vote.add("de", 1.0, 100_000)
    assert (vote.known, vote.probability) == ("en", 1.0)
