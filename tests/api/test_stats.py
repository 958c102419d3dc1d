"""GET /stats: what a person is told of one replica."""

import pytest

from tests.api.fakes import connect
from tests.clock import Clock
from whisper_service.api.metrics import ACTIVE_STREAMS, COMMIT, FINAL_LAG, LAG, NoMetrics
from whisper_service.api.stats import RECENT, StatsBoard
from whisper_service.errors import Unavailable


def test_it_says_what_runs_and_what_the_model_server_does(client, transcribe):
    transcribe()
    body = client.get("/stats").json()
    assert {"whisper-streaming", "ray"} <= body["versions"].keys()
    assert (body["streams"], body["max_streams"]) == ({}, 24)
    assert (body["uploads"], body["max_uploads"], body["upload_wait"]) == (0, 64, 0.0)
    decoder = body["decoder"]
    assert (decoder["models"], decoder["windows_now"], decoder["windows_done"]) == (["base"], 0, 1)
    assert decoder["window_seconds"]["p50"] == 0.2


async def test_open_streams_are_counted(app, asgi_get):
    async with connect(app, {"model_size": "small"}) as socket:
        await socket.until("ready")
        assert (await asgi_get("/stats")).json()["streams"] == {"small": 1}


def test_without_a_model_server_the_rest_is_still_told(client, decoder):
    decoder.health = Unavailable("No model is loaded yet.", retry_after=2)
    response = client.get("/stats")
    assert (response.status_code, response.json()["decoder"]) == (200, None)


def test_only_the_last_minute_counts():
    clock = Clock()
    board = StatsBoard(NoMetrics(), clock)
    board.record(LAG, 30.0, model="base")
    clock.now += RECENT + 1
    assert board.spread(LAG).p95 is None
    for value in (1.0, 2.0, 3.0):
        board.record(LAG, value, model="base")
    assert (board.spread(LAG).n, board.spread(LAG).p50) == (3, 2.0)
    assert board.spread(FINAL_LAG).n == 0


def test_every_figure_is_passed_on():
    class Kept(NoMetrics):
        def __init__(self):
            self.values = []

        def record(self, measure, value, **labels):
            self.values.append((measure, value, labels))

    kept = Kept()
    board = StatsBoard(kept)
    labels = {"model": "base", "protocol": "stream"}
    figures = [(ACTIVE_STREAMS, 1.0, labels), (LAG, 0.5, labels), (COMMIT, 0.2, labels)]
    for measure, value, told in figures:
        board.record(measure, value, **told)
    assert kept.values == figures


def test_a_service_open_to_everybody_is_warned_of_in_the_log_and_here(make_client, caplog):
    body = make_client(host="0.0.0.0").get("/stats").json()
    assert body["access"] == "open"
    (warning,) = body["warnings"]
    assert warning["code"] == "open_access"
    assert "WHISPER_API_KEYS" in warning["message"]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", warning["message"])
    ]


@pytest.mark.parametrize(
    ("settings", "access"),
    [
        ({}, "local"),
        ({"host": "0.0.0.0", "require_keys": "off"}, "open"),
        ({"host": "0.0.0.0", "api_keys": "0123456789abcdef"}, "keys"),
    ],
)
def test_access_as_it_was_chosen_is_no_warning(make_client, caplog, settings, access):
    headers = {"X-API-Key": "0123456789abcdef"}
    body = make_client(**settings).get("/stats", headers=headers).json()
    assert (body["access"], body["warnings"]) == (access, [])
    assert caplog.records == []
