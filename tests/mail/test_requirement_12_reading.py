"""Requirement 12: how plain text and HTML of one reply are read together, and what is left out."""

from __future__ import annotations

from typing import Final

import pytest

from signoff.mail.incoming import parse
from signoff.mail.reply import Reply, SentContext, extract

SENT: Final = SentContext(
    from_address="approvals@acme.example",
    reply_to="approvals+abc@acme.example",
    display_name="Acme approvals",
    lines=("##- Write your reply above this line -##", "A request waits for your answer"),
)
HEAD: Final = "From: Acme approvals <approvals@acme.example>\nSent: Monday\nTo: Ann"


def lines(text: str, *, rich: str = "", author: str = "Ann Lee") -> list[str]:
    """Return the lines that were written in a reply."""
    return list(extract(text, sent=SENT, rich=rich, author=author).lines)


def both(plain: str, markup: str) -> Reply:
    """Return what is read of a mail that has both."""
    raw = (
        "From: Ann Lee <ann@acme.example>\nContent-Type: multipart/alternative; boundary=b\n\n"
        f"--b\nContent-Type: text/plain\n\n{plain}\n--b\nContent-Type: text/html\n\n{markup}\n--b--\n"
    )
    mail = parse(raw.encode())
    return extract(mail.text, sent=SENT, rich=mail.rich, author=mail.author)


def test_a_struck_out_answer_is_none_though_the_plain_part_does_not_say_so() -> None:
    """Only HTML tells that something was struck out."""
    assert both("Approved", "<p>Approved</p>").first == "Approved"
    assert both("Approved", "<p><s>Approved</s></p>").first == "~~Approved~~"
    assert both("Approved", "<p><s>Approved</s> no</p>").first == "~~Approved~~ no"


def test_a_line_that_the_plain_part_broke_is_read_whole() -> None:
    """The first line must not become an answer because a client wrapped it there."""
    assert both("Approved\nunless legal says no", "<p>Approved unless legal says no</p>").first == (
        "Approved unless legal says no"
    )


@pytest.mark.parametrize(
    ("plain", "markup"),
    [
        ("Acme Ltd.", "<div id=Signature>Acme Ltd.</div>"),
        ("approved by legal", "<blockquote>approved by legal</blockquote>"),
        ("> Approved", "<p>Approved</p>"),
    ],
)
def test_what_only_one_of_the_two_holds_was_not_written(plain: str, markup: str) -> None:
    """A signature or a quotation that one part marks is none of the reviewer's words."""
    assert both(plain, markup) == Reply(())


def test_html_that_is_not_whole_does_not_speak_against_the_plain_part() -> None:
    """Nor does HTML that shows nothing."""
    assert both("Approved", "<p>x</p><!-- never ends").first == "Approved"
    assert both("Approved", "<html><body></body></html>").first == "Approved"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Ann Lee <ann@acme.example>", "Ann Lee"),
        ('"Lee, Ann" <ann@acme.example>', "Lee, Ann"),
        ("=?utf-8?q?Anne_Lef=C3=A8vre?= <ann@acme.example>", "Anne Lefèvre"),
        ("=?utf-8?Q?Anne?= =?iso-8859-1*fr?Q?_Lef=E8vre?= <a@b.example>", "Anne Lefèvre"),
        ("=?iso-2022-jp?B?GyRCTXsbKEIgGyRCMEIbKEI=?= <a@b.example>", "李 安"),
        ("=?x-none?B?!!!?= <a@b.example>", ""),
        ("ann.lee+work@acme.example", "ann.lee"),
        ("<ann@acme.example>", "ann"),
        ("al@acme.example", ""),
        ("", ""),
    ],
)
def test_the_name_of_the_author_is_read_as_it_was_meant(header: str, name: str) -> None:
    """Encoded words are decoded; what cannot be read is no name."""
    assert parse(f"From: {header}\n\nx".encode()).author == name
    assert parse(b"\nx").author == ""


@pytest.mark.parametrize(
    "signature",
    [
        "Best regards",
        "Kind regards,\nAnn",
        "Mit freundlichen Grüßen / Best regards",
        "MfG",
        "Cordialement,",
        "Un saludo",
        "Distinti saluti",
        "Com os melhores cumprimentos",
        "Met vriendelijke groet,",
        "Z poważaniem",
        "Med vänliga hälsningar",
        "С уважением,",
        "よろしくお願いいたします。",
        "Thanks,\nAnn",
        "Merci beaucoup !\n\nLee",
        "Ann Lee",
        "Lee, Ann",
        "Dr. Ann Lee MBA",
        "Ann Lee | Head of Brand",
        "Ann Lee <ann@acme.example>",
        "Ann Lee - Acme Ltd.",
    ],
)
def test_a_text_that_begins_like_a_signature_is_nothing_else(signature: str) -> None:
    """An automatic signature without a mark is no answer, alone or above the quoted mail."""
    assert lines(f"{signature}\nAcme Ltd.\n+44 20 7946 0000") == []
    assert lines(f"{signature}\nAcme Ltd.\n\n{HEAD}") == []
    assert lines(f"Rejected\n\n{signature}")[0] == "Rejected"


@pytest.mark.parametrize(
    "text",
    [
        "Thanks",
        "Thanks,\nlooks good",
        "Regards the price: no",
        "Ann Lee should decide this",
        "Lee should decide this",
        "Best price wins",
    ],
)
def test_a_text_that_only_resembles_a_signature_is_the_reviewers(text: str) -> None:
    """Thanks without a name below, and sentences with such words."""
    assert lines(text) == text.split("\n")


def test_without_a_known_name_a_name_is_text() -> None:
    """Nobody's name is taken for the author's."""
    assert lines("Ann Lee", author="") == ["Ann Lee"]


