"""The engine on the bundled model, against openai-whisper on the same audio."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import whisper

from tests.speech import TEXTS, language_of, speech
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.sequence_group import SequenceGroup
from whisper_service.errors import InvalidAudio, InvalidParameter, ServiceError, UnknownLanguage
from whisper_service.models.folder import ASSETS_DIR
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
)

pytestmark = pytest.mark.model

ONCE = DecodeOptions(temperatures=(0.0,))


def decode(
    engine: Engine, audio: Audio, options: DecodeOptions = ONCE, previous: str = ""
) -> Hypothesis:
    (answer,) = engine.decode([DecodeJob(audio, options, previous)])
    assert isinstance(answer, Hypothesis), answer
    return answer


def text(hypothesis: Hypothesis) -> str:
    return "".join(segment.text for segment in hypothesis.segments).strip()


def tokens(hypothesis: Hypothesis) -> list[int]:
    return [token for segment in hypothesis.segments for token in segment.tokens]


def full_window(*names: str) -> Audio:
    """30 s: each recording, then two seconds of silence, and silence to the end."""
    pause = np.zeros(2 * SAMPLE_RATE, np.float32)
    joined = np.concatenate([part for name in names for part in (speech(name), pause)])
    return np.pad(joined, (0, WINDOW_SAMPLES - len(joined)))


@pytest.mark.parametrize("name", TEXTS)
def test_it_hears_what_is_said_and_in_which_language(demo: Engine, name: str) -> None:
    hypothesis = decode(demo, speech(name))
    assert text(hypothesis) == TEXTS[name]
    assert hypothesis.language == language_of(name)
    assert 0.9 < hypothesis.language_probability <= 1


def test_mixed_batch_says_the_same_as_each_job_alone(demo: Engine) -> None:
    options = [replace(ONCE, timestamps="word"), replace(ONCE, prompt="numbers", max_tokens=3)]
    names = ["en_zero_one_two", "de_drei_vier", "es_cinco_ocho"]
    jobs = [DecodeJob(speech(name), option) for name in names for option in options]
    jobs.append(DecodeJob(speech("en_eight"), replace(ONCE, beam_size=2)))
    for job, answer in zip(jobs, demo.decode(jobs), strict=True):
        assert isinstance(answer, Hypothesis)
        alone = decode(demo, job.audio, job.options)
        assert answer.language == alone.language
        assert tokens(answer) == tokens(alone)
        assert [(s.start, s.end, s.text) for s in answer.segments] == [
            (s.start, s.end, s.text) for s in alone.segments
        ]


def test_without_timestamps_all_text_is_one_segment(demo: Engine) -> None:
    audio = speech("en_zero_one_two")
    (segment,) = decode(demo, audio, replace(ONCE, language="en", timestamps="none")).segments
    assert (segment.start, segment.end) == (0.0, len(audio) / SAMPLE_RATE)


def test_only_failed_jobs_are_decoded_again(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[float, DecodeJob]] = []
    begin = SequenceGroup.begin

    def counting(group: SequenceGroup, device: torch.device) -> None:
        begin(group, device)
        begun.append((group.search.temperature, group.job))

    monkeypatch.setattr(SequenceGroup, "begin", counting)
    speech_alone = speech("en_zero_one_two")
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech_alone)).astype(np.float32)
    clear = decode(demo, speech_alone)
    options = DecodeOptions(
        language="en",
        max_tokens=8,
        temperatures=(0.0, 0.4),
        logprob_threshold=clear.segments[0].avg_logprob - 0.01,
        no_speech_threshold=None,
    )
    begun.clear()
    good, bad = DecodeJob(speech_alone, options), DecodeJob(speech_alone + noise, options)
    kept, retried = demo.decode([good, bad])
    assert begun == [(0.0, good), (0.0, bad), (0.4, bad)]
    assert isinstance(kept, Hypothesis)
    assert isinstance(retried, Hypothesis)
    assert {s.temperature for s in kept.segments} == {0.0}
    # The likelier of its two attempts, neither of which passed.
    attempts = [
        decode(demo, speech_alone + noise, replace(options, temperatures=(temperature,)))
        for temperature in options.temperatures
    ]
    best = max(attempts, key=lambda attempt: attempt.segments[0].avg_logprob)
    assert retried.segments == best.segments


@pytest.mark.parametrize("name", TEXTS)
def test_words_join_to_the_text_in_order_and_inside_their_segment(demo: Engine, name: str) -> None:
    audio = speech(name)
    for segment in decode(demo, audio, replace(ONCE, timestamps="word")).segments:
        assert "".join(word.text for word in segment.words) == segment.text
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 <= segment.start < segment.end <= len(audio) / SAMPLE_RATE
        assert all(0 <= word.probability <= 1 for word in segment.words)


def test_one_bad_job_fails_alone(demo: Engine) -> None:
    good = DecodeJob(speech("en_eight"), ONCE)
    bad = replace(good, options=replace(ONCE, language="xx"))
    nan = replace(good, audio=np.full(1000, np.nan, np.float32))
    answers = demo.decode([good, bad, nan, good])
    assert isinstance(answers[1], UnknownLanguage)
    assert isinstance(answers[2], InvalidAudio)
    assert [text(a) for a in (answers[0], answers[3]) if isinstance(a, Hypothesis)] == ["eight"] * 2


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros(WINDOW_SAMPLES + 1, np.float32),
        np.zeros((2, 100), np.float32),
        np.zeros(100, np.float64),
    ],
)
def test_audio_that_is_no_window_is_refused(demo: Engine, audio: Audio) -> None:
    (answer,) = demo.decode([DecodeJob(audio)])
    assert isinstance(answer, InvalidAudio)


@pytest.mark.parametrize(
    "options",
    [
        replace(ONCE, temperatures=()),
        replace(ONCE, temperatures=(-1.0,)),
        replace(ONCE, beam_size=0),
        replace(ONCE, max_tokens=0),
        replace(ONCE, task="sing"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range_are_refused_by_name(demo: Engine, options: DecodeOptions) -> None:
    (answer,) = demo.decode([DecodeJob(speech("en_eight"), options)])
    assert isinstance(answer, InvalidParameter)
    assert {"param", "got", "allowed"} <= answer.details.keys()


@pytest.mark.parametrize("n_samples", [1, 160, 399, 1600])
def test_audio_of_next_to_nothing_is_answered(demo: Engine, n_samples: int) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)
    decode(demo, audio, replace(ONCE, timestamps="word", max_tokens=8))


def test_read_only_audio_is_taken_as_it_comes(demo: Engine) -> None:
    audio = speech("en_eight")
    audio.flags.writeable = False
    assert text(decode(demo, audio)) == "eight"


def test_silence_is_left_out_by_the_no_speech_rule(demo: Engine) -> None:
    options = replace(ONCE, no_speech_threshold=-1.0, logprob_threshold=1.0)
    assert decode(demo, speech("en_eight"), options).segments == ()


def test_detection_gives_a_distribution_over_all_languages(demo: Engine) -> None:
    detection = demo.detect_language(speech("de_drei_vier"))
    assert detection.language == "de"
    assert detection.probability == max(detection.probabilities.values())
    assert sum(detection.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert set(detection.probabilities) == set(demo.languages)


def test_detection_takes_long_audio_and_refuses_none(demo: Engine) -> None:
    audio = np.tile(speech("es_cinco_ocho"), 30)
    assert demo.detect_language(audio).language == "es"
    with pytest.raises(InvalidAudio):
        demo.detect_language(audio[:0])


def test_half_precision_says_the_same_words(demo: Engine) -> None:
    half = load_engine("demo", ASSETS_DIR, device="cpu", dtype="bfloat16")
    spoken = decode(half, speech("es_cinco_ocho"), replace(ONCE, timestamps="word"))
    assert text(spoken) == TEXTS["es_cinco_ocho"]
    assert len(spoken.segments[0].words) == 2


def test_english_model_knows_only_english(english: Engine) -> None:
    assert not english.is_multilingual
    assert decode(english, speech("en_eight"), replace(ONCE, max_tokens=3)).language == "en"
    assert english.detect_language(speech("de_drei_vier")).language == "en"
    jobs = [
        DecodeJob(speech("en_eight"), replace(ONCE, task="translate")),
        DecodeJob(speech("en_eight"), replace(ONCE, language="de")),
    ]
    refusals: list[Hypothesis | ServiceError] = english.decode(jobs)
    assert [type(refusal) for refusal in refusals] == [InvalidParameter, UnknownLanguage]


@pytest.fixture(scope="module")
def english() -> Engine:
    """Random weights over the English vocabulary; what it says is noise."""
    torch.manual_seed(0)
    dims = whisper.ModelDimensions(80, 1500, 64, 1, 1, 51864, 448, 64, 1, 1)
    model = whisper.model.Whisper(dims).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding)  # whatever was in memory, else
    return Engine("noise.en", model)


def test_segments_are_numbered_from_zero(demo: Engine) -> None:
    found: tuple[Segment, ...] = decode(demo, full_window("en_eight", "en_zero_one_two")).segments
    assert [segment.id for segment in found] == list(range(len(found)))
