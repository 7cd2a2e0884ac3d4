"""Every route of the API, in the order of the document."""

from typing import Final

from scheduler.web.api import (
    accounts,
    alerts,
    approvals,
    audit,
    calendar,
    campaigns,
    deliveries,
    grants,
    imports,
    media,
    missions,
    persons,
    policy,
    posts,
    posture,
    series,
    session,
)
from scheduler.web.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *session.ROUTES,
    *missions.ROUTES,
    *persons.ROUTES,
    *grants.ROUTES,
    *accounts.ROUTES,
    *campaigns.ROUTES,
    *media.ROUTES,
    *posts.ROUTES,
    *series.ROUTES,
    *imports.ROUTES,
    *approvals.ROUTES,
    *deliveries.ROUTES,
    *posture.ROUTES,
    *alerts.ROUTES,
    *policy.ROUTES,
    *calendar.ROUTES,
    *audit.ROUTES,
)
