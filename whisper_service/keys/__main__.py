"""Make, list and remove API keys: `python -m whisper_service.keys new NAME --file keys.json`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from whisper_service.keys.file import KeysError, read_keys, write_keys
from whisper_service.keys.key import SCOPES, ApiKey, hash_key, new_key

_FILE_VARIABLE = "WHISPER_API_KEYS_FILE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (KeysError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m whisper_service.keys",
        description="API keys. The file keeps hashes; a running service reads it again by itself.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    new = commands.add_parser("new", help="make a key; it is printed once and kept nowhere")
    new.add_argument("name", metavar="NAME", help="whose key it is: letters, digits, . _ -")
    new.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="what it opens: files or sockets; may be repeated (both)",
    )
    new.add_argument("--requests-per-minute", type=int, metavar="N", help="(the service's default)")
    new.add_argument("--upload-bytes-per-minute", type=int, metavar="N", help="(the same)")
    new.add_argument("--max-uploads", type=int, metavar="N", help="at once")
    new.add_argument("--max-streams", type=int, metavar="N", help="at once")
    new.set_defaults(run=_new)
    listing = commands.add_parser("list", help="names, scopes and limits")
    listing.set_defaults(run=_list)
    remove = commands.add_parser("remove", help="take a key back")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=_remove)
    default = os.environ.get(_FILE_VARIABLE)
    for command in (new, listing, remove):
        command.add_argument(
            "--file",
            type=Path,
            default=default,
            required=default is None,
            help=f"the keys file ({_FILE_VARIABLE})",
        )
    return top


def _new(options: argparse.Namespace) -> None:
    keys = read_keys(options.file) if options.file.exists() else ()
    if any(key.name == options.name for key in keys):
        raise KeysError(f"There is a key named {options.name!r} already; remove it first.")
    secret = new_key()
    try:
        key = ApiKey(
            name=options.name,
            sha256=hash_key(secret),
            scopes=tuple(dict.fromkeys(options.scope or SCOPES)),
            requests_per_minute=options.requests_per_minute,
            upload_bytes_per_minute=options.upload_bytes_per_minute,
            max_uploads=options.max_uploads,
            max_streams=options.max_streams,
        )
    except ValidationError as error:
        failure = error.errors()[0]
        raise KeysError(f"{failure['loc'][0]}: {failure['msg']}.") from None
    write_keys(options.file, [*keys, key])
    print(secret)
    print(f"Kept as a hash in {options.file}; the key itself is shown only now.", file=sys.stderr)


def _list(options: argparse.Namespace) -> None:
    for key in read_keys(options.file):
        limits = key.model_dump(exclude={"name", "sha256", "scopes"}, exclude_none=True)
        words = [",".join(key.scopes), *(f"{name}={value}" for name, value in limits.items())]
        print(f"{key.name}  {'  '.join(words)}")


def _remove(options: argparse.Namespace) -> None:
    keys = read_keys(options.file)
    kept = [key for key in keys if key.name != options.name]
    if len(kept) == len(keys):
        names = ", ".join(key.name for key in keys) or "none"
        raise KeysError(f"There is no key named {options.name!r}; there are: {names}.")
    write_keys(options.file, kept)


if __name__ == "__main__":
    sys.exit(main())
