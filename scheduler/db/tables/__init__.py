"""The tables: dumb rows, named constraints, no methods and no relationships.

A `table=True` model validates nothing: requests are parsed elsewhere (`scheduler.web.api`). States are text with CHECK
constraints; the invariants that no code may break stand here as well, by name.
"""

from scheduler.db.tables.alerts import OutboundEvent, OutboundSend, SignOfLife
from scheduler.db.tables.base import Base
from scheduler.db.tables.log import AuditHead, AuditLeaf, AuditNode, AuditOutbox, Checkpoint
from scheduler.db.tables.organisation import (
    Account,
    ApiToken,
    Campaign,
    DataKey,
    Enrolment,
    Grant,
    IdempotencyRecord,
    Media,
    Mission,
    Person,
    PolicyProposal,
    PolicyVersion,
    Posture,
    SealedToken,
)
from scheduler.db.tables.posts import (
    Approval,
    Attempt,
    Comment,
    Delivery,
    Post,
    PostEditor,
    PostText,
    Variant,
)
from scheduler.db.tables.timing import Occurrence, Preflight, Series, SignIn

__all__ = [
    "Account",
    "ApiToken",
    "Approval",
    "Attempt",
    "AuditHead",
    "AuditLeaf",
    "AuditNode",
    "AuditOutbox",
    "Base",
    "Campaign",
    "Checkpoint",
    "Comment",
    "DataKey",
    "Delivery",
    "Enrolment",
    "Grant",
    "IdempotencyRecord",
    "Media",
    "Mission",
    "Occurrence",
    "OutboundEvent",
    "OutboundSend",
    "Person",
    "PolicyProposal",
    "PolicyVersion",
    "Post",
    "PostEditor",
    "PostText",
    "Posture",
    "Preflight",
    "SealedToken",
    "Series",
    "SignIn",
    "SignOfLife",
    "Variant",
]
