"""How long the windows of a new upload would wait, and whether that allows another upload.

The number of uploads does not tell: one may hold a window or five hundred, and how fast they go
depends on model and hardware. So answers are timed. Knows no HTTP and no decoder.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whisper_service.api.metrics import (
    REFUSED_UPLOADS,
    UPLOAD_WAIT,
    UPLOADS,
    Metrics,
    NoMetrics,
)
from whisper_service.errors import Overloaded

RETRY_AFTER = 2.0
"""Seconds, the least a refused client is told to wait: most uploads end within a few, and clients
that were refused add their own jitter."""
MAX_RETRY_AFTER = 60.0
"""And the most: replicas come, and uploads are given up."""
_RECENT = 64
"""Answers from which the pace is taken: some batches of them."""
_MIN_ANSWERS = 8
"""Answers before which there is no pace: the first of all may have waited for its model to load."""


class UploadAdmission:
    """The uploads of one replica that are in work, and how fast their windows are answered."""

    def __init__(
        self,
        limit: float,
        n_together: int,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit`: the wait, in seconds, beyond which no new upload is admitted.

        `n_together`: windows that are decoded together and so do not wait for each other, at least.
        """
        self._limit = limit
        self._n_together = n_together
        self._metrics = metrics or NoMetrics()
        self._clock = clock
        self._uploads: set[Upload] = set()
        self._gaps: deque[float] = deque(maxlen=_RECENT)
        """Seconds with windows out from one answer to the next."""
        self._since = 0.0
        """When windows were sent after there were none, or the last answer came."""

    @contextmanager
    def upload(self) -> Iterator["Upload"]:
        """Count an upload that has come for the length of the block, whose windows it counts."""
        upload = Upload(self)
        self._uploads.add(upload)
        self._record()
        try:
            yield upload
        finally:
            self._uploads.remove(upload)
            self._record()

    @property
    def wait(self) -> float:
        """Seconds until a window that was sent now would be begun.

        The answers' mean gap is the time of a window divided by those decoded side by side
        (Little's law), whoever decodes them and however many other callers he has. An upload
        without a window out has one coming.
        """
        n_windows = sum(max(1, upload.n_windows) for upload in self._uploads)
        return max(0, n_windows - self._n_together) * self._gap

    @property
    def has_room_for_jobs(self) -> bool:
        """Whether a job may be begun: as long as half of the wait is left to uploads whose clients
        wait for the answer."""
        return self.wait <= self._limit / 2

    def check(self) -> None:
        """Raise `Overloaded` if a new upload would wait for too long."""
        wait = self.wait
        if wait > self._limit:
            self._metrics.record(REFUSED_UPLOADS, 1)
            raise Overloaded(
                f"An upload would wait here for about {wait:.0f} s before it is begun; none is let"
                f" in beyond {self._limit:g} s. Try again, it may be another replica.",
                retry_after=min(max(RETRY_AFTER, wait - self._limit), MAX_RETRY_AFTER),
                wait=round(wait, 1),
                limit=self._limit,
            )

    @property
    def _gap(self) -> float:
        """The mean gap; one that is not over yet counts once it is longer than that."""
        if len(self._gaps) < _MIN_ANSWERS:
            return 0.0
        mean = sum(self._gaps) / len(self._gaps)
        gap = self._clock() - self._since if self._n_out else 0.0
        return mean if gap <= mean else (sum(self._gaps) + gap) / (len(self._gaps) + 1)

    @property
    def _n_out(self) -> int:
        return sum(upload.n_windows for upload in self._uploads)

    def _sent(self) -> None:
        if not self._n_out:
            self._since = self._clock()

    def _answered(self) -> None:
        now = self._clock()
        self._gaps.append(now - self._since)
        self._since = now
        self._record()

    def _record(self) -> None:
        self._metrics.record(UPLOADS, len(self._uploads))
        self._metrics.record(UPLOAD_WAIT, self.wait)


class Upload:
    """One upload in work."""

    def __init__(self, admission: UploadAdmission) -> None:
        self._admission = admission
        self.n_windows = 0
        """Sent and not answered."""

    @contextmanager
    def window(self) -> Iterator[None]:
        """Around the decode of a window. One that fails says nothing about the pace."""
        self._admission._sent()
        self.n_windows += 1
        try:
            yield
            self._admission._answered()
        finally:
            self.n_windows -= 1
