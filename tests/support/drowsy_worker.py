"""The real worker whose sweep comes twice a minute: what leaves sooner was woken by a ring."""

import worker
from scheduler.publishing import engine

if __name__ == "__main__":
    engine._SWEEP_S = 30.0
    worker.main()
