"""What a client sees of a job."""

import asyncio
from urllib.parse import urljoin

import pytest

from tests.api.fakes import level, wav
from tests.api.fronts.jobs.conftest import FILE
from whisper_service.keys.file import write_keys
from whisper_service.keys.key import ApiKey, hash_key

UNKNOWN = "job_" + "0" * 32


async def test_a_file_becomes_a_job_and_the_job_text(replica):
    response = await replica.add(model_size="small", language="en")
    job = response.json()
    assert (response.status_code, job["state"]) == (202, "queued")
    address = urljoin("http://test/jobs", response.headers["location"])
    assert address == f"http://test/jobs/{job['id']}"
    done = await replica.until(job["id"], "done")
    assert done["result"] == {"text": "level 7", "language": "en", "duration": 1.0}
    assert done["progress"] == {"position": 1.0, "duration": 1.0}
    assert (done["error"], done["model_size"], done["file_name"]) == (None, "small", "a.wav")
    assert done["created_at"] <= done["started_at"] <= done["finished_at"] < done["expires_at"]


@pytest.mark.parametrize("name", ["json", "verbose_json", "text", "srt", "vtt", "tsv"])
async def test_the_result_is_what_transcribe_answers(replica, name):
    fields = {"response_format": name, "word_timestamps": "true"}
    response = await replica.client.post("/transcribe", files={"file": FILE}, data=fields)
    job = await replica.until(await replica.added(**fields), "done")
    is_json = response.headers["content-type"] == "application/json"
    assert job["result"] == (response.json() if is_json else response.text)


async def test_the_form_reaches_the_decoder(replica, decoder):
    fields = {"language": "German", "task": "translate", "prompt": "Zahlen", "temperature": "0.4"}
    await replica.until(await replica.added(**fields), "done")
    options = decoder.jobs[0].options
    assert (options.language, options.task, options.prompt) == ("de", "translate", "Zahlen")
    assert (options.temperatures, decoder.jobs[0].priority) == ((0.4,), "file")


