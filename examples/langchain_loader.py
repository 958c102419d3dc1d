"""LangChain: audio files as documents, by its OpenAI Whisper parser.

    pip install langchain-community openai pydub
    python examples/langchain_loader.py [FILE] [URL]

pydub reads the file, and sends 20 minutes at a time: `duration` and times begin anew in each.
"""

import sys
from pathlib import Path

from langchain_community.document_loaders.generic import GenericLoader
from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser

FILE = sys.argv[1] if len(sys.argv) > 1 else "whisper_service/assets/sample.wav"
URL = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"

path = Path(FILE)
loader = GenericLoader.from_filesystem(
    path.parent,
    glob=path.name,
    parser=OpenAIWhisperParser(base_url=f"{URL}/v1", api_key="any"),
)
for document in loader.lazy_load():
    print(document.page_content)
