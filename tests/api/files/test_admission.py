"""Which uploads are let in, by how long their windows would wait."""

import asyncio
import time
from contextlib import ExitStack

import httpx
import pytest

from tests.api.fakes import level, wav
from tests.clock import Clock
from whisper_service.api.files import admission
from whisper_service.api.files.admission import MAX_RETRY_AFTER, UploadAdmission
from whisper_service.errors import Overloaded

FILE = ("a.wav", wav(level(7)))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def uploads(clock):
    return UploadAdmission(limit=10.0, n_together=2, clock=clock)


def answer(uploads, clock, seconds, n=8):
    """`n` windows, one after the other, that take `seconds` each."""
    with uploads.upload() as upload:
        for _ in range(n):
            with upload.window():
                clock.now += seconds


@pytest.fixture
def waiting(uploads):
    """Uploads with a number of windows each that are not answered."""
    with ExitStack() as stack:

        def add(*numbers):
            for n_windows in numbers:
                upload = stack.enter_context(uploads.upload())
                for _ in range(n_windows):
                    stack.enter_context(upload.window())

        yield add


def test_an_idle_service_lets_any_upload_in(uploads, clock):
    uploads.check()
    answer(uploads, clock, 100.0)
    assert uploads.wait == 0
    uploads.check()


def test_the_wait_is_that_of_the_windows_before_it(uploads, clock, waiting):
    answer(uploads, clock, 2.0)
    waiting(3, 4)
    assert uploads.wait == pytest.approx((7 - 2) * 2.0)


def test_windows_that_are_answered_side_by_side_count_by_their_pace(uploads, clock, waiting):
    with uploads.upload() as upload:
        for _ in range(2):
            with ExitStack() as batch:
                for _ in range(4):
                    batch.enter_context(upload.window())
                clock.now += 2.0
    waiting(10)
    assert uploads.wait == pytest.approx((10 - 2) * 2.0 / 4)


def test_an_upload_that_has_sent_no_window_yet_will(uploads, clock, waiting):
    answer(uploads, clock, 2.0)
    waiting(0, 0, 0, 1)
    assert uploads.wait == pytest.approx((4 - 2) * 2.0)


def test_too_long_a_wait_is_refused_with_the_reason(uploads, clock, waiting):
    answer(uploads, clock, 2.0)
    waiting(9)
    with pytest.raises(Overloaded, match="about 14 s") as refusal:
        uploads.check()
    assert refusal.value.details == {"wait": 14.0, "limit": 10.0}
    assert refusal.value.retry_after == pytest.approx(4.0)


def test_operators_see_the_wait_and_whom_it_cost_his_place(clock):
    kept = {}

    class Kept:
        def record(self, measure, value, **labels):
            kept[measure.name] = value

    uploads = UploadAdmission(limit=10.0, n_together=2, metrics=Kept(), clock=clock)
    answer(uploads, clock, 2.0)
    assert (kept["whisper_uploads"], kept["whisper_upload_wait_seconds"]) == (0, 0.0)
    with ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(uploads.upload())
        assert (kept["whisper_uploads"], kept["whisper_upload_wait_seconds"]) == (9, 14.0)
        with pytest.raises(Overloaded):
            uploads.check()
    assert kept["whisper_refused_uploads"] == 1


def test_a_service_that_stands_still_is_noticed(uploads, clock, waiting):
    answer(uploads, clock, 0.1)
    waiting(8)
    uploads.check()
    clock.now += 120.0
    with pytest.raises(Overloaded) as refusal:
        uploads.check()
    assert refusal.value.retry_after == MAX_RETRY_AFTER


def test_time_without_windows_does_not_count(uploads, clock, waiting):
    answer(uploads, clock, 1.0, n=7)
    clock.now += 3600.0
    answer(uploads, clock, 1.0, n=1)
    waiting(3)
    assert uploads.wait == pytest.approx(1.0)


def test_a_load_before_the_first_answers_refuses_nobody(uploads, clock, waiting):
    waiting(9)
    clock.now += 240.0
    uploads.check()


def test_failures_say_nothing_about_the_pace(uploads, clock, waiting):
    answer(uploads, clock, 2.0)
    with uploads.upload() as upload:
        for _ in range(100):
            with pytest.raises(Overloaded), upload.window():
                raise Overloaded("full")
    waiting(3)
    assert uploads.wait == pytest.approx(2.0)


def test_new_pace_replaces_the_old(uploads, clock, waiting):
    answer(uploads, clock, 50.0)
    answer(uploads, clock, 0.5, n=64)
    waiting(4)
    assert uploads.wait == pytest.approx(1.0)


@pytest.fixture
async def post(make_app):
    """POST in this loop, to a service that decodes four windows at a time, and lets no upload in
    while another waits."""
    app = make_app(max_batch_size=4, upload_admission_wait=1e-9)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def send(path="/transcribe", **data):
            return await client.post(path, files={"file": FILE}, data=data)

        yield send


async def test_under_a_long_queue_uploads_are_refused_at_once_and_admitted_ones_finish(
    post, decoder, monkeypatch
):
    monkeypatch.setattr(admission, "_MIN_ANSWERS", 2)
    for _ in range(2):
        assert (await post()).status_code == 200
    decoder.gate.clear()
    admitted = [asyncio.create_task(post()) for _ in range(5)]
    async with asyncio.timeout(10):
        for _ in range(2 + len(admitted)):
            await decoder.begun.acquire()
    began = time.monotonic()
    async with asyncio.timeout(10):
        refused = await post()
        openai = await post("/v1/audio/transcriptions", model="whisper-1")
        detect = await post("/detect-language")
    assert time.monotonic() - began < 1.0
    assert [answer.status_code for answer in (refused, openai, detect)] == [503, 503, 503]
    assert all(int(answer.headers["retry-after"]) >= 2 for answer in (refused, openai, detect))
    error = refused.json()["error"]
    assert (error["code"], error["limit"]) == ("overloaded", 1e-9)
    assert openai.json()["error"].keys() == {"message", "type", "param", "code"}
    decoder.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*admitted)] == [200] * 5
    assert (await post()).status_code == 200
