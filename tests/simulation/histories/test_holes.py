"""The least histories in which somebody could publish what nobody else wanted, before a rule was made against each.

They go through the same services and are judged by the same model as the random ones.
"""

from datetime import timedelta

from scheduler.domain.people import Role
from tests.simulation.histories.scenes import Scene
from tests.simulation.histories.town import Town

_LONG = timedelta(hours=25)


def test_one_admin_writes_and_approves_with_codes_of_a_minute_ago(town: Town) -> None:
    """Two admins made Novak a supervisor, but nobody ever saw who signs in as Novak."""
    scene = Scene(town)

    def play() -> None:
        admin = scene.own("bizjak")
        scene.confirm(scene.own("oblak"), scene.grant(admin, "novak", Role.SUPERVISOR))
        scene.wait(_LONG)
        post = scene.write(scene.enrol(admin, "hocevar"), "Note 1 from Lipovec")
        scene.approve(scene.enrol(admin, "novak"), post)
        scene.publish()

    assert scene.unfold(play) == []


def test_an_admin_who_also_approves_writes_as_an_officer_enrolled_again(town: Town) -> None:
    scene = Scene(town)

    def play() -> None:
        admin = scene.own("bizjak")
        key = scene.grant(scene.own("oblak"), "bizjak", Role.SUPERVISOR)
        scene.confirm(scene.own("kos"), key)
        scene.wait(_LONG)
        post = scene.write(scene.enrol(admin, "hocevar"), "Note 1 from Lipovec")
        scene.approve(admin, post)
        scene.publish()

    assert scene.unfold(play) == []


def test_an_admin_is_the_second_admin_too(town: Town) -> None:
    """Whoever was enrolled before they became an admin manages at once, with the token that the first admin kept."""
    scene = Scene(town)

    def play() -> None:
        admin = scene.own("bizjak")
        key = scene.grant(admin, "novak", Role.ADMIN)
        puppet = scene.enrol(admin, "novak")
        scene.confirm(scene.own("oblak"), key)
        scene.confirm(puppet, scene.grant(admin, "pirc", Role.SUPERVISOR))
        approver = scene.enrol(admin, "pirc")
        scene.wait(_LONG)
        scene.approve(approver, scene.write(scene.own("hocevar"), "Note 1 from Lipovec"))
        scene.publish()

    assert scene.unfold(play) == []


def test_a_post_that_goes_at_once_is_judged_when_it_goes(town: Town) -> None:
    """Approved before the silence, scheduled in it, by the rules of one and the same policy."""
    scene = Scene(town)

    def play() -> None:
        scene.activate(3)
        post = scene.write(scene.own("hocevar"), "Note 1 poll", schedule_on_approval=False)
        scene.approve(scene.own("zorc"), post)
        scene.wait(timedelta(hours=2, minutes=5))
        scene.schedule(scene.own("hocevar"), post)
        scene.publish()

    assert scene.unfold(play) == []


def test_the_policy_that_an_approval_names_is_not_believed(town: Town) -> None:
    scene = Scene(town)

    def play() -> None:
        scene.approve(scene.own("zorc"), scene.write(scene.own("hocevar"), "Note 1 Lipovetz"))
        scene.activate(2)
        scene.tamper("approval.policy")
        scene.publish()

    assert scene.unfold(play) == []


def test_a_language_changed_by_hand_does_not_lead_past_the_rules(town: Town) -> None:
    scene = Scene(town)

    def play() -> None:
        variants = {"hq.main": [{"text": "Note 2 Lipovetz", "media": []}]}
        post = scene.write(scene.own("hocevar"), "Note 1 from Lipovec", variants=variants)
        scene.approve(scene.own("zorc"), post)
        scene.activate(2)
        scene.tamper("delivery.language")
        scene.publish()

    assert scene.unfold(play) == []


def test_an_approval_carried_over_to_other_content_by_hand_counts_for_nothing(town: Town) -> None:
    scene = Scene(town)

    def play() -> None:
        post = scene.write(scene.own("hocevar"), "Note 1 from Lipovec")
        scene.approve(scene.own("zorc"), post)
        scene.edit(scene.own("hocevar"), post, "Note 2 that Zorc has never seen")
        scene.tamper("approval.carried_over")
        scene.publish()

    assert scene.unfold(play) == []


def test_editors_deleted_by_hand_are_editors_all_the_same(town: Town) -> None:
    scene = Scene(town)

    def play() -> None:
        post = scene.write(scene.own("zorc"), "Note 1 from Lipovec")
        scene.tamper("post_editor.gone")
        scene.approve(scene.own("zorc"), post)
        scene.publish()

    assert scene.unfold(play) == []
