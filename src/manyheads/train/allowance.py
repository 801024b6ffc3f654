"""How long a run may take: it ends with the evaluation after which the next one would come too late."""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import monotonic
from typing import Any


class Allowance:
    """Seconds that training has taken, those of earlier processes of the run too, up to what their last checkpoint knew."""

    def __init__(self, minutes: float | None) -> None:
        self.limit = math.inf if minutes is None else minutes * 60
        self.begun, self.seen, self.took = monotonic(), 0.0, 0.0

    def spent(self) -> float:
        return monotonic() - self.begun

    def see(self) -> bool:
        """Rows have been scored just now. True when the next time, as far away as the last one, would be too late."""
        now = self.spent()
        self.took, self.seen = now - self.seen, now
        return self.is_over()

    def is_over(self) -> bool:
        return self.seen + self.took > self.limit

    def to_json(self) -> dict[str, float] | None:
        """None where there is no limit, so that the checkpoints of such a run do not depend on the clock."""
        return None if math.isinf(self.limit) else {"spent": self.spent(), "seen": self.seen, "took": self.took}

    def restore(self, data: Mapping[str, Any] | None) -> None:
        if data is not None:
            self.begun, self.seen, self.took = monotonic() - data["spent"], data["seen"], data["took"]
