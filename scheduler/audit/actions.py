"""What can be on record: a closed set of `noun.verb` names; a name once used is never changed or removed."""

from enum import StrEnum


class Action(StrEnum):
    INSTALLATION_INIT = "installation.init"

    MISSION_ADD = "mission.add"
    PERSON_ADD = "person.add"
    PERSON_ENROL = "person.enrol"
    PERSON_REDEEM = "person.redeem"
    PERSON_SUSPEND_APPROVALS = "person.suspend_approvals"
    PERSON_DEACTIVATE = "person.deactivate"
    GRANT_BOOTSTRAP = "grant.bootstrap"
    GRANT_ADD = "grant.add"
    GRANT_PROPOSE = "grant.propose"
    GRANT_CONFIRM = "grant.confirm"
    GRANT_REVOKE = "grant.revoke"
    ACCESS_DENIED = "access.denied"

    ACCOUNT_ADD = "account.add"
    ACCOUNT_CHECK = "account.check"
    ACCOUNT_PAUSE = "account.pause"
    ACCOUNT_RESUME = "account.resume"
    ACCOUNT_REMOVE = "account.remove"

    TOKEN_SEAL = "token.seal"  # noqa: S105 - the name of an action
    TOKEN_ROTATE = "token.rotate"  # noqa: S105 - the name of an action
    TOKEN_REVOKE = "token.revoke"  # noqa: S105 - the name of an action
    KEY_ROTATE = "key.rotate"
    KEY_REWRAP = "key.rewrap"
    KEY_RETIRE = "key.retire"

    MEDIA_ADD = "media.add"
    POST_DRAFT = "post.draft"
    POST_EDIT = "post.edit"
    POST_SUBMIT = "post.submit"
    POST_WITHDRAW = "post.withdraw"
    POST_RETURN = "post.return"
    POST_APPROVE = "post.approve"
    POST_SCHEDULE = "post.schedule"
    POST_CANCEL = "post.cancel"
    POST_CLOSE = "post.close"

    DELIVERY_PLAN = "delivery.plan"
    DELIVERY_DROP = "delivery.drop"
    DELIVERY_READY = "delivery.ready"
    DELIVERY_UNREADY = "delivery.unready"
    DELIVERY_CLAIM = "delivery.claim"
    DELIVERY_UNCLAIM = "delivery.unclaim"
    DELIVERY_PREPARE = "delivery.prepare"
    DELIVERY_INTENT = "delivery.intent"
    DELIVERY_PART_SENT = "delivery.part_sent"
    DELIVERY_SENT = "delivery.sent"
    DELIVERY_RETRY = "delivery.retry"
    DELIVERY_REJECTED = "delivery.rejected"
    DELIVERY_UNKNOWN = "delivery.unknown"
    DELIVERY_FOUND = "delivery.found"
    DELIVERY_PART_FOUND = "delivery.part_found"
    DELIVERY_ABSENT = "delivery.absent"
    DELIVERY_HOLD = "delivery.hold"
    DELIVERY_RELEASE = "delivery.release"
    DELIVERY_RESOLVE = "delivery.resolve"
    DELIVERY_EXPIRE = "delivery.expire"
    DELIVERY_CANCEL = "delivery.cancel"
    DELIVERY_VERIFY = "delivery.verify"
    DELIVERY_DRIFT = "delivery.drift"

    POSTURE_STOP = "posture.stop"
    POSTURE_PROPOSE_RESUME = "posture.propose_resume"
    POSTURE_RESUME = "posture.resume"
    POLICY_ACTIVATE = "policy.activate"
