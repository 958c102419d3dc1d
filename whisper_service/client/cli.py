"""The commands `transcribe` and `stream`: options, what goes where, exit codes."""

import asyncio
import io
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from whisper_service.client import output
from whisper_service.client.address import DEFAULT_URL, Key, Url, http_address, stream_address
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
from whisper_service.command import CLIENTS, epilog, fail, new_app, run
from whisper_service.types import Encoding, Task

_EXIT_STATUS = """\
  0    done
  1    the service refused
  2    wrong arguments
  3    no service at that address, or the connection broke for good
  4    the audio, or the output file, cannot be used
  130  interrupted"""

_TRANSCRIBE_HELP = epilog(
    (
        "Examples",
        """\
  whisper-streaming transcribe talk.mp4 --format srt --output talk.srt
  whisper-streaming transcribe recordings/ --format srt --output texts/
  ffmpeg -i talk.mkv -f wav - | whisper-streaming transcribe -""",
    ),
    (
        "Exit status",
        _EXIT_STATUS + "\n  Of several files that of the first that failed; all are tried.",
    ),
)
_STREAM_HELP = epilog(
    (
        "Examples",
        """\
  whisper-streaming stream talk.mp3 --language en
  whisper-streaming stream --mic
  arecord -f S16_LE -r 16000 | whisper-streaming stream -""",
    ),
    ("Exit status", _EXIT_STATUS),
)


def _option(panel: str, help: str, *names: str, metavar: str | None = None) -> Any:
    """An option of a group of the --help whose default is said in words, if at all."""
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False
    )


_RESULT, _SPEECH, _LIVE, _RAW = "Result", "Speech", "Live text", "Raw audio from stdin"

Form = Annotated[
    output.Form, typer.Option("--format", help="Of the result.", rich_help_panel=_RESULT)
]
WordTimestamps = Annotated[bool, _option(_RESULT, "Time every word, in json.", "--word-timestamps")]
Model = Annotated[str | None, _option(_SPEECH, "A name from /models (the service's default).")]
Language = Annotated[
    str | None, _option(_SPEECH, "Tag, code or name: pt-BR, deu, German (detected).")
]
Job = Annotated[
    Task,
    typer.Option("--task", help="translate: into English.", rich_help_panel=_SPEECH),
]
Prompt = Annotated[
    str | None, _option(_SPEECH, "Names and style that the speech is likely to have.")
]

