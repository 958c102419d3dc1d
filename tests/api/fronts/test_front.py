"""A front is one value: whose path is whose, and what follows from that everywhere else."""

import ast
from pathlib import Path

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from tests.api.handshakes import shake
from whisper_service.api import app as service
from whisper_service.api.access.credentials import Subprotocol
from whisper_service.api.fronts import FRONTS, deepgram, jobs, native, openai
from whisper_service.api.fronts.front import Front, front_of
from whisper_service.api.http.errors import ErrorAnswer
from whisper_service.errors import InvalidParameter
from whisper_service.keys.file import write_keys
from whisper_service.keys.key import ApiKey, hash_key

API = Path(service.__file__).parent
FOLDER = "whisper_service.api.fronts"
NAMES = tuple(f"{FOLDER}.{path.parent.name}" for path in API.glob("fronts/*/__init__.py"))
KEY, STREAMER = "a key for everything", "a key for streams only"


@pytest.mark.parametrize(
    ("path", "front", "scope"),
    [
        ("/transcribe", native, "transcribe"),
        ("/stream", native, "stream"),
        ("/jobs", jobs, "transcribe"),
        ("/jobs/job_1", jobs, "transcribe"),
        ("/v1/models", openai, None),
        ("/v1/audio/translations", openai, "transcribe"),
        ("/v1/realtime/client_secrets", openai, "stream"),
        ("/v1/listen", deepgram, "stream"),
    ],
)
def test_the_longest_path_says_whose_a_request_is(path, front, scope):
    assert front_of(path, FRONTS) is front.FRONT
    assert front.FRONT.needed_scope(path) == scope


@pytest.mark.parametrize("path", ["/", "/models", "/transcribed", "/jobsite", "/v10"])
def test_what_only_begins_alike_is_nobodys(path):
    assert front_of(path, FRONTS) is None


def test_every_folder_is_a_front():
    assert len(NAMES) == len(FRONTS)


def test_no_two_fronts_claim_a_path():
    claimed = [path for front in FRONTS for path in front.paths]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize(
    "path", sorted(API.rglob("*.py")), ids=lambda path: str(path.relative_to(API))
)
def test_a_protocol_is_known_in_its_own_folder_alone(path):
    """Else one that is added has to be named in two places."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    package = ".".join(path.relative_to(API.parents[1]).parent.parts)
    others = tuple(name for name in NAMES if name != package)
    assert [name for name in modules if name.startswith(others)] == []
    if package not in NAMES:
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        assert texts & {own for front in FRONTS for own in front.paths} == set()


# --- one that is added


def _routers(replica):
    router = APIRouter()

    @router.post("/other/{name}", summary="x")
    async def other(name: int) -> int:
        if name > replica.settings.max_uploads:
            raise InvalidParameter("Too much.", param="name")
        return name

    return [router]


OTHER = Front(
    paths={"/other": "transcribe"},
    routers=_routers,
    shape=lambda error: ErrorAnswer(418, {"said": error.message}, {"x-said": error.code}),
    subprotocol=Subprotocol("other", key_prefix="other-key."),
    tags={"others": "One more."},
    guide="A guide to others.",
)


@pytest.fixture
def app(make_app, monkeypatch, tmp_path):
    monkeypatch.setattr(service, "FRONTS", (*FRONTS, OTHER))
    path = tmp_path / "keys.json"
    keys = [ApiKey(name="all", sha256=hash_key(KEY))]
    keys.append(ApiKey(name="streams", sha256=hash_key(STREAMER), scopes=("stream",)))
    write_keys(path, keys)
    return make_app(api_keys_file=path)


@pytest.mark.parametrize(
    ("key", "method", "path", "code"),
    [
        (None, "POST", "/other/1", "unauthorized"),  # refused by a middleware
        (STREAMER, "POST", "/other/1", "forbidden"),
        (KEY, "POST", "/other/1000", "invalid_parameter"),  # by a route
        (KEY, "POST", "/other/x", "invalid_parameter"),  # by FastAPI
        (KEY, "GET", "/other/1", "method_not_allowed"),  # by Starlette
        (KEY, "POST", "/other", "not_found"),
    ],
)
def test_whoever_refuses_the_shape_is_the_fronts(app, key, method, path, code):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # The server's prefix is none of the path.
    answer = TestClient(app, root_path="/tools").request(method, f"/tools{path}", headers=headers)
    assert answer.status_code == (
        418 if code in ("unauthorized", "forbidden") else answer.status_code
    )
    assert answer.headers["x-said"] == code
    assert set(answer.json()) == {"said"}


def test_what_it_answers_when_nothing_is_wrong(app):
    headers = {"Authorization": f"Bearer {KEY}"}
    assert TestClient(app).post("/other/3", headers=headers).json() == 3


async def test_a_browser_brings_its_key_by_the_subprotocol_of_the_front(app):
    answer = await shake(app, "/stream", offered=["other", f"other-key.{KEY}"])
    assert (answer.status, answer.subprotocol) == (101, "other")


def test_docs_have_its_tag_and_its_guide(app):
    document = app.openapi()
    assert {"name": "others", "description": "One more."} in document["tags"]
    assert "A guide to others." in document["info"]["description"]
