"""The command line: arguments, what goes where, exit codes."""

import argparse
import asyncio
import io
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from whisper_service.client import output
from whisper_service.client.address import add_service, http_address, stream_address
from whisper_service.client.batch import Wanted, transcribe_all
from whisper_service.client.display import Display
from whisper_service.client.failure import ClientFailure, ExitCode
from whisper_service.client.inputs import find_inputs
from whisper_service.client.live import Listening, stream_live
from whisper_service.client.sources import (
    FILE_RATE,
    file_frames,
    microphone_frames,
    pipe_frames,
    sample_bytes,
    silent_byte,
)
from whisper_service.client.stream import Message
from whisper_service.client.tape import Tape
from whisper_service.types import TASKS, Encoding

_EPILOG = """\
exit codes: 0 done, 1 the service refused, 2 wrong arguments, 3 no service there or the connection
lost for good, 4 the audio or the output file cannot be used, 130 interrupted. Of several files it
is that of the first that failed; the others are done all the same.

examples:
  python -m whisper_service.client transcribe talk.mp4 --format srt --output talk.srt
  python -m whisper_service.client transcribe recordings/ --format srt --output texts/
  ffmpeg -i talk.mkv -f wav - | python -m whisper_service.client transcribe -
  python -m whisper_service.client stream talk.mp3 --language en
  python -m whisper_service.client stream --mic
  arecord -f S16_LE -r 16000 | python -m whisper_service.client stream -
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(asyncio.run(options.run(options)))
    except ClientFailure as failure:
        print(f"error: {failure.message}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return ExitCode.OK


def parser() -> argparse.ArgumentParser:
    """All there is to choose."""
    top = argparse.ArgumentParser(
        prog="python -m whisper_service.client",
        description="Turn files and live audio into text with a running service.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_transcribe(commands)
    _add_stream(commands)
    return top


def _add_common(command: argparse.ArgumentParser) -> None:
    add_service(command)
    command.add_argument("--model", help="a name from /models (the service's default)")
    command.add_argument("--language", help="a tag, code or name, as pt-BR, deu, German (detected)")
    command.add_argument("--task", choices=TASKS, default="transcribe", help="(%(default)s)")
    command.add_argument("--prompt", help="names and style the speech is likely to have")
    command.add_argument("--word-timestamps", action="store_true", help="time every word, in json")
    command.add_argument(
        "--format", choices=output.FORMATS, default="txt", help="of the result (%(default)s)"
    )


def _add_transcribe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("transcribe", help="files: any that ffmpeg reads, video too")
    command.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE",
        help="a file, a folder (all audio and video under it), a pattern such as '*.mp3', or - for"
        " a file from stdin",
    )
    _add_common(command)
    command.add_argument(
        "--output", type=Path, metavar="PATH", help="a file; for several FILEs a folder"
    )
    command.add_argument("--audio-track", help="of a file with several, counted from 0 (the best)")
    command.add_argument(
        "--no-vad", action="store_true", help="decode also where no speech is heard: for singing"
    )
    command.add_argument("--temperature", help="0 to 1 (as needed, from 0 upwards)")
    command.add_argument("--beam-size", help="1 to 10 (none: greedy)")
    command.set_defaults(run=_transcribe)


def _add_stream(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("stream", help="live: a file at its own pace, a microphone, -")
    command.add_argument(
        "source", nargs="?", metavar="FILE|-", help="any audio file; - is raw PCM from stdin"
    )
    command.add_argument(
        "--mic",
        nargs="?",
        const="default",
        metavar="FORMAT:DEVICE",
        help="the microphone, through ffmpeg; for example alsa:default",
    )
    _add_common(command)
    command.add_argument("--output", type=Path, metavar="PATH", help="a file for the result")
    settings = command.add_argument_group("settings of the stream, in seconds")
    settings.add_argument("--chunk-duration", type=float, help="the longest wait for a final")
    settings.add_argument("--overlap", type=float, help="final audio that is heard again")
    settings.add_argument("--partial-interval", type=float, help="between partials; 0 for none")
    settings.add_argument("--endpoint-silence", type=float, help="a pause that makes text final")
    settings.add_argument("--no-context", action="store_true", help="no final text as a prompt")
    settings.add_argument("--no-vad", action="store_true", help="decode silence, too")
    settings.add_argument("--speed", type=float, default=1.0, help="of a FILE (%(default)g)")
    settings.add_argument(
        "--retry", type=float, default=30.0, help="how long to reconnect for (%(default)g)"
    )
    raw = command.add_argument_group("raw audio from stdin")
    raw.add_argument("--sample-rate", type=int, default=FILE_RATE, help="(%(default)s)")
    raw.add_argument("--channels", type=int, default=1, help="(%(default)s)")
    raw.add_argument("--encoding", choices=[*Encoding], default="pcm_s16le", help="(%(default)s)")
    command.set_defaults(run=_stream, refuse=command.error)


async def _transcribe(options: argparse.Namespace) -> ExitCode:
    url = http_address(options.url)
    wanted = Wanted(url, options.key, _form(options), options.format, options.output)
    return await transcribe_all(find_inputs(options.inputs), wanted)


def _form(options: argparse.Namespace) -> dict[str, str]:
    fields = {
        "model_size": options.model,
        "language": options.language,
        "task": options.task,
        "prompt": options.prompt,
        "temperature": options.temperature,
        "beam_size": options.beam_size,
        "audio_track": options.audio_track,
        "vad_filter": "false" if options.no_vad else None,
        "word_timestamps": "true" if options.word_timestamps else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


async def _stream(options: argparse.Namespace) -> ExitCode:
    if (options.source is None) == (options.mic is None):
        options.refuse("name a FILE, or - for stdin, or --mic; one of them")
    if options.speed <= 0:
        options.refuse("--speed has to be more than 0")
    is_text = _shows_text(options)
    out = sys.stdout if is_text else sys.stderr
    display = Display(out, is_live=out.isatty())
    if not is_text and not out.isatty():
        display = Display(io.StringIO(), is_live=False)
    listening = Listening(display, Display(sys.stderr, is_live=False))
    config = _config(options)
    frame_bytes = options.channels * sample_bytes(options.encoding)
    await stream_live(
        stream_address(options.url),
        config,
        _source(options),
        Tape(options.sample_rate, frame_bytes, silent_byte(options.encoding)),
        listening,
        patience=options.retry,
        key=options.key,
    )
    if not is_text:
        output.write(listening.transcript(options.task), options.format, options.output)
    return ExitCode.OK


def _source(options: argparse.Namespace) -> AsyncGenerator[bytes, None]:
    if options.mic is not None:
        return microphone_frames(options.mic)
    if options.source == "-":
        return pipe_frames()
    return file_frames(Path(options.source), options.speed)


def _config(options: argparse.Namespace) -> Message:
    """The first message, with only what was asked for."""
    if options.source != "-":
        options.sample_rate, options.channels, options.encoding = FILE_RATE, 1, "pcm_s16le"
    fields = {
        "model_size": options.model,
        "language": options.language,
        "task": options.task,
        "prompt": options.prompt,
        "sample_rate": options.sample_rate,
        "channels": options.channels,
        "encoding": str(options.encoding),
        "chunk_duration": options.chunk_duration,
        "overlap": options.overlap,
        "hold_punctuation": False,  # a line that is written stays as it is
        "partial_interval": options.partial_interval,
        "endpoint_silence": options.endpoint_silence,
        "use_context": False if options.no_context else None,
        "vad": False if options.no_vad else None,
        "word_timestamps": True if options.word_timestamps else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _shows_text(options: argparse.Namespace) -> bool:
    """Final text goes to standard output as it comes; else the result does, at the end."""
    return options.format == "txt" and options.output is None
