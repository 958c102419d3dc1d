"""/v1/models as the official client asks for it."""

import openai
import pytest
from openai.types import Model


def test_every_usable_model_is_listed_and_the_alias(client):
    listed = client.models.list().data
    assert [model.id for model in listed] == ["whisper-1", "base", "base.en", "small"]
    assert all(Model.model_validate(model.to_dict(), extra="forbid") for model in listed)


@pytest.mark.parametrize("name", ["whisper-1", "base.en"])
def test_a_model_is_looked_up_by_its_id(client, name):
    assert client.models.retrieve(name) in client.models.list().data


@pytest.mark.parametrize("name", ["large", "gpt-4o", "openai/whisper-tiny"])
def test_a_model_that_cannot_be_used_is_not_found(client, name):
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve(name)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
