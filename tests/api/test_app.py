import pytest

from whisper_service.api.page import content_security_policy
from whisper_service.errors import Unavailable


def test_alive(client):
    assert client.get("/healthz").json() == {"status": "ok"}


def test_ready_means_it_decodes(client, decoder):
    assert client.get("/readyz").json() == {"status": "ready"}
    decoder.health = Unavailable("No model is loaded yet.", retry_after=2)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "2"


def test_a_replica_that_goes_away_is_not_ready_but_alive(make_client):
    client = make_client(draining=lambda: True)
    assert client.get("/readyz").json()["error"]["code"] == "restarting"
    assert client.get("/healthz").status_code == 200


def test_models_say_what_they_need_and_whether_they_are_there(client):
    body = client.get("/models").json()
    assert body["default"] == "base"
    models = {model["name"]: model for model in body["models"]}
    assert (models["base"]["parameters"], models["base"]["has_weights"]) == ("74 M", True)
    assert models["large"]["can_download"] is False


def test_languages_have_codes_and_names(client):
    assert {"code": "de", "name": "german"} in client.get("/languages").json()["languages"]


def test_the_sample_is_a_wav(client):
    response = client.get("/sample.wav")
    assert response.headers["content-type"] == "audio/wav"
    assert response.content[:4] == b"RIFF"


def test_the_sample_can_be_transcribed(client):
    sample = client.get("/sample.wav").content
    response = client.post("/transcribe", files={"file": ("sample.wav", sample)})
    assert response.status_code == 200


def test_a_path_that_is_not_there(client):
    response = client.get("/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_method_that_is_not_possible(client):
    response = client.get("/transcribe")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_the_socket_asked_for_without_an_upgrade(client):
    response = client.get("/stream")
    assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in response.json()["error"]["message"]


def test_every_answer_has_an_id_and_forbids_sniffing(client):
    for path in ("/healthz", "/nothing", "/docs"):
        headers = client.get(path).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in headers


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>"])
def test_a_strange_request_id_is_replaced(client, given):
    headers = client.get("/healthz", headers={"x-request-id": given}).headers
    assert len(headers["x-request-id"]) == 32


def test_a_page_opened_from_disk_may_call_us_and_a_foreign_one_may_not(client):
    allowed = client.get("/healthz", headers={"origin": "null"}).headers
    foreign = client.get("/healthz", headers={"origin": "https://evil.example"}).headers
    assert allowed["access-control-allow-origin"] == "null"
    assert "access-control-allow-origin" not in foreign


def test_a_browser_can_read_a_bug_too(make_client, decoder):
    decoder.models = None
    response = make_client().get("/models", headers={"origin": "null"})
    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == "null"


def test_the_page_is_served(client):
    response = client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert response.status_code == 200
    assert "script-src 'sha256-" in response.headers["content-security-policy"]


def test_a_missing_page_says_so_in_words(client, monkeypatch, tmp_path):
    monkeypatch.setattr("whisper_service.api.page.PAGES", (tmp_path / "none.html",))
    response = client.get("/")
    assert response.status_code == 404
    assert "whisper_client.html" in response.text


def test_only_the_pages_own_scripts_may_run():
    # The hash of the standard's own example: alert('Hello, world.');
    policy = content_security_policy("<script>alert('Hello, world.');</script>")
    digest = "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
    assert f"script-src 'sha256-{digest}' blob:;" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_a_page_that_was_edited_runs_its_own_script(client, monkeypatch, tmp_path):
    page = tmp_path / "edited.html"
    page.write_text("<SCRIPT type=module>\nalert(1);\r\n</SCRIPT >", newline="")
    monkeypatch.setattr("whisper_service.api.page.PAGES", (page,))
    policy = client.get("/").headers["content-security-policy"]
    assert policy == content_security_policy("<script>\nalert(1);\n</script>")


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/models", "/sample.wav"])
def test_head_answers_like_get_without_the_body(client, path):
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "content-security-policy"):
        assert head.headers.get(name) == get.headers.get(name)
