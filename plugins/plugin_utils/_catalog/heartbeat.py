# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a lease while its work lasts. Private to this collection; may change without notice."""

from __future__ import annotations

import os
import threading
import time
import typing as t

from ...module_utils._core.errors import Conflict, EncompassError
from .owner import find_run
from .store import Catalog

# A child forked in the middle of a call into the store's library would inherit its locks for ever.
_RENEWING = threading.Lock()
os.register_at_fork(before=_RENEWING.acquire, after_in_parent=_RENEWING.release, after_in_child=_RENEWING.release)


class Heartbeat:
    """Renews a lease from a thread until left, for at most ``max_s``, and no longer than the parent process lives.

    Bounded, because a worker whose parent died may hang for ever; its objects must become free then. ``lost`` tells
    after (or during) the work why the lease is gone, None when it is not; ``when_taken`` is called in the thread at
    once when somebody else has taken it over.
    """

    def __init__(
        self,
        catalog: Catalog,
        operation_id: str,
        lease_s: float,
        max_s: float,
        *,
        when_taken: t.Callable[[], None] = lambda: None,
    ) -> None:
        self._catalog = catalog
        self._when_taken = when_taken
        self._operation_id = operation_id
        self._lease_s = lease_s
        self._end = time.monotonic() + max_s
        self._run_pid = find_run()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {operation_id}", daemon=True)
        self.lost: EncompassError | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._left.wait(self._lease_s / 3):
            if time.monotonic() > self._end or os.getppid() != self._run_pid or not self._renew():
                return

    def _renew(self) -> bool:
        """Renew once; return False when there is nothing left to renew."""
        try:
            with _RENEWING:
                self._catalog.renew(self._operation_id, self._lease_s)
        except Conflict as exc:
            self.lost = exc
            self._when_taken()
            return False
        except EncompassError as exc:
            self.lost = exc  # the store may come back before the lease is over
            return True
        self.lost = None
        return True
