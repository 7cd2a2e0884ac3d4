"""Builds what a process needs from its settings: the database, the keys, the platforms, the queue."""

import importlib.metadata
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from adapters.base import Adapter
from adapters.egress import EgressPolicy
from adapters.http import PlatformHttp
from scheduler import doorbell
from scheduler.audit.keys import InstanceKey, LogKeys, Trust, build_trust
from scheduler.db.engine import build_engine
from scheduler.db.seals import RowSeals
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.ids import new_id
from scheduler.media.intake import MediaIntake
from scheduler.media.store import MediaStore
from scheduler.redis_server import EmbeddedRedis
from scheduler.services.kit import Kit
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from scheduler.vault.vault import Vault

BuildPlatforms = Callable[[PlatformHttp], Mapping[str, Adapter]]


def redis_url(settings: Settings) -> str:
    """The Redis to ring: the one by address, else the private one's socket."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return EmbeddedRedis(settings.data_dir / "redis").url


VERSION: Final = importlib.metadata.version("chancery-scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything that a process of this installation works with."""

    settings: Settings
    open_uow: UnitOfWorkFactory
    kit: Kit
    log_keys: LogKeys
    instance: InstanceKey
    name: str  #: of this process, unlike any other's

    @property
    def trust(self) -> Trust:
        """The public keys that verify this installation's record."""
        return build_trust(self.log_keys, [self.instance])


@asynccontextmanager
async def application(
    settings: Settings,
    *,
    service: str,
    platforms: BuildPlatforms,
    ringing: bool = True,
) -> AsyncIterator[App]:
    """Open the parts and close them again in order; without `ringing` no bell.

    Raises:
        KeyFileMissingError: `chancery init` has not been run.
    """
    ring = KeyRing(settings.key_file)
    instance = InstanceKey.from_seed(ring.instance_seed)
    async with AsyncExitStack() as stack:
        engine = build_engine(settings.sqlalchemy_url)
        stack.push_async_callback(engine.dispose)
        http = await stack.enter_async_context(
            PlatformHttp(EgressPolicy(allow=settings.egress_pairs))
        )
        open_uow = UnitOfWorkFactory(
            engine=engine, instance=instance, service=service, version=VERSION, seals=_seals(ring)
        )
        if ringing:
            redis = doorbell.connect(redis_url(settings), ring.derive("jobs"))
            stack.push_async_callback(redis.aclose, close_connection_pool=True)
            open_uow.ring = doorbell.Doorbell(redis)
        yield App(
            settings=settings,
            open_uow=open_uow,
            kit=Kit(
                platforms=platforms(http),
                vault=Vault(ring),
                ring=ring,
                media=MediaStore(settings.data_dir / "media"),
                intake=MediaIntake(),
            ),
            log_keys=_log_keys(ring),
            instance=instance,
            name=f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-8:]}",
        )


def _seals(ring: KeyRing) -> RowSeals:
    return RowSeals(ring.derive("rows"))


def _log_keys(ring: KeyRing) -> LogKeys:
    seeds = ring.log
    return LogKeys.from_seeds(origin=seeds.origin, ed25519=seeds.ed25519, ml_dsa_44=seeds.ml_dsa_44)
