"""The keys that the settings ask for, and whether the service may start with them."""

from whisper_service.keys.file import KeysError, read_keys, refuse_twins
from whisper_service.keys.key import ApiKey, hash_key
from whisper_service.settings import Settings

MIN_PLAIN = 16
"""Characters of a key that somebody made up; fewer can be guessed."""
_EPHEMERAL = "ek_"

WAYS_OUT = (
    "API keys are required (WHISPER_REQUIRE_KEYS=on), and there are none. Choose one:"
    " make a key with `python -m whisper_service.keys new NAME --file keys.json` and set"
    " WHISPER_API_KEYS_FILE=keys.json (or give keys in WHISPER_API_KEYS);"
    " or let only this machine connect, with WHISPER_HOST=127.0.0.1 and WHISPER_REQUIRE_KEYS=auto;"
    " or let everybody in on purpose, with WHISPER_REQUIRE_KEYS=off."
)
OPEN_ACCESS = (
    "Anybody who can reach this service can use it: no API keys are configured."
    " Set WHISPER_API_KEYS or WHISPER_API_KEYS_FILE to ask for keys,"
    " or WHISPER_REQUIRE_KEYS=off if it is open on purpose."
)


def configured_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """The keys of the variable and of the file, as it is now; raises `KeysError`.

    Reads a file: not for the event loop.
    """
    keys = _plain_keys(settings.api_keys)
    if settings.api_keys_file is not None:
        keys += read_keys(settings.api_keys_file.expanduser())
        refuse_twins(keys, f"WHISPER_API_KEYS and {settings.api_keys_file}")
    return keys


def check_access(settings: Settings) -> None:
    """Raise `KeysError` with the ways out where keys are required and none are configured."""
    if settings.needs_keys and not settings.has_keys:
        raise KeysError(WAYS_OUT)


def open_access_warning(settings: Settings) -> str | None:
    """The warning of a service that everybody can use; None where that is not so, or is meant."""
    if settings.access == "open" and settings.require_keys == "auto":
        return OPEN_ACCESS
    return None


def access_line(settings: Settings) -> str:
    """Who can use the service, in one line for the terminal."""
    if warning := open_access_warning(settings):
        return f"WARNING: {warning}"
    if settings.access == "keys":
        return "API keys are required."
    if settings.access == "open":
        return "No API key is asked for (WHISPER_REQUIRE_KEYS=off): who can connect can use it."
    return f"No API key is asked for: only this machine reaches {settings.host}."


def _plain_keys(keys: tuple[str, ...]) -> tuple[ApiKey, ...]:
    for number, key in enumerate(keys, start=1):
        if len(key) < MIN_PLAIN or key.startswith(_EPHEMERAL):
            raise KeysError(
                f"Key {number} of WHISPER_API_KEYS is no key: it has to have {MIN_PLAIN} or more"
                f" characters and may not begin with {_EPHEMERAL};"
                " `openssl rand -hex 32` makes one."
            )
    return tuple(
        ApiKey(name=f"env-{number}", sha256=hash_key(key))
        for number, key in enumerate(keys, start=1)
    )
