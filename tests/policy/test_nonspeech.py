"""A file in which nobody speaks asks for no decode: Silero and the plan, on sounds of all kinds."""

import pytest

from tests.nonspeech import N_SOUNDS, sound
from whisper_service.audio.vad import SileroDetector
from whisper_service.policy.file_plan import FilePlan
from whisper_service.types import SAMPLE_RATE, DecodeOptions


@pytest.mark.parametrize("number", range(N_SOUNDS))
def test_no_speech_is_heard_where_nobody_speaks(number: int) -> None:
    name, audio = sound(number)
    plan = FilePlan(DecodeOptions(), max_in_flight=4, detector=SileroDetector())
    for at in range(0, len(audio), 5 * SAMPLE_RATE):
        plan.receive_audio(audio[at : at + 5 * SAMPLE_RATE])
    plan.end_of_audio()
    assert plan.next_job() is None, name
    assert plan.is_done
    assert not plan.has_speech
    assert plan.duration == len(audio) / SAMPLE_RATE
