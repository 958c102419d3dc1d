"""Requests made up from the OpenAPI document: none is answered with a 500, or undocumented.

Few of them here; SCHEMA_EXAMPLES=5000 in the environment tries as many in all, and `-s` says what
they were answered.
"""

import math
import os
import tempfile
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.fakes import FakeDecoder
from whisper_service.api.app import create_app
from whisper_service.settings import Settings

N = int(os.environ.get("SCHEMA_EXAMPLES", "300"))
JOBS = tempfile.TemporaryDirectory()
APP = create_app(Settings(resume_key="a key for tests", jobs_dir=JOBS.name), FakeDecoder())
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
N_VARIED = sum(bool(one.body or any(one.iter_parameters())) for one in OPERATIONS)
"""Operations that can be asked in more ways than a few."""
ANSWERED = Counter()
CHECKS = [
    *(not_a_server_error, status_code_conformance),
    *(content_type_conformance, response_schema_conformance),
]


@SCHEMA.parametrize()
@settings(
    max_examples=math.ceil(N / N_VARIED),
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
def test_what_is_answered_is_what_is_documented(case):
    response = case.call()
    ANSWERED[response.status_code] += 1
    case.validate_response(response, checks=CHECKS)


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ, reason="processes that share the tests count their own"
)
def test_as_many_were_asked_as_were_to_be(request):
    """The last one; where only some of the others ran, there is nothing to count."""
    print(f"{ANSWERED.total()} requests: {dict(ANSWERED)}")
    if request.session.testscollected > len(OPERATIONS):
        assert ANSWERED.total() >= N
