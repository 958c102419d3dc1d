"""How likely each 32 ms of audio is speech.

Owns the detector's memory and the samples of an unfinished frame. Where speech begins and ends is
the policy's decision. The network is Silero VAD v6 (MIT), run by onnxruntime: without torch, many
frames at a time and without the interpreter's lock, in 0.2 % of real time of one core.
"""

from functools import cache
from importlib.metadata import distribution
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from whisper_service.types import Audio

FRAME_SAMPLES = 512
"""32 ms at 16 kHz, the only frame Silero VAD takes."""
_CONTEXT = 64
"""Samples of the frame before that Silero hears with each."""
_MODEL = "silero_vad/data/silero_vad_16k_sequence.onnx"
_MAX_FRAMES = 512
"""16 s in one call: its memory is bounded, and a longer one is no faster."""


class SpeechDetector(Protocol):
    """One stream's detector; it hears frames in order and remembers what came before."""

    frame_samples: int

    def probabilities(self, samples: Audio) -> list[float]:
        """Return the probability of speech, 0 to 1, of each frame that `samples` completes.

        Samples of an unfinished frame are kept for the next call.
        """

    def reset(self) -> None:
        """Forget everything, as before the first sample."""


class SileroDetector:
    """Silero VAD: a convolution over each frame, and an LSTM from frame to frame.

    What it finds `threshold` probable, between 0 and 1, it calls 0.5 probable, and the rest in
    proportion: who asks takes speech for at least that, and other limits move along.
    """

    frame_samples: int = FRAME_SAMPLES
    _pending: Audio
    _context: Audio
    _hidden: npt.NDArray[np.float32]
    _cell: npt.NDArray[np.float32]

    def __init__(self, threshold: float = 0.5) -> None:
        self._session = _session()
        self._threshold = threshold
        self.reset()

    def probabilities(self, samples: Audio) -> list[float]:
        """See `SpeechDetector`."""
        samples = np.concatenate((self._pending, samples))
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._pending = samples[whole:].copy()
        frames = samples[:whole].reshape(-1, FRAME_SAMPLES)
        heard: list[float] = []
        for first in range(0, len(frames), _MAX_FRAMES):
            heard += self._hear(frames[first : first + _MAX_FRAMES])
        if self._threshold == 0.5:
            return heard
        return np.interp(heard, (0.0, self._threshold, 1.0), (0.0, 0.5, 1.0)).tolist()

    def reset(self) -> None:
        """See `SpeechDetector`."""
        self._pending = np.empty(0, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._hidden = self._cell = np.zeros((1, 1, 128), np.float32)

    def _hear(self, frames: npt.NDArray[np.float32]) -> list[float]:
        tails = np.concatenate((self._context[None], frames[:, -_CONTEXT:]))
        self._context = tails[-1]
        probabilities, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {
                "input": np.concatenate((tails[:-1], frames), axis=1),
                "h": self._hidden,
                "c": self._cell,
            },
        )
        return [float(each) for each in probabilities.reshape(-1)]


@cache
def _session() -> onnxruntime.InferenceSession:
    """The network, once a process; any number of threads may run it.

    The package itself is not imported: that would bring torch, and set its number of threads.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = distribution("silero-vad").locate_file(_MODEL)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