async def test_progress_is_told_in_seconds_of_audio(replica, decoder, monkeypatch):
    whole, last = decoder.decode, asyncio.Event()

    async def decode(model_size, job):
        if float(job.audio[len(job.audio) // 2]) > 0.125:  # of the levels below, the loudest
            await last.wait()
        return await whole(model_size, job)

    monkeypatch.setattr(decoder, "decode", decode)
    pcm = b"".join(level(number, 30) for number in (11, 12, 13))
    job_id = await replica.added(("a.wav", wav(pcm)))
    job = await replica.once(job_id, lambda job: job["progress"]["position"] >= 30)
    assert (job["state"], job["result"]) == ("running", None)
    assert job["progress"]["position"] < job["progress"]["duration"] == 90.0
    last.set()
    job = await replica.until(job_id, "done")
    assert job["progress"] == {"position": 90.0, "duration": 90.0}


async def test_a_job_that_fails_says_why_in_the_shape_of_all_errors(replica):
    job_id = await replica.added(("a.wav", b"this is no audio at all\n" * 50))
    job = await replica.until(job_id, "failed")
    assert job["error"]["code"] == "undecodable_audio"
    assert "cannot be decoded" in job["error"]["message"]
    assert (job["result"], job["finished_at"] is None) == (None, False)


async def test_a_bug_fails_one_job_and_says_nothing_of_itself(replica, decoder, caplog):
    decoder.failures = [RuntimeError("a secret detail")]
    job = await replica.until(await replica.added(), "failed")
    assert job["error"] == {
        "code": "internal_error",
        "message": "Internal error; it has been logged.",
    }
    assert "a secret detail" in caplog.text
    assert (await replica.until(await replica.added(), "done"))["result"]["text"] == "level 7"


async def test_what_is_wrong_with_a_form_is_told_at_once(replica):
    for fields, param in [
        ({"model_size": "huge"}, "model_size"),
        ({"language": "klingon"}, "language"),
        ({"model_size": "base.en", "language": "de"}, "language"),
        ({"stream": "true"}, "stream"),
        ({"response_format": "pdf"}, "response_format"),
        ({"webhook_url": "https://example.com"}, "webhook_url"),
    ]:
        response = await replica.add(**fields)
        assert (response.status_code, response.json()["error"]["param"]) == (422, param)
    response = await replica.client.post("/jobs", data={"language": "en"})
    assert response.json()["error"]["code"] == "missing_file"


async def test_a_job_can_be_cancelled_while_it_runs(replica, decoder):
    decoder.gate.clear()
    job_id = await replica.added()
    await decoder.begun.acquire()
    assert (await replica.client.delete(f"/jobs/{job_id}")).status_code == 204
    job = await replica.get(job_id)
    assert (job["state"], job["result"]) == ("cancelled", None)
    while not decoder.n_cancelled:
        await replica.get(job_id)
    decoder.gate.set()
    assert (await replica.until(await replica.added(), "done"))["result"]["text"] == "level 7"
    assert (await replica.get(job_id))["state"] == "cancelled"


async def test_a_job_that_has_ended_can_be_forgotten(replica):
    job_id = await replica.added()
    await replica.until(job_id, "done")
    assert (await replica.client.delete(f"/jobs/{job_id}")).status_code == 204
    for method in ("GET", "DELETE"):
        response = await replica.client.request(method, f"/jobs/{job_id}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("job_id", ["7", "job_", UNKNOWN[:-1], UNKNOWN + "0", "job_%00", "job_'--"])
async def test_what_is_no_id_is_no_crash(replica, job_id):
    response = await replica.client.get(f"/jobs/{job_id}")
    assert (response.status_code, response.json()["error"]["param"]) == (422, "job_id")


async def test_a_job_that_is_not_there(replica):
    assert (await replica.client.get(f"/jobs/{UNKNOWN}")).status_code == 404
    await replica.added()
    assert (await replica.client.get(f"/jobs/{UNKNOWN}")).status_code == 404


async def test_a_strange_file_name_is_kept_as_far_as_it_can_be(replica):
    job_id = await replica.added(("ü" * 300 + ".wav", FILE[1]))
    assert (await replica.get(job_id))["file_name"] == "ü" * 255


async def test_the_same_request_twice_is_one_job(replica, decoder):
    headers = {"Idempotency-Key": "one"}
    first = await replica.add(headers=headers)
    again = await replica.add(headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    for change in ({"file": ("a.wav", wav(level(8)))}, {"response_format": "srt"}):
        other = await replica.add(headers=headers, **change)
        assert (other.status_code, other.json()["error"]["param"]) == (422, "Idempotency-Key")
    await replica.until(first.json()["id"], "done")
    assert len(decoder.jobs) == 1
    long = await replica.add(headers={"Idempotency-Key": "x" * 256})
    assert long.status_code == 422


async def test_polling_is_told_how_often_and_is_not_kept_by_caches(replica, decoder):
    decoder.gate.clear()
    job_id = await replica.added()
    response = await replica.client.get(f"/jobs/{job_id}")
    assert (response.headers["retry-after"], response.headers["cache-control"]) == ("2", "no-store")
    decoder.gate.set()
    await replica.until(job_id, "done")
    assert "retry-after" not in (await replica.client.get(f"/jobs/{job_id}")).headers


async def test_jobs_can_be_left_out(serve):
    async with serve(jobs=False) as replica:
        assert (await replica.add()).status_code == 404
        assert "/jobs" not in (await replica.client.get("/openapi.json")).json()["paths"]


async def test_a_folder_that_cannot_be_used_is_an_error_in_words(serve, tmp_path):
    (tmp_path / "file").write_text("no folder")
    async with serve(jobs_dir=tmp_path / "file" / "jobs") as replica:
        response = await replica.add()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
        assert str(tmp_path) not in response.text
        files = {"file": FILE}
        assert (await replica.client.post("/transcribe", files=files)).status_code == 200


async def test_pages_may_read_where_a_job_is(replica):
    allowed = {"origin": "null", "access-control-request-method": "DELETE"}
    response = await replica.client.options(f"/jobs/{UNKNOWN}", headers=allowed)
    assert "DELETE" in response.headers["access-control-allow-methods"]
    response = await replica.add(headers={"origin": "null"})
    assert "Location" in response.headers["access-control-expose-headers"]


async def test_a_limit_on_jobs_is_told(serve, decoder):
    decoder.gate.clear()
    async with serve(max_jobs=1) as replica:
        await replica.added()
        response = await replica.add()
        assert (response.status_code, response.json()["error"]["limit"]) == (503, 1)
        assert int(response.headers["retry-after"]) > 0
        decoder.gate.set()


# --- keys

WEB, OTHER, LIVE = ({"X-API-Key": f"the key of {name}"} for name in ("web", "other", "live"))


@pytest.fixture
async def keyed(serve, tmp_path):
    path = tmp_path / "keys.json"
    keys = [
        ApiKey(name="web", sha256=hash_key(WEB["X-API-Key"]), max_uploads=1),
        ApiKey(name="other", sha256=hash_key(OTHER["X-API-Key"])),
        ApiKey(name="live", sha256=hash_key(LIVE["X-API-Key"]), scopes=("stream",)),
    ]
    write_keys(path, keys)
    async with serve(api_keys_file=path, max_jobs=20) as replica:
        yield replica


async def test_a_job_is_its_keys_and_of_the_keys_tokens(keyed):
    job_id = (await keyed.add(headers=WEB)).json()["id"]
    token = (await keyed.client.post("/tokens", headers=WEB)).json()["token"]
    own = {"Authorization": f"Bearer {token}"}
    await keyed.until(job_id, "done", headers=own)
    for method in ("GET", "DELETE"):
        response = await keyed.client.request(method, f"/jobs/{job_id}", headers=OTHER)
        assert response.status_code == 404
    assert (await keyed.client.get(f"/jobs/{job_id}")).status_code == 401
    assert (await keyed.client.delete(f"/jobs/{job_id}", headers=WEB)).status_code == 204


async def test_a_key_lists_its_own_jobs_page_by_page(keyed):
    ids = []
    for _ in range(3):
        ids.append((await keyed.add(headers=WEB)).json()["id"])
        await keyed.until(ids[-1], "done", headers=WEB)
    await keyed.add(headers=OTHER)
    first = (await keyed.client.get("/jobs?limit=2", headers=WEB)).json()
    assert ([job["id"] for job in first["jobs"]], first["has_more"]) == (ids[:0:-1], True)
    assert first["jobs"][0]["result"] is None
    rest = await keyed.client.get(f"/jobs?before={first['jobs'][-1]['id']}", headers=WEB)
    assert [job["id"] for job in rest.json()["jobs"]] == ids[:1]
    assert rest.json()["has_more"] is False


async def test_without_keys_nobody_sees_the_jobs_of_all(replica):
    await replica.added()
    response = await replica.client.get("/jobs")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


async def test_a_key_for_streams_opens_no_jobs(keyed):
    assert (await keyed.add(headers=LIVE)).status_code == 403
    assert (await keyed.client.get(f"/jobs/{UNKNOWN}", headers=LIVE)).status_code == 403
    assert (await keyed.client.get("/jobs", headers=LIVE)).status_code == 403


async def test_a_keys_limit_on_jobs_is_told(keyed, decoder):
    decoder.gate.clear()
    for _ in range(2):
        assert (await keyed.add(headers=WEB)).status_code == 202
    response = await keyed.add(headers=WEB)
    assert (response.status_code, response.json()["error"]["what"]) == (429, "jobs")
    assert (await keyed.add(headers=OTHER)).status_code == 202
    decoder.gate.set()


async def test_who_asks_takes_no_place_of_an_upload(keyed, decoder):
    decoder.gate.clear()
    job_id = (await keyed.add(headers=WEB)).json()["id"]
    await keyed.until(job_id, "running", headers=WEB)
    response = await keyed.add(headers=WEB)  # max_uploads is 1, and no upload is going on
    assert response.status_code == 202, response.text
    decoder.gate.set()
