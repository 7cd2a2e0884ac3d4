"""The real worker process with times that a test can wait for: only the platforms' patience is shortened."""

import sys
from dataclasses import replace
from datetime import timedelta

import worker
from adapters.bluesky import BlueskyAdapter
from adapters.mastodon import MastodonAdapter
from scheduler.services import publishing

if __name__ == "__main__":
    timeout, settle, margin = (timedelta(seconds=float(each)) for each in sys.argv[1:4])
    for adapter in (MastodonAdapter, BlueskyAdapter):
        adapter.capabilities = replace(adapter.capabilities, publish_timeout=timeout, settle=settle)
    publishing.LEASE_MARGIN = margin
    publishing.CLAIM_LEASE = margin
    worker.main()
