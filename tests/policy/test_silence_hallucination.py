"""What is left out, against what `whisper.transcribe` leaves out of the same words."""

import random
import sys
from typing import Any

import numpy as np
import pytest
import whisper
from whisper.decoding import DecodingResult
from whisper.model import ModelDimensions
from whisper.tokenizer import get_tokenizer

from whisper_service.policy.silence_hallucination import without_silence_hallucinations
from whisper_service.types import Segment, Word

SECONDS = 30
BEGIN = get_tokenizer(multilingual=True, language="en", task="transcribe").timestamp_begin


def script(seed: int) -> list[Segment]:
    """Segments of one to ten words, sure or not, among pauses, in a window of 30 s."""
    chance, at, found = random.Random(seed), 0.0, []
    at += chance.choice([0.0, 0.5, 3.0, 8.0])
    while at < SECONDS - 4 and len(found) < 6:
        is_sure, words = chance.random() < 0.5, []
        for _ in range(chance.randint(1, 6)):
            end = round(at + chance.choice([0.04, 0.3, 0.4, 0.8, 2.6]), 2)
            words.append(Word(" one", at, min(end, SECONDS), 0.9 if is_sure else 0.1))
            at = words[-1].end
        if at >= SECONDS:
            break
        found.append(Segment(len(found), words[0].start, at, " one" * len(words), tuple(words)))
        at = round(at + chance.choice([0.02, 0.5, 1.2, 5.0]), 2)
    return found


class Scripted:
    """Stands in for a model: says the script in the first window, one sure word in any other."""

    def __init__(self, said: list[Segment]) -> None:
        self.said = [said]
        self.dims = ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1)
        self.device = whisper.torch.device("cpu")
        self.is_multilingual, self.num_languages = True, 99

    def next_said(self) -> list[Segment]:
        sure = Segment(0, 0.0, 0.3, " one", (Word(" one", 0.0, 0.3, 0.9),))
        return self.said.pop(0) if self.said else [sure]

    def decode(self, _mel: Any, _options: Any) -> DecodingResult:
        self.now = self.next_said()
        tokens = [
            token
            for s in self.now
            for token in (BEGIN + round(s.start * 50), 472, BEGIN + round(s.end * 50))
        ]
        return DecodingResult(
            audio_features=whisper.torch.zeros(1), language="en", tokens=tokens, temperature=0.0
        )

    def add_words(self, *, segments: list[dict[str, Any]], **_: Any) -> None:
        for segment, said in zip(segments, self.now, strict=True):
            at = segment["seek"] / 100
            segment["words"] = [
                {
                    "word": w.text,
                    "start": w.start + at,
                    "end": w.end + at,
                    "probability": w.probability,
                }
                for w in said.words
            ]
            segment["start"] = segment["words"][0]["start"]
            segment["end"] = segment["words"][-1]["end"]


@pytest.mark.parametrize("threshold", [0.5, 1.0, 4.0])
def test_the_same_is_left_out_and_heard_again_from_the_same_place(
    monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    kinds = set()
    for seed in range(40):
        said = script(seed)
        model = Scripted(said)
        monkeypatch.setattr(
            sys.modules["whisper.transcribe"], "add_word_timestamps", model.add_words
        )
        theirs = whisper.transcribe(
            model,  # type: ignore[arg-type]
            np.zeros(16_000 * SECONDS, np.float32),
            language="en",
            temperature=0.0,
            fp16=False,
            word_timestamps=True,
            no_speech_threshold=None,
            compression_ratio_threshold=None,
            logprob_threshold=None,
            hallucination_silence_threshold=threshold,
        )["segments"]
        ours = without_silence_hallucinations(
            said, threshold, start=0.0, end=SECONDS, last_speech=0.0, content_end=SECONDS
        )
        kept = [(s["start"], s["end"]) for s in theirs if s["seek"] == 0 and s["tokens"]]
        again = [s["seek"] / 100 for s in theirs if s["seek"] > 0]
        assert [(s.start, s.end) for s in ours.segments] == kept
        wanted = [] if ours.resume_at in (None, SECONDS) else [round(ours.resume_at, 2)]
        assert again == wanted
        kinds.add((bool(kept), bool(again)))
    assert len(kinds) >= 3
