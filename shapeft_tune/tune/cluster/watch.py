"""Noticing that the Ray cluster is gone, for which Ray Tune itself would wait for ever."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ray.tune import Callback

from shapeft_tune.tune.cluster.cluster import ClusterGone

LOOK_EVERY = 2.0
"""Seconds between looks."""
CONNECT_SECONDS = 5.0
"""How long a look waits for an answer."""
HEAD_PATIENCE = 20.0
"""Seconds that the head may be away: it can be started again. After 60, Ray ends this process silently."""
NODE_PATIENCE = 4.0
"""Seconds that this machine's part may be away. It never comes back, and some seconds later Tune is told of
its trials as if each had failed by itself."""
WAKE = signal.SIGUSR2
"""Tune takes SIGUSR1 for itself."""


@dataclass(frozen=True)
class Part:
    """A process of the cluster without which this one can do nothing."""

    name: str
    address: tuple[str, int]
    """Where it listens."""
    patience: float
    """Seconds that it may be away."""


class ClusterWatch(Callback):  # type: ignore[misc]
    """Knows whether the parts of the cluster still listen.

    Tune only learns from Ray that a trial's process has died. When Ray has died itself, nobody tells it.
    """

    def __init__(self, parts: Iterable[Part], clock: Callable[[], float] = time.monotonic) -> None:
        """Watch some parts. ``clock`` gives seconds that only grow."""
        self._clock = clock
        self._answered = dict.fromkeys(parts, clock())
        self.gone = ""
        """Which part has been away for longer than it may be; empty for none."""

    @classmethod
    def of_this_cluster(cls) -> ClusterWatch:
        """Watch the cluster that this process is connected to."""
        import ray

        context = ray.get_runtime_context()
        here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
        host, _, port = context.gcs_address.rpartition(":")
        head = Part("its head (gcs_server)", (host.strip("[]"), int(port)), HEAD_PATIENCE)
        address = here["NodeManagerAddress"], here["NodeManagerPort"]
        return cls([head, Part("this machine's part of it (raylet)", address, NODE_PATIENCE)])

    def look(self, on_gone: Callable[[str], None] = lambda sentence: None) -> None:
        """Try to reach every part. ``on_gone`` is told when one has been away for too long."""
        for part in self._answered:
            if _listens(part.address):
                self._answered[part] = self._clock()
            elif self._clock() - self._answered[part] > part.patience:
                self.gone = f"the Ray cluster is gone: no answer from {part.name}"
                on_gone(self.gone)
                return

    def require_alive(self) -> None:
        """Raise ClusterGone if a look has found that it is."""
        if self.gone:
            raise ClusterGone(self.gone)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raise ClusterGone if it is. Called by Tune."""
        self.require_alive()


@contextmanager
def ended_with_the_cluster(
    on_gone: Callable[[str], None] = lambda sentence: None,
) -> Iterator[ClusterWatch]:
    """Run a piece of the main thread that waits for Ray, and end it when the cluster is gone.

    A step of Tune may itself wait for ever for a dead head. So a thread looks, and a signal ends what the
    main thread is in.

    Args:
        on_gone: told by that thread, before anything ends, what is gone.

    Raises:
        ClusterGone: the cluster died.
    """
    watch, over = ClusterWatch.of_this_cluster(), threading.Event()

    def wake(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            watch.require_alive()

    previous = signal.signal(WAKE, wake)
    thread = threading.Thread(target=_look_out, args=(watch, over, on_gone), daemon=True)
    thread.start()
    try:
        yield watch
    except Exception:  # where Ray's own code was woken, it makes an error of its own of it
        watch.require_alive()
        raise
    finally:
        over.set()
        thread.join()  # or it might wake a process that no longer knows the signal, and ends of it
        signal.signal(WAKE, previous)


def _look_out(watch: ClusterWatch, over: threading.Event, on_gone: Callable[[str], None]) -> None:
    main = threading.main_thread().ident
    assert main is not None, "the main thread runs"
    while not over.wait(LOOK_EVERY):
        if not watch.gone:
            watch.look(on_gone)
        else:  # again and again: Tune tries to clean up first, and waits for Ray with that, too
            signal.pthread_kill(main, WAKE)


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
