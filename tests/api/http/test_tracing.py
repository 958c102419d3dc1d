import pytest
from starlette.testclient import TestClient

from tests.api.fakes import connect, level, wav
from tests.spans import Spans
from whisper_service.api.app import create_app
from whisper_service.settings import Settings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans():
    return Spans()


@pytest.fixture
def traced(spans, decoder):
    return create_app(Settings(resume_key="a key for tests"), decoder, tracer=spans.tracer)


def test_a_request_is_a_span_by_its_route(traced, spans):
    client = TestClient(traced)
    response = client.post("/transcribe", files={"file": ("a.wav", wav(level(7)))})
    span = spans.one("POST /transcribe")
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["whisper.request_id"] == response.headers["x-request-id"]
    assert span.parent is None
    client.get("/nobody/knows/7")
    assert spans.one("GET").attributes["http.response.status_code"] == 404


def test_a_callers_trace_goes_on(traced, spans):
    TestClient(traced).get("/languages", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    span = spans.one("GET /languages")
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == SPAN


def test_a_trace_that_is_none_begins_a_new_one(traced, spans):
    response = TestClient(traced).get("/languages", headers={"traceparent": b"00-zz-\xff-1"})
    assert response.status_code == 200
    assert spans.one("GET /languages").parent is None


async def test_a_socket_is_one_span_with_how_it_was_closed(traced, spans):
    async with connect(traced, "no json") as socket:
        await socket.rest()
    assert spans.one("WEBSOCKET /stream").attributes["whisper.close_code"] == 1007


def test_probes_leave_no_span(traced, spans):
    assert TestClient(traced).get("/healthz").status_code == 200
    assert spans.ended == ()


@pytest.mark.parametrize("is_on", [True, False])
def test_a_provider_of_the_whole_process_gets_no_span(spans, decoder, monkeypatch, is_on):
    """Ray Serve's tracing sets one, and FastAPI would send its own spans there."""
    others = Spans()
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: others.provider)
    tracer = spans.tracer if is_on else None
    client = TestClient(create_app(Settings(resume_key="a key"), decoder, tracer=tracer))
    assert client.get("/languages").status_code == 200
    assert [len(spans.ended), len(others.ended)] == [is_on, 0]


@pytest.mark.parametrize("odd", [b"\xff", b"\xff\\x", b"\xff\\N"])
def test_a_header_of_odd_bytes_is_traced_and_answered(traced, spans, odd):
    response = TestClient(traced).get("/languages", headers={"user-agent": odd})
    assert response.status_code == 200
    assert spans.one("GET /languages").attributes["http.response.status_code"] == 200


def test_a_bug_is_an_error_and_a_wrong_request_is_none(traced, spans, decoder):
    client = TestClient(traced, raise_server_exceptions=False)
    decoder.failures.append(ZeroDivisionError())
    client.post("/transcribe", files={"file": ("a.wav", wav(level(7)))})
    client.post("/transcribe")
    bug, wrong = spans.ended
    assert (bug.attributes["http.response.status_code"], bug.status.is_ok) == (500, False)
    assert (wrong.attributes["http.response.status_code"], wrong.status.is_ok) == (422, True)


def test_no_span_holds_what_was_said(traced, spans):
    files = {"file": ("a.wav", wav(level(7)))}
    TestClient(traced).post("/transcribe", files=files, data={"prompt": "a secret"})
    told = "".join(span.to_json() for span in spans.ended)
    assert "level 7" not in told
    assert "secret" not in told
