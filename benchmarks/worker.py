"""An engine in a process of its own, so that what it leaves behind slows nobody else.

In one process, everything torch does takes twice as long once CTranslate2 has decoded a window
beside it (0.44 and 0.95 s a window, measured before and after, idle between).
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""With one thread, CPU time compares engines on a machine that others keep busy."""
_END_LIMIT = 5.0
"""Seconds."""
Make = Callable[[], Callable[..., Any]]


class Worker:
    """Makes engines and has them work, one call at a time."""

    def __init__(self, n_threads: int, clock: str = "wall") -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, n_threads, clock)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._n_made = 0

    def make(self, make: Make) -> int:
        """Make an engine; `make` has to be picklable. -> its number"""
        self._ask(("make", make))
        self._n_made += 1
        return self._n_made - 1

    def call(self, engine: int, *arguments: Any) -> tuple[float, Any]:
        """Call what was made. -> seconds that it took there, its answer"""
        seconds, answer = self._ask(("call", engine, arguments))
        return seconds, answer

    def _ask(self, question: tuple[Any, ...]) -> Any:
        self._connection.send(question)
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()  # it ends by itself, unless it is in the middle of a call
        self._process.join(timeout=_END_LIMIT)
        self._process.terminate()
        self._process.join()


def _work(connection: Connection, n_threads: int, clock: str) -> None:
    import torch

    torch.set_num_threads(n_threads)
    now = CLOCKS[clock]
    engines: list[Callable[..., Any]] = []
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            if question[0] == "make":
                engines.append(question[1]())
                connection.send(None)
            else:
                _, engine, arguments = question
                began = now()
                answer = engines[engine](*arguments)
                connection.send((now() - began, answer))
        except Exception as error:  # noqa: BLE001 - the one who asked raises it
            connection.send(error)
