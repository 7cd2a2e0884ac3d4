"""A statement for each constraint and trigger that would break it."""

SERIES = (
    "INSERT INTO series (id, mission_id, source_id, author_id, rule, every, zone, starts_on, until, exceptions, "
    "created_at, ended_at, end_reason) SELECT id, mission_id, id, author_id, 'daily 09:00', {every}, zone, "
    "'2027-01-01', {until}, '[]', created_at, {ended}, '' FROM post"
)
# rule: the statement that breaks it, and only it, in a ministry with one post on its way
BROKEN = {
    "ck_grant_role": "UPDATE \"grant\" SET role = 'minister'",
    "ck_grant_two_admins": 'UPDATE "grant" SET proposed_by = (SELECT min_id FROM one_person), '
    "confirmed_by = (SELECT min_id FROM one_person) "
    "WHERE person_id <> (SELECT min_id FROM one_person)",
    "ck_grant_not_own": 'UPDATE "grant" SET confirmed_by = person_id',
    "ck_account_state": "UPDATE account SET state = 'asleep'",
    "ck_sealed_token_kind": "UPDATE sealed_token SET kind = 'cookie'",
    "ck_post_state": "UPDATE post SET state = 'blocked'",
    "ck_post_digest": "UPDATE post SET digest = NULL",
    "ck_post_late_minutes": "UPDATE post SET late_minutes = -1",
    "ck_delivery_state": "UPDATE delivery SET state = 'lost'",
    "ck_delivery_remote_id": "UPDATE delivery SET state = 'verified', remote_id = NULL",
    "ck_delivery_lease": "UPDATE delivery SET state = 'claimed', lease_until = NULL",
    "ck_delivery_wake_at": "UPDATE delivery SET state = 'ready', wake_at = NULL",
    "ck_approval_mode": "UPDATE approval SET mode = 'perhaps'",
    "ck_attempt_outcome": "UPDATE attempt SET outcome = 'perhaps', ended_at = started_at",
    "ck_attempt_ended": "UPDATE attempt SET outcome = 'sent', ended_at = NULL",
    "ck_posture_kind": "INSERT INTO posture (id, kind, reason, started_at) "
    "SELECT id, '', '', created_at FROM mission LIMIT 1",
    "ck_posture_ends_after_start": "INSERT INTO posture (id, kind, reason, started_at, ends_at) "
    "SELECT id, 'stop', '', created_at, created_at FROM mission LIMIT 1",
    "ck_series_every": SERIES.format(every=0, until="'2027-02-01'", ended="NULL"),
    "ck_series_bounded": SERIES.format(every=1, until="NULL", ended="NULL"),
    "ck_series_ended": SERIES.format(every=1, until="'2027-02-01'", ended="created_at"),
    "uq_post_import_ref": "UPDATE post SET import_ref = 'same'",
    "uq_occurrence_series_id": "INSERT INTO occurrence (post_id, series_id, day) "
    "SELECT id, (SELECT id FROM post ORDER BY id LIMIT 1), '2027-01-01' FROM post",
    "ck_audit_head_one_row": "UPDATE audit_head SET id = 2",
    "uq_mission_code": "UPDATE mission SET code = 'same'",
    "uq_mission_path": "UPDATE mission SET path = '/'",
    "uq_person_code": "UPDATE person SET code = 'same'",
    "uq_enrolment_code_sha256": "UPDATE enrolment SET code_sha256 = 'same'",
    "uq_api_token_token_sha256": "INSERT INTO api_token "
    "(id, person_id, token_sha256, scopes, created_at, expires_at) "
    "SELECT id, id, 'same', '[]', created_at, created_at FROM person",
    "uq_account_code": "UPDATE account SET code = 'same'",
    "uq_account_profile": "UPDATE account SET platform = 'x', base_url = 'x', external_id = 'x'",
    "uq_campaign_code": "INSERT INTO campaign (id, code, title, mission_id, created_by, created_at) "
    "SELECT id, 'same', '', id, (SELECT min_id FROM one_person), created_at FROM mission",
    "uq_sealed_token_account_id": "UPDATE sealed_token SET kind = 'secret'",
    "uq_delivery_post_id": "UPDATE delivery SET account_id = "
    "(SELECT account_id FROM delivery ORDER BY id LIMIT 1)",
    "uq_delivery_remote": "UPDATE delivery SET remote_id = 'same'",
    "uq_delivery_sending": "UPDATE delivery SET state = 'sending', lease_until = created_at "
    "WHERE account_id = "
    "(SELECT account_id FROM delivery GROUP BY account_id HAVING count(*) > 1)",
    "uq_attempt_delivery_id": "INSERT INTO attempt (id, delivery_id, number, part, fence, "
    "idempotency_key, request, request_sha256, started_at, deadline, code, message, evidence) "
    "SELECT (SELECT id FROM post LIMIT 1), delivery_id, number, part, fence, idempotency_key, "
    "request, request_sha256, started_at, deadline, code, message, evidence FROM attempt",
    "uq_approval_post_id": "INSERT INTO approval "
    "(id, post_id, revision, digest, policy, person_id, decided_at) "
    "SELECT post_id, post_id, revision, digest, policy, person_id, decided_at FROM approval",
    "posture_lifted_by_its_setter": "UPDATE posture SET ended_by = started_by",
    "uq_outbound_event_situation": "UPDATE outbound_event SET situation = 'same'",
    "ck_outbound_send_target": "UPDATE outbound_send SET target = 'pigeon'",
    "ck_outbound_send_state": "UPDATE outbound_send SET state = 'lost'",
    "ck_outbound_send_carrier": "UPDATE outbound_send SET body = NULL",
    "approval_by_editor": "INSERT INTO approval "
    "(id, post_id, revision, digest, policy, person_id, decided_at) "
    "SELECT id, id, 9, 'd', 'p', author_id, created_at FROM post",
}
