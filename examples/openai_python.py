"""OpenAI's client for Python: a file at once, then segment by segment as they are decoded.

pip install openai
python examples/openai_python.py [FILE] [URL]
"""

import sys

from openai import OpenAI

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"

client = OpenAI(base_url=f"{URL}/v1", api_key="any")
with open(FILE, "rb") as file:
    print(client.audio.transcriptions.create(model="whisper-1", file=file).text)

with open(FILE, "rb") as file:
    for event in client.audio.transcriptions.create(model="whisper-1", file=file, stream=True):
        if event.type == "transcript.text.delta":
            print(event.delta.strip())
