"""What /docs says of the native front beyond its routes: formats, and the messages of /stream."""

import json
from typing import Any

from pydantic import BaseModel

from whisper_service.api.fronts.native.messages import (
    ConfigMessage,
    DoneMessage,
    Finalize,
    FinalMessage,
    Keepalive,
    PartialMessage,
    Ready,
    ResumeMessage,
    SpeechEndedMessage,
    SpeechStartedMessage,
    Stop,
    WarningMessage,
)
from whisper_service.api.schemas.transcripts import (
    SEGMENT_EXAMPLE,
    TranscriptBody,
    VerboseTranscriptBody,
    format_examples,
)

_WORDS = {"text": "one two three", "language": "en", "duration": 2.4}
_VERBOSE = {
    **_WORDS,
    "task": "transcribe",
    "language_probability": 0.99,
    "segments": [SEGMENT_EXAMPLE],
    "warnings": [],
}
FORMAT_EXAMPLES: dict[str, Any] = {
    "description": "The transcript in the form asked for.",
    "model": TranscriptBody | VerboseTranscriptBody,
    "content": {
        **format_examples(_WORDS, _VERBOSE),
        "text/tab-separated-values": {
            "schema": {"type": "string"},
            "example": "start\tend\ttext\n0\t2400\tone two three\n",
        },
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'event: language\ndata: {"language": "en", "language_probability": 0.99}\n\n'
            'event: done\ndata: {"text": "one two three"}\n\n',
        },
    },
}


def _table(*models: type[BaseModel]) -> str:
    rows = ["| field | values | meaning |", "|---|---|---|"]
    for model in models:
        for name, field in model.model_json_schema()["properties"].items():
            if "description" in field:
                text = field["description"]
                if "default" in field:
                    text += f" Default `{json.dumps(field['default'])}`."
                rows.append(f"| `{name}` | {_values(field)} | {text} |")
    return "\n".join(rows)


def _values(field: dict[str, Any]) -> str:
    """A field's type in words, with its range."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_values(kind) for kind in field["anyOf"])
    words = {"string": "text", "integer": "whole number", "array": "list"}
    kind = words.get(field.get("type", "object"), field.get("type", "object"))
    if "minimum" in field:
        kind += f", {field['minimum']:g} to {field['maximum']:g}"
    return str(kind)


def _message(model: type[BaseModel]) -> str:
    kind = model.model_fields["type"].default
    doc = " ".join((model.__doc__ or "").split())
    return f"**`{kind}`** {doc}\n\n{_table(model)}\n"


GUIDE = f"""
<details><summary><b>WebSocket /stream</b>: live audio to text, message by message</summary>

Connect to `ws://HOST/stream`. A server that is full answers the handshake with 503 and
`Retry-After`. Times are seconds on the stream's own clock, which is 0 at its first sample.

1. Send the configuration as text, within ten seconds. Every field is optional; `{{}}` is enough.

{_table(ConfigMessage)}

Or go on where a broken stream ended:

{_table(ResumeMessage)}

2. Send audio as binary messages of any size; 100 to 250 ms each is a good one. An empty binary
message means stop. Further text messages:
`{{"type": "finalize"}}` {Finalize.__doc__}
`{{"type": "keepalive"}}` {Keepalive.__doc__}
`{{"type": "stop"}}` {" ".join((Stop.__doc__ or "").split())}

3. Receive text messages; each has a `type` and a `seq` that counts up by one.

{_message(Ready)}
{_message(SpeechStartedMessage)}
{_message(PartialMessage)}
{_message(FinalMessage)}
{_message(SpeechEndedMessage)}
{_message(WarningMessage)}
{_message(DoneMessage)}
**`error`** `code` and `message` as everywhere; then the close: 1003 audio before the configuration,
1007 a message that cannot be read, 1008 a value or pace that is not allowed, 1009 too much, 1011 a
bug of ours, 1012 the replica goes away (resume elsewhere), 1013 try again later.

</details>
"""
