"""Writing from the command line: what it takes, what it refuses, and that nobody's edit is lost."""

from pathlib import Path

import pytest
from PIL import Image

from tests.integration.cli_fixtures import Karvenia, karvenia

__all__ = ["karvenia"]
pytestmark = pytest.mark.timeout(180)

DRAFT = ("post", "draft", "--mission=krv.hq", "--to=hq.mastodon")


def test_an_edit_of_another_revision_than_the_one_read_is_refused(karvenia: Karvenia) -> None:
    post = karvenia["hocevar"].ask(*DRAFT, "--now", "--text=en=One")
    read = ("--revision", post["revision"])
    karvenia["hocevar"].ask("post", "edit", post["id"], *read, "--text=en=Two")

    for act in (
        ("edit", "--text=en=Three"),
        ("submit",),
        ("withdraw",),
        ("schedule",),
        ("cancel",),
    ):
        stale = ("post", act[0], post["id"], *read, *act[1:])
        assert karvenia["hocevar"].refusal(*stale) == "revision_stale"
    kept = karvenia["hocevar"].ask("post", "show", post["id"])
    assert kept["texts"]["en"][0]["text"] == "Two"


def test_an_edit_without_the_revision_that_was_read_is_no_edit(karvenia: Karvenia) -> None:
    post = karvenia["hocevar"].ask(*DRAFT, "--now", "--text=en=One")
    done = karvenia["hocevar"].run("post", "edit", post["id"], "--text=en=Two")
    assert done.returncode == 2
    assert "--revision" in done.stderr
    assert karvenia["hocevar"].ask("post", "show", post["id"])["revision"] == post["revision"]


def test_an_edit_keeps_what_it_does_not_name(karvenia: Karvenia, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "navy").save(tmp_path / "flag.png")
    post = karvenia["hocevar"].ask(
        *DRAFT,
        "--at=2027-03-28T09:00",
        "--late-minutes=30",
        "--text=en=Flag day",
        "--text=sl=Dan zastave",
        f"--image={tmp_path}/flag.png:The flag",
    )

    edited = karvenia["hocevar"].ask(
        "post", "edit", post["id"], "--revision", 1, "--text=en=Flag day in Lipovec"
    )

    assert edited["texts"]["en"][0]["text"] == "Flag day in Lipovec"
    assert edited["texts"]["en"][0]["media"] == post["texts"]["en"][0]["media"] != []
    assert edited["texts"]["sl"] == post["texts"]["sl"]
    assert edited["when"] == post["when"]
    later = karvenia["hocevar"].ask(
        "post", "edit", post["id"], "--revision", 2, "--at=2027-03-29T09:00"
    )
    assert (later["when"]["local"], later["when"]["late_minutes"]) == ("2027-03-29T09:00", 30)
    on = karvenia["hocevar"].ask("calendar", "--from=2027-03-29", "--to=2027-03-30")
    assert [each["post"]["id"] for each in on] == [post["id"]]


def test_a_time_that_does_not_exist_is_refused_and_one_that_exists_twice_is_chosen(
    karvenia: Karvenia,
) -> None:
    words = (*DRAFT, "--text=en=Early birds")

    assert karvenia["hocevar"].refusal(*words, "--at=2027-03-28T02:30") == "time_gap"
    assert karvenia["hocevar"].refusal(*words, "--at=2027-10-31T02:30") == "time_fold"
    chosen = karvenia["hocevar"].ask(*words, "--at=2027-10-31T02:30", "--choice=later")
    assert chosen["when"]["due_at"] == "2027-10-31T01:30:00Z"


@pytest.mark.parametrize(
    "words",
    [
        ("--now", "--at=2027-03-28T09:00"),
        ("--zone=Asia/Tokyo",),
        ("--now", "--late-minutes=0"),
        ("--now", "--late-minutes=10081"),
        ("--card-title=The bridge",),
        ("--no-card", "--card-url=https://krv.example"),
        ("--image=en#0=flag.png:The flag",),
        ("--image=en#2=flag.png:The flag",),
        ("--image=sl=flag.png:The flag",),
    ],
)
def test_what_contradicts_itself_is_no_draft(karvenia: Karvenia, words: tuple[str, ...]) -> None:
    assert karvenia["hocevar"].run(*DRAFT, "--text=en=When?", *words).returncode == 2


