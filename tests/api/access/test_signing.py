import pytest
from itsdangerous import BadSignature, SignatureExpired, URLSafeSerializer, URLSafeTimedSerializer

from whisper_service.api.access.signing import Signing

NOW, FIELDS = 1000.0, {"a": [1, "é"], "b": None}


@pytest.fixture
def signing():
    return Signing("a secret", "tests")


def test_what_is_signed_is_read_until_it_expires(signing):
    text = signing.sign(FIELDS, NOW + 1)
    assert Signing("a secret", "tests").read(text, NOW) == FIELDS
    with pytest.raises(SignatureExpired):
        signing.read(text, NOW + 1)


@pytest.mark.parametrize("other", [Signing("another", "tests"), Signing("a secret", "others")])
def test_what_another_secret_or_purpose_signed_is_refused(signing, other):
    with pytest.raises(BadSignature):
        signing.read(other.sign(FIELDS, NOW + 1), NOW)
    assert signing.fingerprint("x") != other.fingerprint("x")


@pytest.mark.parametrize("fields", [{}, [], "text", 5, None])
@pytest.mark.parametrize("serializer", [URLSafeSerializer, URLSafeTimedSerializer])
def test_what_an_earlier_version_signed_is_refused(signing, serializer, fields):
    with pytest.raises(BadSignature):
        signing.read(serializer("a secret", salt="tests").dumps(fields), NOW)


def test_what_is_compressed_is_short(signing):
    assert len(signing.sign({"text": "word " * 1000}, NOW)) < 200
