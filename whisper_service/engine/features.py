"""Audio to log-mel spectrograms, exactly as openai-whisper computes them.

A window shorter than 30 s is padded with silence before the spectrogram is taken, as in
`whisper.decode`'s documented use; `whisper.transcribe` pads the spectrogram with the value 0,
which is not silence but a faint noise. For a full window the two are the same.
"""

from collections.abc import Sequence

import numpy as np
import torch
from whisper.audio import HOP_LENGTH, log_mel_spectrogram

from whisper_service.types import WINDOW_SAMPLES, Audio


def log_mels(
    audios: Sequence[Audio], n_mels: int, device: torch.device, n_samples: int = WINDOW_SAMPLES
) -> torch.Tensor:
    """Return float32 [B, n_mels, n_samples / 160] of audio and the silence after it.

    One call a row: `log_mel_spectrogram` clips to the loudest value it is given, so rows of a
    batch would change each other.
    """
    return torch.stack(
        [
            log_mel_spectrogram(_pad(audio, n_samples), n_mels=n_mels, device=device)
            for audio in audios
        ]
    )


def n_frames(audio: Audio) -> int:
    """Spectrogram frames of 10 ms that hold audio, not padding."""
    return len(audio) // int(HOP_LENGTH)


def _pad(audio: Audio, n_samples: int) -> Audio:
    """Copy into silence; also makes a read-only array writable, as torch wants it."""
    padded = np.zeros(n_samples, np.float32)
    padded[: len(audio)] = audio
    return padded
