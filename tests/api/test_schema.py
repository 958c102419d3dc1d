"""Requests made up from the OpenAPI document: none is answered with a 500, or undocumented.

Few of them here; SCHEMA_EXAMPLES=5000 in the environment tries more.
"""

import os

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
APP = create_app(Settings(resume_key="a key for tests"), FakeDecoder())
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
N_OPERATIONS = sum(1 for _ in SCHEMA.get_all_operations())
CHECKS = [
    *(not_a_server_error, status_code_conformance),
    *(content_type_conformance, response_schema_conformance),
]


@SCHEMA.parametrize()
@settings(
    max_examples=max(1, N // N_OPERATIONS),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
def test_what_is_answered_is_what_is_documented(case):
    case.call_and_validate(checks=CHECKS)
