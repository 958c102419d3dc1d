"""RemoteDecoder over a handle that is scripted: what a healthy cluster never shows."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from whisper_service.api.log_context import name_session
from whisper_service.errors import (
    InternalError,
    Overloaded,
    Restarting,
    TimedOut,
    Unavailable,
    UnknownModel,
)
from whisper_service.serving import presence, remote_decoder
from whisper_service.serving.answer import Answer
from whisper_service.serving.presence import Presence
from whisper_service.serving.remote_decoder import RemoteDecoder
from whisper_service.settings import Settings
from whisper_service.types import DecodeJob, Hypothesis

ANSWER = Answer(Hypothesis("en", 1.0), "one")
JOB = DecodeJob(np.zeros(100, np.float32))
NEVER = object()


class Response:
    """Ends as scripted, or never."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.is_cancelled = False

    def __await__(self) -> Generator[Any, None, Any]:
        if self.outcome is NEVER:
            yield from asyncio.Event().wait().__await__()
        if isinstance(self.outcome, BaseException) and not hasattr(self.outcome, "code"):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.is_cancelled = True


class Handle:
    """Answers calls with the outcomes of the script, one after the other."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls: list[tuple[dict[str, str], tuple[Any, ...]]] = []
        self.responses: list[Response] = []
        self.called: asyncio.Queue[None] = asyncio.Queue()
        self.chosen: dict[str, str] = {}

    def options(self, **chosen: str) -> "Handle":
        self.chosen = chosen
        return self

    def remote(self, *arguments: Any) -> Response:
        self.calls.append((self.chosen, arguments))
        self.responses.append(Response(self.script.pop(0)))
        self.called.put_nowait(None)
        return self.responses[-1]


def over(handle: Handle, **settings: Any) -> RemoteDecoder:
    return RemoteDecoder(handle, Settings(**settings))  # type: ignore[arg-type]


def backpressure() -> Exception:
    return BackPressureError(num_queued_requests=1, max_queued_requests=1)


def unavailable() -> Exception:
    return ActorUnavailableError("gone", b"0" * 16)


@pytest.mark.parametrize("failure", [ActorDiedError, unavailable, lambda: Restarting("bye")])
async def test_same_window_is_sent_again_when_a_replica_goes(failure: Callable[[], Any]) -> None:
    handle = Handle(failure(), failure(), ANSWER)
    assert await over(handle).decode("base", JOB) == ANSWER.hypothesis
    jobs = [arguments[1] for _, arguments in handle.calls]
    assert all(job is jobs[0] for job in jobs)


async def test_it_gives_up_after_the_set_number_of_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("whisper_service.serving.remote_decoder.RETRIES", 2)
    handle = Handle(*[ActorDiedError() for _ in range(3)])
    with pytest.raises(Unavailable, match="3 times"):
        await over(handle).decode("base", JOB)
    assert handle.script == []


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (backpressure(), Overloaded),
        (UnknownModel("no"), UnknownModel),
        (DeploymentUnavailableError(None), InternalError),
        (RayTaskError("decode", "secret traceback", ValueError("secret")), InternalError),
    ],
)
async def test_every_failure_is_an_error_of_the_tree(
    outcome: BaseException, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await over(Handle(outcome)).decode("base", JOB)
    assert "secret" not in str(caught.value)


async def test_silence_ends_with_a_time_out_and_the_work_is_called_off() -> None:
    handle = Handle(NEVER)
    with pytest.raises(TimedOut) as caught:
        await over(handle, decode_timeout=0.01).decode("base", JOB)
    assert caught.value.details["limit"] == 0.01
    assert handle.responses[0].is_cancelled


@pytest.mark.parametrize("question", ["models", "check", "stats"])
async def test_a_model_server_that_is_not_up_yet_is_worth_another_try(
    monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    monkeypatch.setattr("whisper_service.serving.remote_decoder._CHECK_TIMEOUT", 0.01)
    with pytest.raises(Unavailable, match="starting") as caught:
        await getattr(over(Handle(NEVER)), question)()
    assert caught.value.retry_after is not None


async def test_cancelling_calls_the_work_off() -> None:
    handle = Handle(NEVER)
    task = asyncio.create_task(over(handle).decode("base", JOB))
    await handle.called.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handle.responses[0].is_cancelled


@pytest.mark.parametrize(
    ("model", "routed_as"),
    [("base", "base"), ("large", "large-v3"), ("", None), ("../x", None), ("x" * 999, None)],
)
async def test_request_goes_to_a_replica_that_has_the_model(
    model: str, routed_as: str | None
) -> None:
    handle = Handle(ANSWER)
    await over(handle).decode(model, JOB)
    chosen, arguments = handle.calls[0]
    assert chosen.get("multiplexed_model_id") == routed_as
    assert (chosen["method_name"], arguments[0]) == ("decode", model)


async def test_window_carries_a_deadline_after_which_nobody_waits() -> None:
    handle = Handle(ANSWER)
    await over(handle).decode("base", JOB)
    assert handle.calls[0][1][1].deadline is not None


async def test_files_leave_room_for_live_windows() -> None:
    handle = Handle(*[NEVER] * 3)
    decoder = over(handle, max_batch_size=1)
    live = DecodeJob(JOB.audio, priority="live")
    tasks = [asyncio.create_task(decoder.decode("base", job)) for job in (JOB, JOB, JOB, live)]
    for _ in range(3):
        await handle.called.get()
    assert [arguments[1].priority for _, arguments in handle.calls] == ["file", "file", "live"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_files_fill_no_doors_of_replicas_that_do_not_run() -> None:
    two, three = (Answer(ANSWER.hypothesis, name) for name in ("two", "three"))
    handle = Handle(*[ANSWER, two, three], *[NEVER] * 9)
    decoder = over(handle, max_batch_size=1)
    tasks = [asyncio.create_task(decoder.decode("base", JOB)) for _ in range(12)]
    async with asyncio.timeout(10):
        for _ in range(3 + 3 * 2):
            await handle.called.get()
    for _ in range(10):
        await asyncio.sleep(0)
    assert handle.called.empty()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_list_of_models_is_asked_for_once_in_a_while() -> None:
    handle = Handle([])
    decoder = over(handle)
    assert await asyncio.gather(decoder.models(), decoder.models()) == [[], []]
    assert len(handle.calls) == 1


async def test_list_of_models_is_as_old_as_the_caller_allows() -> None:
    decoder = over(Handle(["old"], ["new"]))
    assert await decoder.models() == await decoder.models(max_age=60.0) == ["old"]
    assert await decoder.models(max_age=0.0) == ["new"]


async def test_answered_window_proves_readiness() -> None:
    handle = Handle(ANSWER)
    decoder = over(handle)
    await decoder.decode("base", JOB)
    await decoder.check()
    assert len(handle.calls) == 1


async def test_reason_for_not_being_ready_reaches_the_caller() -> None:
    with pytest.raises(Unavailable, match="no weights"):
        await over(Handle(Unavailable("no weights"))).check()


async def test_a_window_says_which_stream_it_is_for() -> None:
    handle = Handle(ANSWER)
    name_session("abc")
    await over(handle).decode("base", JOB)
    _, (_, job) = handle.calls[0]
    assert job.session_id == "abc"


async def nobody() -> int:
    return 0


async def test_who_comes_is_told_that_nobody_is_there_unless_one_has_just_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "PATIENCE", 0.0)
    handle = Handle(ANSWER)
    decoder = RemoteDecoder(handle, Settings(), presence=Presence(nobody))  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught:
        await decoder.presence()
    assert caught.value.retry_after
    await decoder.decode("base", JOB)
    await decoder.presence()


async def test_the_last_list_of_models_has_to_do_while_nobody_gives_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams that come back are let in by it; each waiting for the silence would be no help."""
    monkeypatch.setattr(remote_decoder, "_CHECK_TIMEOUT", 0.01)
    handle = Handle(["a model"], NEVER)
    decoder = over(handle)
    assert await decoder.models(max_age=0) == ["a model"]
    assert await decoder.models(max_age=0) == ["a model"]
    assert await decoder.models(max_age=0) == ["a model"]
    assert len(handle.calls) == 2
