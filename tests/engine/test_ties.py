"""Words that hang on less than a coarse arithmetic can tell are settled in float32."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from whisper.model import Whisper

from tests.speech import speech
from whisper_service.engine import catalog
from whisper_service.engine.candidates import choose
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.precision import EXACT, Dtype, Precision
from whisper_service.engine.rules import Rules
from whisper_service.engine.sampling import Beam, Candidate, Sampling, Search, Vocabulary
from whisper_service.engine.ticket import Ticket
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis, Priority

COARSE = Precision(torch.bfloat16)
ONCE = DecodeOptions(temperatures=(0.0,), language="en", timestamps="word")
NAMES = Vocabulary(eot=0, time_begin=4)


@pytest.fixture
def engines(reference: Whisper) -> tuple[Engine, Engine]:
    """One in bfloat16, and the one in float32 that it refers to."""
    exact = Engine("demo", reference, EXACT, max_batch_size=1)
    return Engine("demo", reference, COARSE, exact=exact), exact


@pytest.fixture
def all_are_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Precision, "tie", math.inf)


def probabilities(answer: Any) -> list[float]:
    assert isinstance(answer, Hypothesis), answer
    return [word.probability for segment in answer.segments for word in segment.words]


def decoded(engine: Engine, job: DecodeJob) -> Ticket:
    ticket = Ticket(job)
    engine.admit([ticket])
    while ticket.outcome is None:
        engine.step()
    return ticket


@pytest.mark.model
@pytest.mark.usefixtures("all_are_ties")
def test_a_tie_is_answered_by_the_exact_engine(engines: tuple[Engine, Engine]) -> None:
    coarse, exact = engines
    jobs = [DecodeJob(speech(name), ONCE) for name in ("en_eight", "en_zero_one_two")]
    alone = [exact.decode([job])[0] for job in jobs]
    assert [probabilities(answer) for answer in coarse.decode(jobs)] == [
        probabilities(answer) for answer in alone
    ]


@pytest.mark.model
@pytest.mark.usefixtures("all_are_ties")
@pytest.mark.parametrize(
    ("options", "priority", "is_tie"),
    [
        (ONCE, "file", True),
        (ONCE, "live", False),
        (ONCE, "final", False),
        (replace(ONCE, beam_size=2), "file", False),
        (replace(ONCE, temperatures=(0.5,)), "file", False),
        (replace(ONCE, no_speech_threshold=-1.0, logprob_threshold=None), "file", False),
    ],
    ids=["file", "partial", "final", "beams", "sampled", "silence"],
)
def test_only_what_a_file_said_greedily_is_settled(
    engines: tuple[Engine, Engine], options: DecodeOptions, priority: Priority, is_tie: bool
) -> None:
    coarse, _ = engines
    job = DecodeJob(speech("en_eight"), options, priority=priority)
    assert decoded(coarse, job).is_tie == is_tie


@pytest.mark.model
def test_clear_words_are_not_decoded_again(engines: tuple[Engine, Engine]) -> None:
    coarse, _ = engines
    assert not decoded(coarse, DecodeJob(speech("en_eight"), ONCE)).is_tie


@pytest.mark.model
@pytest.mark.usefixtures("all_are_ties")
def test_a_tie_is_settled_however_many_samples_a_failed_decode_would_take(
    engines: tuple[Engine, Engine],
) -> None:
    coarse, exact = engines
    wide = replace(ONCE, temperatures=(0.0, 0.5), best_of=20)
    (settled,) = coarse.decode([DecodeJob(speech("en_eight"), wide)])
    (alone,) = exact.decode([DecodeJob(speech("en_eight"), ONCE)])
    assert probabilities(settled) == probabilities(alone)


@pytest.mark.model
def test_both_are_loaded_where_ties_are_to_be_settled_and_arithmetic_is_coarse() -> None:
    def load(dtype: Dtype, *, can_settle_ties: bool = True) -> Engine:
        where = catalog.ASSETS_DIR
        return load_engine(
            "demo", where, device="cpu", dtype=dtype, can_settle_ties=can_settle_ties
        )

    both = load("bfloat16")
    assert both.exact
    assert both.exact.exact is None
    alone = load("bfloat16", can_settle_ties=False)
    assert alone.exact is None
    assert both.cache_bytes > alone.cache_bytes
    assert load("float32").exact is None


def chosen(logits: list[float], search: Search, lead: float = math.inf) -> Candidate:
    run: Any = SimpleNamespace(
        search=search, generator=None, tokenizer=SimpleNamespace(timestamp_begin=NAMES.time_begin)
    )
    ((candidate, *_),) = choose(torch.tensor([logits]), [run], torch.tensor([lead]))
    return candidate


def test_a_choice_is_as_close_as_the_next_word_or_the_other_kind() -> None:
    logits = [1.0, 3.0, 2.75, -math.inf, -math.inf, -math.inf]
    assert chosen(logits, Sampling(NAMES, 5)).margin == pytest.approx(0.25)
    assert chosen(logits, Sampling(NAMES, 5), lead=-0.125).margin == 0.125
    assert chosen(logits, Sampling(NAMES, 5), lead=0.125).margin == 0.125
    assert chosen(logits, Beam(NAMES, 5, width=2)).margin == math.inf


def test_which_of_two_times_it_is_does_not_count() -> None:
    times = [-math.inf] * 4 + [1.0, 1.01]
    assert chosen(times, Sampling(NAMES, 5)).margin == math.inf
    assert chosen(times, Sampling(NAMES, 5), lead=0.5).margin == 0.5


def test_a_transcript_is_as_close_as_its_closest_choice() -> None:
    search = Sampling(NAMES, 5)
    for token, margin in ((7, 2.0), (8, 0.5), (0, 1.0)):
        search.advance([[Candidate(token, -1.0, margin)]])
    assert search.best().margin == 0.5
    search = Sampling(NAMES, 5)
    search.advance([[Candidate(7, -1.0, 2.0)]])
    search.advance([[Candidate(0, -1.0, 0.25)]])  # whether it ends is a choice, too
    assert search.best().margin == 0.25


@pytest.mark.model
@pytest.mark.parametrize("gap", [-0.5, 0.5])
def test_the_rules_tell_how_far_times_are_ahead_of_words(demo: Engine, gap: float) -> None:
    rules: Rules = demo.rules
    begin = rules.time_begin
    said = (begin, 400)
    logits = torch.full((2, rules.n_vocab), -100.0)
    logits[:, 400] = 2.0
    logits[:, begin + 5 : begin + 9] = 2.0 + gap - math.log(4)
    bounds = [rules.bounds(said, begin, is_timed=is_timed) for is_timed in (True, False)]
    timed, untimed = rules.apply(logits, bounds).tolist()
    assert timed == pytest.approx(gap, abs=1e-5)
    assert untimed == -math.inf
    assert bool(logits[0, 400] == -math.inf) == (gap > 0)
