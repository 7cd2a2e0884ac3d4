"""The practice network: simulated Mastodon and Bluesky servers for the first run, for training and for tests.

Nothing here is public. It keeps its own append-only log, in its own process, so that what was published can be counted
by somebody other than the publisher.
"""

from scheduler.practice.model import Platform
from scheduler.practice.network import PracticeNetwork

__all__ = ["Platform", "PracticeNetwork"]
