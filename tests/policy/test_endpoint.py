"""Probabilities to utterances. One frame is 512 samples, 32 ms."""

from whisper_service.policy.endpoint import Endpointer, Pause, Utterance, VadOptions

FRAME = 512


def hear(*chunks: tuple[float, int]) -> tuple[Endpointer, list[Utterance]]:
    """Push (probability, how many frames) and return what began."""
    endpointer = Endpointer(frame_samples=FRAME, endpoint_silence=0.32, options=VadOptions())
    frames = [probability for probability, n_frames in chunks for _ in range(n_frames)]
    begun = [endpointer.push(probability) for probability in frames]
    return endpointer, [utterance for utterance in begun if utterance is not None]


def test_an_utterance_begins_at_its_first_frame_and_ends_where_silence_began() -> None:
    _, (utterance,) = hear((0.0, 10), (0.9, 20), (0.0, 10))
    assert utterance.start == 10 * FRAME
    assert utterance.silent_since == 30 * FRAME
    assert utterance.ended_at == 40 * FRAME


def test_a_click_of_one_frame_is_not_speech() -> None:
    assert hear((0.0, 10), (1.0, 1), (0.0, 20))[1] == []


def test_a_doubtful_frame_neither_begins_nor_ends_speech() -> None:
    assert hear((0.4, 30))[1] == []
    _, (utterance,) = hear((0.9, 10), (0.4, 30))
    assert utterance.silent_since is None


def test_a_short_silence_is_a_pause_and_a_closure_is_none() -> None:
    _, (utterance,) = hear((0.9, 10), (0.0, 5), (0.9, 10), (0.0, 4), (0.9, 10))
    assert utterance.pauses == [Pause(10 * FRAME, 15 * FRAME)]
    assert utterance.ended_at is None


def test_speech_goes_on_after_a_pause_or_not_yet() -> None:
    _, (utterance,) = hear((0.9, 10), (0.0, 6), (0.9, 10), (0.0, 2))
    assert utterance.speech_after(12 * FRAME, ignored=0) == 16 * FRAME
    assert utterance.speech_after(20 * FRAME, ignored=0) == 20 * FRAME
    assert utterance.speech_after(27 * FRAME, ignored=0) is None


def test_flush_takes_the_beginning_of_speech_for_speech() -> None:
    endpointer, begun = hear((0.0, 5), (0.9, 1))
    assert begun == []
    utterance = endpointer.flush()
    assert utterance is not None
    assert utterance.start == 5 * FRAME
