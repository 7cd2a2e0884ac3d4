"""Who may do what where: roles against permissions, the mission tree as scope, and what waits 24 hours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.people import (
    NEW_GRANT_COOLDOWN,
    REENROLMENT_SUSPENSION,
    ROLE_PERMISSIONS,
    Actor,
    ApprovalsSuspendedError,
    Grant,
    GrantTooYoungError,
    Permission,
    PermissionDeniedError,
    Role,
    ScopeDeniedError,
    path_of,
)
from scheduler.errors import ForbiddenError, NotFoundError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HQ, KYIV, DESK = (UUID(int=n) for n in (1, 2, 3))
AT_HQ, AT_KYIV, AT_DESK = path_of([HQ]), path_of([HQ, KYIV]), path_of([HQ, KYIV, DESK])

ALLOWED = {
    "officer": "read write stop",
    "clearer": "read clear",
    "supervisor": "read write clear approve repair stop",
    "admin": "read manage stop",
    "auditor": "read audit",
}


def _grant(role: Role, path: str = AT_HQ, *, ripe: datetime = NOW) -> Grant:
    return Grant(role=role, mission_path=path, may_approve_from=ripe)


def _actor(*grants: Grant) -> Actor:
    return Actor(person_id=UUID(int=9), grants=grants, via="test")


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", Role)
def test_a_role_carries_exactly_its_permissions(role: Role, permission: Permission) -> None:
    allowed = permission in ALLOWED[role].split()
    actor = _actor(_grant(role))
    assert actor.may(permission, AT_HQ, now=NOW) is allowed
    assert (AT_HQ in actor.paths(permission)) is allowed
    if allowed:
        actor.require(permission, AT_HQ, now=NOW)
    else:
        with pytest.raises(PermissionDeniedError) as caught:
            actor.require(permission, AT_HQ, now=NOW)
        assert caught.value.code == "permission_denied"
        assert caught.value.status == 403
        assert caught.value.details == {"needs": permission}


def test_nobody_both_manages_people_and_decides_on_posts() -> None:
    for permissions in ROLE_PERMISSIONS.values():
        managing = Permission.MANAGE in permissions
        assert not (managing and permissions & {Permission.WRITE, Permission.APPROVE})


@pytest.mark.parametrize(
    ("granted", "asked", "seen"),
    [
        (AT_HQ, AT_HQ, True),
        (AT_HQ, AT_KYIV, True),
        (AT_HQ, AT_DESK, True),
        (AT_KYIV, AT_DESK, True),
        (AT_KYIV, AT_HQ, False),
        (AT_DESK, AT_KYIV, False),
    ],
)
def test_a_grant_reaches_down_the_tree_and_never_up(granted: str, asked: str, seen: bool) -> None:
    actor = _actor(_grant(Role.OFFICER, granted))
    assert actor.sees(asked) is seen
    assert actor.may(Permission.WRITE, asked, now=NOW) is seen


def test_what_a_person_cannot_see_is_not_found_rather_than_forbidden() -> None:
    actor = _actor(_grant(Role.ADMIN, AT_KYIV))
    for permission in Permission:
        with pytest.raises(NotFoundError):
            actor.require(permission, AT_HQ, now=NOW)


def test_paths_with_a_common_beginning_are_different_missions() -> None:
    """The closing slash of a path keeps `…/ab/` from covering `…/abc/`."""
    short, long = "/root/ab/", "/root/abc/"
    actor = _actor(_grant(Role.SUPERVISOR, short))
    assert not actor.sees(long)
    assert not actor.may(Permission.APPROVE, long, now=NOW)
    assert actor.sees("/root/ab/c/")


@given(st.lists(st.uuids(), min_size=1, max_size=4), st.lists(st.uuids(), min_size=1, max_size=4))
def test_one_mission_covers_another_only_as_its_ancestor(
    above: list[UUID], below: list[UUID]
) -> None:
    covers = _grant(Role.OFFICER, path_of(above)).covers(path_of(below))
    assert covers is (below[: len(above)] == above)


def test_a_path_names_the_ids_from_the_root_down() -> None:
    assert f"/{HQ.hex}/{KYIV.hex}/" == AT_KYIV
    assert path_of([]) == "/"


def test_grants_add_up_but_only_where_each_of_them_reaches() -> None:
    actor = _actor(_grant(Role.OFFICER, AT_HQ), _grant(Role.SUPERVISOR, AT_KYIV))
    assert actor.may(Permission.APPROVE, AT_KYIV, now=NOW)
    assert not actor.may(Permission.APPROVE, AT_HQ, now=NOW)
    assert actor.paths(Permission.READ) == {AT_HQ, AT_KYIV}
    assert actor.paths(Permission.APPROVE) == {AT_KYIV}


def test_a_person_without_grants_sees_nothing() -> None:
    actor = _actor()
    assert not actor.sees(AT_HQ)
    assert actor.paths(Permission.READ) == frozenset()
    with pytest.raises(NotFoundError):
        actor.require(Permission.READ, AT_HQ, now=NOW)


def test_a_young_grant_does_all_but_decide_until_its_time_has_come() -> None:
    ripe = NOW + NEW_GRANT_COOLDOWN
    actor = _actor(_grant(Role.SUPERVISOR, ripe=ripe))
    others = set(ROLE_PERMISSIONS[Role.SUPERVISOR]) - {Permission.APPROVE, Permission.CLEAR}
    assert all(actor.may(each, AT_HQ, now=NOW) for each in others)
    for decides in (Permission.APPROVE, Permission.CLEAR):
        assert not actor.may(decides, AT_HQ, now=ripe - TICK)
        assert actor.may(decides, AT_HQ, now=ripe)
    assert actor.offices(Permission.CLEAR, [AT_HQ], now=ripe - TICK) == frozenset()
    assert actor.offices(Permission.CLEAR, [AT_HQ], now=ripe) == {"supervisor"}
    with pytest.raises(GrantTooYoungError) as caught:
        actor.require(Permission.APPROVE, AT_HQ, now=ripe - TICK)
    assert caught.value.code == "grant_too_young"
    assert "in force since 2026-11-23T12:00:00.000000Z" in str(caught.value)
    assert caught.value.details == {"needs": "approve", "until": "2026-11-24T12:00:00.000000Z"}


def test_a_young_grant_does_not_hold_up_an_old_one() -> None:
    actor = _actor(
        _grant(Role.SUPERVISOR, ripe=NOW + NEW_GRANT_COOLDOWN), _grant(Role.SUPERVISOR, AT_KYIV)
    )
    assert actor.may(Permission.APPROVE, AT_KYIV, now=NOW)
    assert not actor.may(Permission.APPROVE, AT_HQ, now=NOW)


def test_an_office_is_held_where_its_role_decides_and_on_all_that_a_post_concerns() -> None:
    desk = Grant(role=Role.CLEARER, mission_path=AT_KYIV, may_approve_from=NOW, office="desk.east")
    press = Grant(role=Role.SUPERVISOR, mission_path=AT_HQ, may_approve_from=NOW, office="press")
    writer = Grant(role=Role.OFFICER, mission_path=AT_HQ, may_approve_from=NOW, office="minister")
    actor = _actor(desk, press, writer)
    assert actor.offices(Permission.CLEAR, [AT_DESK], now=NOW) == {
        "clearer",
        "desk.east",
        "supervisor",
        "press",
    }
    assert actor.offices(Permission.CLEAR, [AT_DESK, AT_HQ], now=NOW) == {"supervisor", "press"}
    assert _actor(desk).offices(Permission.CLEAR, [AT_DESK, AT_HQ], now=NOW) == frozenset()
    assert actor.offices(Permission.APPROVE, [AT_DESK], now=NOW) == {"supervisor", "press"}
    suspended = replace(actor, approvals_suspended_until=NOW + TICK)
    assert suspended.offices(Permission.CLEAR, [AT_DESK], now=NOW) == frozenset()


def test_a_suspension_stops_what_decides_for_others_and_ends_at_its_instant() -> None:
    until = NOW + REENROLMENT_SUSPENSION
    actor = replace(_actor(*map(_grant, Role)), approvals_suspended_until=until)
    suspended = {each for each in Permission if not actor.may(each, AT_HQ, now=until - TICK)}
    assert suspended == {Permission.APPROVE, Permission.CLEAR, Permission.MANAGE}
    assert all(actor.may(each, AT_HQ, now=until) for each in Permission)
    for permission in suspended:
        with pytest.raises(ApprovalsSuspendedError) as caught:
            actor.require(permission, AT_HQ, now=until - TICK)
        assert caught.value.code == "approvals_suspended"
        assert "enrolled again at 2026-11-23T12:00:00.000000Z" in str(caught.value)
        assert caught.value.details["until"] == "2026-11-24T12:00:00.000000Z"


def test_whoever_lacks_the_role_is_not_told_to_wait_for_it() -> None:
    until = NOW + REENROLMENT_SUSPENSION
    officer = replace(_actor(_grant(Role.OFFICER)), approvals_suspended_until=until)
    narrow = replace(
        _actor(_grant(Role.SUPERVISOR, ripe=until)), scopes=frozenset({Permission.READ})
    )
    for actor, code in ((officer, "permission_denied"), (narrow, "token_scope")):
        with pytest.raises(ForbiddenError) as caught:
            actor.require(Permission.APPROVE, AT_HQ, now=NOW)
        assert caught.value.code == code


@pytest.mark.parametrize("left_out", Permission)
def test_a_token_of_a_narrower_scope_narrows_the_person(left_out: Permission) -> None:
    grants = [_grant(role) for role in Role]
    actor = replace(_actor(*grants), scopes=frozenset(Permission) - {left_out})
    for permission in Permission:
        assert actor.may(permission, AT_HQ, now=NOW) is (permission is not left_out)
    assert actor.paths(left_out) == frozenset()
    with pytest.raises(ScopeDeniedError) as caught:
        actor.require(left_out, AT_HQ, now=NOW)
    assert caught.value.code == "token_scope"
    assert caught.value.status == 403


def test_a_scope_gives_nothing_that_no_role_gives() -> None:
    actor = replace(_actor(_grant(Role.AUDITOR)), scopes=frozenset({Permission.APPROVE}))
    assert not actor.may(Permission.APPROVE, AT_HQ, now=NOW)
    assert not actor.may(Permission.AUDIT, AT_HQ, now=NOW)


def test_new_rights_and_new_tokens_wait_a_whole_day() -> None:
    assert timedelta(hours=24) == NEW_GRANT_COOLDOWN == REENROLMENT_SUSPENSION
