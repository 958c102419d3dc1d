"""Forms byte by byte, as clients build them that are not the ones we test with elsewhere."""

import pytest

from tests.api.fakes import level, wav
from whisper_service.api import app
from whisper_service.api.files.multipart import MAX_TEXT_BYTES

FILE = wav(level(7))
PATHS = ("/transcribe", "/detect-language", "/v1/audio/transcriptions")


def part(disposition: str, value: bytes, *headers: str) -> bytes:
    lines = (f"Content-Disposition: form-data; {disposition}", *headers)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + value


MODEL = part('name="model"', b"base")
WHOLE = part('name="file"; filename="a.wav"', FILE, "Content-Type: audio/wav")


def body(*parts: bytes, end: bytes = b"\r\n--X--\r\n", before: bytes = b"") -> bytes:
    return before + b"--X\r\n" + b"\r\n--X\r\n".join(parts) + end


@pytest.fixture
def post(client):
    def send(content, content_type="multipart/form-data; boundary=X", path="/transcribe"):
        return client.post(path, content=content, headers={"content-type": content_type})

    return send


def error_of(response, status=400):
    assert response.status_code == status, response.text
    return response.json()["error"]


@pytest.mark.parametrize(
    "content_type",
    [
        "Multipart/Form-Data; boundary=X",
        "MULTIPART/FORM-DATA;BOUNDARY=X",
        'multipart/form-data; charset=utf-8; boundary="X"',
    ],
)
def test_a_content_type_in_any_case(make_client, content_type, monkeypatch):
    monkeypatch.setattr(app, "MAX_MESSAGE_BYTES", 2000)  # what a body may have that is no form
    client = make_client()
    headers = {"content-type": content_type}
    response = client.post("/transcribe", content=body(WHOLE), headers=headers)
    assert response.json()["text"] == "level 7"


@pytest.mark.parametrize(
    "before",
    [
        b"This is a multi-part message in MIME format.\r\n",
        b"\r\n",
        b"--\r\n--Y\r\n-- X\r\n",
        b"--Not the boundary\n",
        b"x" * 100_000 + b"\r\n",
    ],
)
@pytest.mark.parametrize("piece", [7, 10**6])
def test_what_stands_before_the_first_boundary_is_for_people(post, before, piece):
    data = body(WHOLE, before=before)
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    assert post(pieces).json()["text"] == "level 7"


@pytest.mark.parametrize(
    "disposition",
    [
        "name=\"file\"; filename*=UTF-8''%D1%80%D0%B5%D1%87%D1%8C.wav",
        'name="file"',
        "name=file",
        'name="file"; filename=""',
        'name="file"; filename="речь.wav"',
    ],
)
@pytest.mark.parametrize("n_seconds", [1, 60])
def test_the_part_named_file_is_one_whatever_its_name(post, disposition, n_seconds):
    recording = wav(level(7, n_seconds))  # of a minute: more than a field of text may have
    answer = post(body(part(disposition, recording))).json()
    assert answer["duration"] == n_seconds


@pytest.mark.parametrize("path", PATHS)
def test_a_form_that_breaks_off_is_told_as_that(post, decoder, path):
    for cut in (1, 6, 1000):
        data = body(MODEL, WHOLE)
        error = error_of(post(data[: -cut - 2], path=path))
        assert "last boundary, '--X--', did not come" in error["message"]
    assert decoder.jobs == []


def test_nothing_but_its_end_may_follow_the_last_boundary(post):
    assert post(body(WHOLE, end=b"\r\n--X--")).json()["text"] == "level 7"
    assert post(body(WHOLE, end=b"\r\n--X--\r\nepilogue")).json()["text"] == "level 7"


@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        ("multipart/form-data; boundary=Y", "The boundary of the content type, 'Y', is nowhere"),
        ("multipart/form-data", "without its boundary"),
        ("multipart/form-data; boundary=", "without its boundary"),
    ],
)
def test_a_content_type_that_does_not_fit_the_body_is_told(post, content_type, told):
    assert told in error_of(post(body(WHOLE), content_type))["message"]


def test_a_part_without_a_name_is_told(post):
    assert '"name"' in error_of(post(body(part('filename="a.wav"', FILE))))["message"]


def test_a_part_with_an_endless_header_is_told(post):
    disposition = f'name="file"; filename="{"a" * 9000}.wav"'
    assert "header size" in error_of(post(body(part(disposition, FILE))))["message"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "audio/wav", "application/x-www-form-urlencoded", "multipart/mixed", "x"],
)
@pytest.mark.parametrize("n_bytes", [100, 2 * 1024 * 1024])
@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_no_form_is_told_to_be_one(post, path, content_type, n_bytes):
    """Whatever its size, which is not what is wrong with it."""
    response = post(b"x" * n_bytes, content_type, path)
    error = error_of(response, 400 if path.startswith("/v1") else 422)
    assert (error["code"], error["param"]) == ("missing_file", "file")
    assert f"the body is {content_type}" in error["message"]
    assert "multipart/form-data" in error["message"]


def test_a_text_that_is_too_long_is_told_by_name(post):
    assert post(body(WHOLE, part('name="prompt"', b"x" * MAX_TEXT_BYTES))).status_code == 200
    error = error_of(post(body(WHOLE, part('name="prompt"', b"x" * (MAX_TEXT_BYTES + 1)))))
    assert "`prompt` has more than 1,048,576 bytes" in error["message"]
