"""Queries that only look: no row is locked, so that a reader neither waits for a worker nor fails beside one."""

from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db.tables import Account, Delivery, Mission, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError


async def get_post(uow: UnitOfWork, actor: Actor, post_id: UUID) -> Post:
    """The post in the actor's scope; one of another mission does not exist."""
    query = (
        select(Post, col(Mission.path))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(col(Post.id) == post_id)
    )
    row = (await uow.session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"no post {post_id}")
    post, path = row
    actor.require(Permission.READ, path, now=uow.now)
    return post


async def get_delivery(
    uow: UnitOfWork, actor: Actor, delivery_id: UUID
) -> tuple[Delivery, Account]:
    """The delivery with its account, in the actor's scope as its post is."""
    query = (
        select(Delivery, Account, col(Mission.path))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(col(Delivery.id) == delivery_id)
        .execution_options(populate_existing=True)
    )
    row = (await uow.session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"no delivery {delivery_id}")
    delivery, account, path = row
    actor.require(Permission.READ, path, now=uow.now)
    return delivery, account
