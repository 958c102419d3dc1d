"""The bases of what clients send and what the service answers, and the shape of every error."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Input(BaseModel):
    """Base of what clients send: an unknown name is refused, never silently ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for name in data.keys() - cls.model_fields.keys():
                allowed = sorted(cls.model_fields)
                shown = str(name)[:100].encode("utf-8", "replace").decode()
                raise PydanticCustomError(
                    "unknown_field",
                    "There is no field {param}; allowed are {names}.",
                    {
                        "param": shown,
                        "got": shown,
                        "allowed": allowed,
                        "names": ", ".join(allowed),
                    },
                )
        return data


class Output(BaseModel):
    """Base of what the service answers."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), frozen=True)


class ErrorDetail(BaseModel):
    """What went wrong. Further fields depend on the code, and are named in its description."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str = Field(description="What programs branch on.", examples=["unknown_model"])
    message: str = Field(
        description="For people: what was wrong, what was got, what is allowed.",
        examples=["There is no model `huge`; allowed are base, small."],
    )


class ErrorBody(Output):
    """The one shape of every error."""

    error: ErrorDetail = Field(description="What went wrong.")
