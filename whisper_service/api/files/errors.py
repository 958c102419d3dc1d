"""What can be wrong with an upload, as /docs shows it beside every route that takes one."""

from whisper_service.errors import (
    AudioTooLong,
    AudioTooShort,
    EmptyAudio,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    MissingFile,
    ModelUnavailable,
    NoAudioTrack,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    ServiceError,
    TimedOut,
    Unauthorized,
    UndecodableAudio,
    UnknownLanguage,
    UnknownModel,
)

FILE_ERRORS: tuple[ServiceError, ...] = (
    InvalidRequest("The form breaks off: its last boundary did not come."),
    TimedOut("The upload was not done after 3600 s, all the time one may take.", limit=3600),
    PayloadTooLarge("The request body is larger than 1,073,741,824 bytes.", max_bytes=2**30),
    AudioTooLong("The audio is longer than 14400 s.", max_duration=14400),
    MissingFile("There is no file.", param="file", got="nothing", allowed="an audio or video file"),
    InvalidParameter(
        "`beam_size` is 11; allowed is 10 or less.",
        param="beam_size",
        got="11",
        allowed="10 or less",
    ),
    UnknownModel(
        "There is no model 'huge'; allowed are base, small.",
        param="model_size",
        got="huge",
        allowed=["base", "small"],
    ),
    UnknownLanguage(
        "This is not a language Whisper knows.",
        param="language",
        got="klingon",
        allowed=["de", "en"],
    ),
    EmptyAudio("The file is empty."),
    UndecodableAudio("The file is no audio or video that can be read."),
    NoAudioTrack("The file has no sound."),
    AudioTooShort("The audio is 0.05 s long.", duration=0.05, min_duration=0.1),
    Unauthorized("There is no API key. Send `Authorization: Bearer KEY`."),
    Forbidden(
        "The API key does not open this: it needs the scope `transcribe`.",
        got=["stream"],
        allowed=["transcribe"],
    ),
    RateLimited(
        "The API key has used its 60 requests a minute.",
        retry_after=1,
        limit=60,
        what="requests a minute",
    ),
    Overloaded("64 uploads are going on, which is the limit.", retry_after=2, limit=64),
    ModelUnavailable(
        "The weights of the model `small` are not here and may not be downloaded.",
        model="small",
        path="/models/small.pt",
    ),
)
"""One example of each error an upload can meet."""
