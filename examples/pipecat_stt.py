"""Pipecat: its OpenAI services (files, and Realtime) and its Deepgram service.

    pip install "pipecat-ai[openai,deepgram]"
    python examples/pipecat_stt.py [WAV] [URL]

In a bot, any of them goes into the pipeline after the transport's input.
"""

import asyncio
import sys
import wave
from contextlib import suppress

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import EndFrame, Frame, InputAudioRawFrame, TranscriptionFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.stt_service import STTService
from pipecat.workers.runner import WorkerRunner

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
WS = URL.replace("http", "ws", 1)
QUIET = 20.0
"""Seconds without more text after which all has been said; in a bot, a pipeline has no end."""

logger.remove()
logger.add(sys.stderr, level="WARNING")


class Printer(FrameProcessor):
    """Prints what is final."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._service = name
        self.has_printed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            print(f"{self._service}: {frame.text.strip()}", flush=True)
            self.has_printed.set()
        await self.push_frame(frame, direction)


async def transcribe(service: STTService, wav: wave.Wave_read) -> None:
    """Run a pipeline of a microphone that plays the file, and a service."""
    # the default, 0.2 s, cuts sentences into words
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.8)))
    printer = Printer(type(service).__name__)
    pipeline = Pipeline([vad, service, printer])
    rate = wav.getframerate()
    params = PipelineParams(audio_in_sample_rate=rate)
    worker = PipelineWorker(pipeline, params=params, idle_timeout_secs=None)

    async def speak() -> None:
        while True:  # 20 ms at a time, as a transport has it, and then silence without end
            data = wav.readframes(rate // 50) or bytes(2 * (rate // 50))
            await worker.queue_frame(InputAudioRawFrame(data, rate, 1))
            await asyncio.sleep(0.02)

    async def listen() -> None:
        speaking = asyncio.create_task(speak())
        with suppress(TimeoutError):
            while True:
                printer.has_printed.clear()
                await asyncio.wait_for(printer.has_printed.wait(), QUIET)
        speaking.cancel()
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), listen())


async def main() -> None:
    for service in (
        OpenAISTTService(base_url=f"{URL}/v1", api_key="any"),
        OpenAIRealtimeSTTService(base_url=f"{WS}/v1/realtime", api_key="any"),
        DeepgramSTTService(base_url=URL, api_key="any"),
    ):
        with wave.open(FILE) as wav:
            await transcribe(service, wav)


asyncio.run(main())
