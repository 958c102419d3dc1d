"""What /docs says of the errors that a route can answer."""

from typing import Any

from pydantic import BaseModel

from whisper_service.api.http.errors import Shape, own_shape
from whisper_service.api.schemas.base import ErrorBody
from whisper_service.errors import ServiceError


def errors(
    *examples: ServiceError,
    shape: Shape = own_shape,
    model: type[BaseModel] = ErrorBody,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: the errors by status, each with the JSON it really has.

    `shape` gives an error's status and body where a route speaks another protocol than ours.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in examples:
        status, body, _ = shape(error)
        code = body["error"]["code"]
        response = responses.setdefault(
            status,
            {
                "model": model,
                "description": "",
                "content": {"application/json": {"examples": {}}},
            },
        )
        response["description"] = (response["description"] + f", `{code}`").lstrip(", ")
        response["content"]["application/json"]["examples"][code] = {
            "summary": (type(error).__doc__ or code).strip().splitlines()[0],
            "value": body,
        }
        if error.retry_after is not None:
            description = "Seconds after which to try again."
            header = {"description": description, "schema": {"type": "integer"}}
            response["headers"] = {"Retry-After": header}
    return responses
