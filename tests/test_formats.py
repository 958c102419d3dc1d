import json
from pathlib import Path
from typing import get_args

import pytest

from whisper_service.formats import FORMATS, ResponseFormat, to_json, to_verbose_json
from whisper_service.types import Segment, Transcript, Word


def transcript(*segments: Segment, **fields) -> Transcript:
    return Transcript(language="en", duration=61.0, segments=segments, **fields)


def cue(text: str, start: float = 0.0, end: float = 1.0) -> Transcript:
    return transcript(Segment(id=0, start=start, end=end, text=text))


def render(name: str, value: Transcript) -> str:
    return FORMATS[name].render(value)


CASES = json.loads((Path(__file__).parent / "data" / "formats.json").read_text(encoding="utf-8"))
"""Read by tests/web, too: the web client writes the same files."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_files_are_those_that_the_web_client_writes(case):
    segments = [Segment(id=i, **fields) for i, fields in enumerate(case["segments"])]
    for name in ("text", "srt", "vtt"):
        assert render(name, transcript(*segments)) == case[name]


TWO = transcript(
    Segment(id=0, start=0.0, end=1.5, text=" one two"),
    Segment(id=1, start=1.5, end=61.25, text=" three"),
)


def test_text_is_the_words_and_a_line_end():
    assert render("text", TWO) == "one two three\n"


def test_json_has_text_language_and_duration():
    assert json.loads(render("json", TWO)) == {
        "text": "one two three",
        "language": "en",
        "duration": 61.0,
    }


def test_srt_is_numbered_and_has_commas():
    assert render("srt", TWO) == (
        "1\n00:00:00,000 --> 00:00:01,500\none two\n\n2\n00:00:01,500 --> 00:01:01,250\nthree\n\n"
    )


def test_vtt_has_its_header_and_points():
    assert render("vtt", TWO) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\none two\n\n"
        "00:00:01.500 --> 00:01:01.250\nthree\n\n"
    )


def test_tsv_has_whole_milliseconds():
    assert render("tsv", TWO) == "start\tend\ttext\n0\t1500\tone two\n1500\t61250\tthree\n"


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [
        (59.9996, "00:01:00,000"),
        (3599.9999, "01:00:00,000"),
        (0.0004, "00:00:00,000"),
        (36_000.5, "10:00:00,500"),
        (360_000.0, "100:00:00,000"),
    ],
)
def test_rounding_carries_into_minutes_and_hours(seconds, clock):
    assert f"{clock} -->" in render("srt", cue("x", start=seconds, end=seconds + 1))


def test_a_cue_never_ends_before_it_begins():
    assert "00:00:02.000 --> 00:00:02.001" in render("vtt", cue("x", start=2.0, end=2.0))


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_an_empty_line_inside_a_text_does_not_end_its_cue(name):
    assert "first\nsecond\n\n" in render(name, cue("first\n\n \nsecond\r\n"))


def test_an_arrow_in_the_text_is_no_time_line():
    assert render("srt", cue("a --> b")).endswith("a -> b\n\n")
    assert render("vtt", cue("a --> b")).endswith("a --&gt; b\n\n")


def test_vtt_escapes_what_would_be_markup():
    assert render("vtt", cue("<b> & co")).endswith("&lt;b&gt; &amp; co\n\n")


def test_a_tab_in_the_text_opens_no_column():
    assert render("tsv", cue("a\tb\nc")).splitlines()[1] == "0\t1000\ta b c"


@pytest.mark.parametrize("name", ["srt", "vtt", "tsv"])
def test_a_segment_without_text_is_no_cue(name):
    silence = transcript(
        Segment(id=0, start=0, end=1, text="  "), Segment(id=1, start=1, end=2, text="x")
    )
    assert render(name, silence).count("00:01" if name != "tsv" else "1000\t") == 1


@pytest.mark.parametrize("name", FORMATS)
def test_silence_is_no_error(name):
    assert "None" not in render(name, transcript())


def test_verbose_json_fills_every_field_of_a_segment():
    segment = Segment(
        id=3,
        start=30.0,
        end=31.0,
        text=" one",
        tokens=(50364, 472),
        avg_logprob=-0.25,
        no_speech_prob=0.01,
        compression_ratio=0.9,
        temperature=0.2,
        language="de",
    )
    assert to_verbose_json(transcript(segment))["segments"] == [
        {
            "id": 3,
            "seek": 3000,
            "start": 30.0,
            "end": 31.0,
            "text": " one",
            "tokens": [50364, 472],
            "temperature": 0.2,
            "avg_logprob": -0.25,
            "compression_ratio": 0.9,
            "no_speech_prob": 0.01,
            "language": "de",
        }
    ]


def test_words_are_at_the_top_level_and_in_their_segment():
    word = Word(text=" one", start=0.1, end=0.4, probability=0.9)
    body = to_verbose_json(transcript(Segment(id=0, start=0, end=1, text=" one", words=(word,))))
    assert body["words"] == [{"word": "one", "start": 0.1, "end": 0.4, "probability": 0.9}]
    assert body["segments"][0]["words"] == body["words"]


def test_words_are_left_out_where_none_were_asked_for():
    assert "words" not in to_verbose_json(TWO)


def test_warnings_reach_the_reader():
    assert to_verbose_json(transcript(warnings=("breaks off",)))["warnings"] == ["breaks off"]


def test_json_stays_json_when_a_score_is_not_finite():
    body = render("verbose_json", transcript(Segment(0, 0, 1, "x", avg_logprob=float("-inf"))))
    assert json.loads(body)["segments"][0]["avg_logprob"] is None


def test_json_keeps_letters_readable():
    assert "grün" in render("json", cue("grün"))


def test_times_are_whole_milliseconds():
    assert to_json(Transcript("en", 0.1 + 0.2, ()))["duration"] == 0.3


def test_every_format_that_may_be_asked_for_can_be_made() -> None:
    assert get_args(ResponseFormat) == tuple(FORMATS)
