"""Deepgram's client for Python: live audio.

pip install deepgram-sdk
python examples/deepgram_python.py [WAV] [URL]
"""

import sys
import threading
import time
import wave

from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
WS = URL.replace("http", "ws", 1)

environment = DeepgramClientEnvironment(base=URL, production=WS, agent=WS, agent_rest=URL)
client = DeepgramClient(api_key="any", environment=environment)

with (
    wave.open(FILE) as wav,
    client.listen.v1.connect(
        model="nova-3",
        language="en-US",
        encoding="linear16",
        sample_rate=wav.getframerate(),
        punctuate="true",
        smart_format="true",
        interim_results="true",
    ) as socket,
):

    def speak() -> None:
        while frame := wav.readframes(wav.getframerate() // 5):  # 0.2 s, as a microphone would
            socket.send_media(frame)
            time.sleep(0.2)
        socket.send_close_stream()

    speaking = threading.Thread(target=speak)
    speaking.start()
    while (message := socket.recv()).type != "Metadata":
        if message.type == "Results" and message.is_final:
            print(message.channel.alternatives[0].transcript)
    speaking.join()