app = new_app("Turn files and live audio into text with a running service.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the process's exit code."""
    return run(app, "python -m whisper_service.client", arguments)


@app.command(epilog=_TRANSCRIBE_HELP, rich_help_panel=CLIENTS)
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="A file, a folder (all audio and video under it), a pattern such as '*.mp3', or -"
            " for a file from stdin.",
        ),
    ],
    path: Annotated[
        Path | None,
        _option(_RESULT, "A file; for several FILEs a folder.", "--output", metavar="PATH"),
    ] = None,
    form: Form = "txt",
    word_timestamps: WordTimestamps = False,
    model: Model = None,
    language: Language = None,
    task: Job = "transcribe",
    prompt: Prompt = None,
    audio_track: Annotated[
        str | None, _option(_SPEECH, "Of a file with several, counted from 0 (the best).")
    ] = None,
    no_vad: Annotated[
        bool, _option(_SPEECH, "Decode also where no speech is heard: for singing.", "--no-vad")
    ] = False,
    temperature: Annotated[
        str | None, _option(_SPEECH, "0 to 1 (as needed, from 0 upwards).")
    ] = None,
    beam_size: Annotated[str | None, _option(_SPEECH, "1 to 10 (none: greedy).")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Transcribe files: any audio or video that ffmpeg reads."""
    fields = {
        "model_size": model,
        "language": language,
        "task": task,
        "prompt": prompt,
        "temperature": temperature,
        "beam_size": beam_size,
        "audio_track": audio_track,
        "vad_filter": "false" if no_vad else None,
        "word_timestamps": "true" if word_timestamps else None,
    }

    async def work() -> ExitCode:
        wanted = Wanted(http_address(url), key, _given(fields), form, path)
        return await transcribe_all(find_inputs(inputs), wanted)

    _finish(work)


class _StreamCommand(TyperCommand):
    """`--mic` may stand alone for the default microphone, which options of Typer cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with the default in its place."""
        spelt = (
            "--mic=default" if arg == "--mic" and after.startswith("-") else arg
            for arg, after in zip_longest(args, args[1:], fillvalue="-")
        )
        return super().parse_args(ctx, list(spelt))


@app.command(cls=_StreamCommand, epilog=_STREAM_HELP, rich_help_panel=CLIENTS)
def stream(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|-",
            help="An audio file, sent at the pace of speech; - is raw PCM from stdin.",
            show_default=False,
        ),
    ] = None,
    mic: Annotated[
        str | None,
        typer.Option(
            metavar="[FORMAT:DEVICE]",
            help="The microphone, through ffmpeg: the default one, or such as alsa:hw:1.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[float, typer.Option(help="Times the pace of speech, for a FILE.")] = 1.0,
    path: Annotated[Path | None, _option(_RESULT, "A file.", "--output", metavar="PATH")] = None,
    form: Form = "txt",
    word_timestamps: WordTimestamps = False,
    model: Model = None,
    language: Language = None,
    task: Job = "transcribe",
    prompt: Prompt = None,
    chunk_duration: Annotated[
        float | None, _option(_LIVE, "Seconds a final is waited for at the most.")
    ] = None,
    overlap: Annotated[
        float | None, _option(_LIVE, "Seconds of final audio that are decoded again.")
    ] = None,
    partial_interval: Annotated[
        float | None, _option(_LIVE, "Seconds between partials; 0 for none.")
    ] = None,
    endpoint_silence: Annotated[
        float | None, _option(_LIVE, "Seconds of pause that make text final.")
    ] = None,
    no_context: Annotated[
        bool, _option(_LIVE, "Do not prompt with the text before.", "--no-context")
    ] = False,
    no_vad: Annotated[bool, _option(_LIVE, "Decode silence, too.", "--no-vad")] = False,
    sample_rate: Annotated[int, typer.Option(rich_help_panel=_RAW)] = FILE_RATE,
    channels: Annotated[int, typer.Option(rich_help_panel=_RAW)] = 1,
    encoding: Annotated[Encoding, typer.Option(rich_help_panel=_RAW)] = Encoding.PCM_S16LE,
    url: Url = DEFAULT_URL,
    key: Key = None,
    retry: Annotated[
        float,
        typer.Option(
            help="Seconds to reconnect for when the connection breaks.", rich_help_panel="Service"
        ),
    ] = 30.0,
) -> None:
    """Stream live audio: a file at the pace of speech, the microphone, or raw PCM from stdin."""
    if (source is None) == (mic is None):
        fail("name a FILE, or - for stdin, or --mic; one of them", ExitCode.WRONG_ARGUMENTS)
    if speed <= 0:
        fail("--speed has to be more than 0", ExitCode.WRONG_ARGUMENTS)
    if source != "-":
        sample_rate, channels, encoding = FILE_RATE, 1, Encoding.PCM_S16LE
    config = _given(
        {
            "model_size": model,
            "language": language,
            "task": task,
            "prompt": prompt,
            "sample_rate": sample_rate,
            "channels": channels,
            "encoding": str(encoding),
            "chunk_duration": chunk_duration,
            "overlap": overlap,
            "hold_punctuation": False,  # a line that is written stays as it is
            "partial_interval": partial_interval,
            "endpoint_silence": endpoint_silence,
            "use_context": False if no_context else None,
            "vad": False if no_vad else None,
            "word_timestamps": True if word_timestamps else None,
        }
    )
    tape = Tape(sample_rate, channels * sample_bytes(encoding), silent_byte(encoding))

    async def work() -> ExitCode:
        # Final text goes to standard output as it comes; else the result does, at the end.
        shows_text = form == "txt" and path is None
        listening = Listening(_live_display(shows_text), Display(sys.stderr, is_live=False))
        frames = _frames(source, mic, speed)
        address = stream_address(url)
        await stream_live(address, config, frames, tape, listening, patience=retry, key=key)
        if not shows_text:
            output.write(listening.transcript(task), form, path)
        return ExitCode.OK

    _finish(work)


def _frames(source: str | None, mic: str | None, speed: float) -> AsyncGenerator[bytes, None]:
    if mic is not None:
        return microphone_frames(mic)
    if source is None or source == "-":
        return pipe_frames()
    return file_frames(Path(source), speed)


def _live_display(shows_text: bool) -> Display:
    out = sys.stdout if shows_text else sys.stderr
    if not shows_text and not out.isatty():
        return Display(io.StringIO(), is_live=False)
    return Display(out, is_live=out.isatty())


def _given(fields: Message) -> Message:
    """Only what was asked for; the service has defaults for the rest."""
    return {name: value for name, value in fields.items() if value is not None}


def _finish(work: Callable[[], Coroutine[Any, Any, ExitCode]]) -> None:
    """Do a command's work, and end with its exit code."""
    try:
        code = asyncio.run(work())
    except ClientFailure as failure:
        fail(failure.message, failure.code)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        code = ExitCode.OK
    raise typer.Exit(code)
