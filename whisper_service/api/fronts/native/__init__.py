"""The service's own protocol: /transcribe, /detect-language, /stream."""
