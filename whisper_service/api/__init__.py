"""HTTP and WebSocket, and nothing else: no torch, no Ray."""