def test_a_draft_without_a_time_says_what_that_means(karvenia: Karvenia) -> None:
    done = karvenia["hocevar"].run(*DRAFT, "--text=en=When?")
    assert done.returncode == 0
    assert "it goes out as soon as it is approved" in done.stdout
    timed = karvenia["hocevar"].run(*DRAFT, "--text=en=When?", "--at=2027-03-28T09:00")
    assert "time " not in timed.stdout


def test_a_thread_with_pictures_a_card_and_a_language_goes_through_the_command(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    officer = karvenia["hocevar"]
    for name in ("flag", "bridge"):
        Image.new("RGB", (40, 30), "navy").save(tmp_path / f"{name}.png")
    (tmp_path / "jutro.txt").write_bytes(b"\xef\xbb\xbfDobro jutro\n---\nin dober dan")
    post = officer.ask(
        *("post", "draft", "--mission=krv.hq", "--to=hq.mastodon", "--language=hq.mastodon=sl"),
        f"--file=sl={tmp_path}/jutro.txt",
        f"--image=sl#2={tmp_path}/flag.png:Zastava",
        f"--image=sl#2={tmp_path}/bridge.png:Most",
        *("--card-url=https://krv.example/most", "--card-title=Most", "--card-description=Nov."),
    )
    first, second = post["texts"]["sl"]
    assert (first["text"], first["media"]) == ("Dobro jutro", [])
    assert [each["alt"] for each in second["media"]] == ["Zastava", "Most"]
    assert post["deliveries"][0]["language"] == "sl"
    assert post["link_card"] == {
        "uri": "https://krv.example/most",
        "title": "Most",
        "description": "Nov.",
    }

    edited = officer.ask(
        *("post", "edit", post["id"], "--revision", 1, "--card-title=Novi most"),
        *("--to=hq.mastodon", "--language=hq.mastodon=en"),
        f"--image=sl#1={tmp_path}/bridge.png:Most",
    )
    assert edited["link_card"] == {**post["link_card"], "title": "Novi most"}
    assert edited["deliveries"][0]["language"] == "en"
    assert [len(each["media"]) for each in edited["texts"]["sl"]] == [1, 2]
    bare = officer.ask("post", "edit", post["id"], "--revision", 2, "--no-card")
    assert bare["link_card"] is None


def test_a_file_that_is_no_text_is_named_with_its_first_strange_byte(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    strange = tmp_path / "jutro.txt"
    strange.write_bytes("Dobro jutro, Tina Hočevar".encode("iso-8859-2"))
    done = karvenia["hocevar"].run(*DRAFT, f"--file=en={strange}")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{strange} is not UTF-8: byte 21 is 0xE8" in line
    assert line.endswith("[file_not_text]")
    assert karvenia["bizjak"].refusal("policy", "check", strange) == "file_not_text"


def test_a_reviewer_looks_at_the_pictures_that_will_be_public(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), "navy").save(tmp_path / "flag.png")
    post = karvenia["hocevar"].ask(
        *(*DRAFT, "--now", "--text=en=Flag day", f"--image={tmp_path}/flag.png:The flag")
    )
    sha256 = post["texts"]["en"][0]["media"][0]["sha256"]
    karvenia["hocevar"].ask("post", "submit", post["id"], "--revision", post["revision"])
    review = karvenia["zorc"].run("approval", "show", post["id"]).stdout
    assert f"look:  chancery media show {sha256} --output {sha256[:8]}.png" in review

    look = ("media", "show", sha256, "--output", tmp_path / "seen.png")
    assert karvenia["zorc"].ask(*look)["bytes"] == (tmp_path / "seen.png").stat().st_size
    with Image.open(tmp_path / "seen.png") as seen:
        assert (seen.size, seen.getpixel((0, 0))) == ((40, 30), (0, 0, 128))
    assert karvenia["zorc"].refusal(*look) == "system_refused"
    missing = ("media", "show", "0" * 64, "--output", tmp_path / "none.png")
    assert karvenia["zorc"].refusal(*missing) == "not_found"
    assert not (tmp_path / "none.png").exists()


def test_the_policy_in_force_is_printed_as_a_policy_file(
    karvenia: Karvenia, tmp_path: Path
) -> None:
    shown = karvenia["bizjak"].run("policy", "show")
    file = tmp_path / "policy.yaml"
    file.write_text(shown.stdout)
    checked = karvenia["bizjak"].ask("policy", "check", file)
    assert checked["digest"] in shown.stderr
