"""Bytes to 16 kHz mono samples: containers, raw PCM, resampling, buffers, voice activity."""
