"""Jobs in, hypotheses out: the only place that knows torch and Whisper's weights."""