@pytest.mark.parametrize(
    "banner",
    [
        "[EXTERNAL]",
        "CAUTION: This email originated from outside of the organization.",
        "ACHTUNG: Externe E-Mail",
        "ATTENTION : Ce message provient d'un expéditeur externe.",
        "You don't often get email from ann@acme.example. Learn why this is important",
    ],
)
def test_a_warning_of_a_server_counts_only_above_everything(banner: str) -> None:
    """Below the reviewer's first line it is theirs; of two lines of it both go."""
    assert lines(f"{banner}\nDo not click.\n\nApproved") == ["Approved"]
    assert lines(f"Rejected\n\n{banner}") == ["Rejected", "", banner]


def test_a_warning_of_a_reviewer_is_no_servers() -> None:
    """Leaving it out would let a line below it decide."""
    text = "Warning: the external prices are wrong\n\nApproved"

    assert lines(text)[0] == "Warning: the external prices are wrong"


def test_a_notice_of_a_server_counts_only_below_the_quoted_mail() -> None:
    """A reviewer may call a mail confidential."""
    notice = "This email is confidential\nand only for you."

    assert lines(f"Approved\n> x\n\n{notice}\n\nAnn") == ["Approved", "", "Ann"]
    assert lines(notice) == notice.split("\n")


@pytest.mark.parametrize(
    "line",
    ["Sent from Boxer", "Gesendet mit Canary", "Télécharger BlueMail pour Android", "Küldve Boxer"],
)
def test_the_line_of_an_unknown_app_counts_only_right_above_the_quoted_mail(line: str) -> None:
    """Anywhere else it is a sentence."""
    assert lines(f"Approved\n\n{line}\n\n{HEAD}") == ["Approved"]
    assert lines(f"{line}\n\nOn 5 Jan 2026, Acme approvals wrote:\n> x") == []
    assert lines(f"{line}\nand more") == [line, "and more"]


def test_a_link_below_the_line_of_an_app_goes_with_it() -> None:
    """It is the app's advertisement; any other link is the reviewer's."""
    assert lines("Sent with Aqua Mail\nhttps://example.org/aqua") == []
    assert lines("Sent with Aqua Mail\nsee https://example.org") == ["see https://example.org"]
    assert lines("https://example.org") == ["https://example.org"]


@pytest.mark.parametrize(
    "title", ["---- Correo ----", "**** Mail ****", "--------- \ubc1b\uc740 \uba54\uc77c ---------"]
)
def test_a_title_between_dashes_ends_the_reply_above_the_head_of_a_mail(title: str) -> None:
    """In any language; without such a head below it is the reviewer's."""
    assert lines(f"Rejected\n\n{title}\n\n{HEAD}\n\napproved") == ["Rejected"]
    assert lines(f"{title}\nIt is too long") == [title, "It is too long"]


def test_an_attribution_between_dashes_ends_the_reply() -> None:
    """Zoho ends it in no colon."""
    line = "---- On Mon, 05 Jan 2026 10:00:00 +0100 Acme approvals wrote ----"

    assert lines(f"Fine\n\n{line}\n\napproved") == ["Fine"]


@pytest.mark.parametrize(
    "head",
    [
        "2026/1/5 Acme approvals <approvals@acme.example>\n\n> x",
        "On 5 Jan 2026 Acme approvals\n\n<approvals@acme.example\n> wrote:",
    ],
)
def test_an_attribution_may_end_in_no_colon(head: str) -> None:
    """With a day and our name, above our mail or the rest of itself."""
    assert lines(f"Fine\n\n{head}")[0] == "Fine"
    assert "2026" not in "".join(lines(f"Fine\n\n{head}"))
    assert lines("On 5 Jan 2026 Acme approvals\n\n<no>\nhm")[0] == "On 5 Jan 2026 Acme approvals"


def test_the_head_of_a_mail_may_have_gaps() -> None:
    """Each header a paragraph; the sender alone is enough with our address in it."""
    gaps = "Gesendet: Montag\n\nVon: Acme approvals <approvals@acme.example>\n\nAn: Ann"

    assert lines(f"Fine\n\n{gaps}\n\napproved") == ["Fine"]
    assert lines("Fine\n\nVon: Acme approvals <approvals@acme.example>\n\napproved") == ["Fine"]
    assert lines(f"Rejected: no\n\n{HEAD}") == ["Rejected: no"]


def test_our_buttons_with_their_links_are_ours() -> None:
    """Whatever a client makes of their text."""
    link = "Reply: approved <mailto:approvals+abc@acme.example?subject=Re&body=approved>"

    assert lines(f"Fine\n{link}") == ["Fine"]


def test_marks_of_direction_do_not_hide_an_attribution() -> None:
    """Clients in right-to-left languages put them around names and at the end of lines."""
    line = "\u202b\u202aAcme approvals\u202c\u200f <approvals@acme.example>, 5.1.2026 10:00:\u202c"

    assert lines(f"\u200fFine\n\n{line}\n\napproved") == ["Fine"]


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("gb2312", "gb18030"),
        ("shift_jis", "cp932"),
        ("euc-kr", "cp949"),
        ("iso-8859-9", "cp1254"),
        ("tis-620", "cp874"),
    ],
)
def test_what_clients_send_beyond_the_declared_charset_is_read(declared: str, sent: str) -> None:
    """The larger set of the same family, as browsers read it."""
    word = {"gb2312": "镕", "shift_jis": "①", "euc-kr": "똠", "iso-8859-9": "“ş”", "tis-620": "…ก"}
    raw = f"Content-Type: text/plain; charset={declared}\n\n".encode() + word[declared].encode(sent)

    assert parse(raw).text == word[declared]
