from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.mail.incoming import parse
from signoff.mail.marks import REPLY_LINE
from signoff.mail.mime import CUT
from signoff.mail.reply import Reply, SentContext, extract

TOKEN = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop"
ADDRESS = "approvals@acme.example"
REPLY_TO = f"approvals+{TOKEN}@acme.example"
NAME = "Acme approvals"

ORIGINAL = f"""\
{REPLY_LINE}

A request waits for your answer

== What is asked ==
Please review this copy before it goes out to all customers on Monday
| Spring is here, and so is our new line of garden chairs. Order before
|+  Friday and get ten per cent off.

== How to answer ==
Reply to this mail. The first line of your reply decides:
Reply "approved" - it approves.
Reply "rejected" - it rejects.
Reply "needs_revision" - it neither approves nor rejects.
What you write below that line goes along as your feedback.
Any other text decides nothing; it is kept as a comment and you are asked
  again.
""".rstrip("\n")

SENT = SentContext(
    from_address=ADDRESS,
    reply_to=REPLY_TO,
    display_name=NAME,
    lines=tuple(ORIGINAL.split("\n")),
)

QUOTED = "\n".join(f"> {line}".rstrip() for line in ORIGINAL.split("\n"))
HTML_ORIGINAL = "".join(f"<p>{line}</p>" for line in ORIGINAL.split("\n") if line)

Shape = Callable[[str], str]


def lines(text: str, sent: SentContext = SENT) -> list[str]:
    """Return the lines that were written in a reply to the usual mail."""
    return list(extract(text, sent=sent).lines)


def top(*around: str) -> Shape:
    """Return the shape of a reply above what a client adds."""
    return lambda reply: "\n".join((reply, "", *around))


PLAIN_SHAPES: Final[dict[str, Shape]] = {
    "gmail": top(f"On Mon, Jan 5, 2026 at 10:00\u202fAM {NAME} <{REPLY_TO}> wrote:", "", QUOTED),
    "gmail, wrapped": top(
        f"On Mon, Jan 5, 2026 at 10:00\u202fAM {NAME} <", f"{ADDRESS}> wrote:", "", QUOTED
    ),
    "gmail, bottom": lambda reply: "\n".join(
        (f"On Mon, Jan 5, 2026 at 10:00 AM {NAME} <{ADDRESS}>", "wrote:", "", QUOTED, "", reply)
    ),
    "gmail, german": top(
        f"Am Mo., 5. Jan. 2026 um 10:00\u00a0Uhr schrieb {NAME} <", f"{ADDRESS}>:", "", QUOTED
    ),
    "gmail, french": top(
        f"Le lun. 5 janv. 2026 \u00e0 10:00, {NAME} <{ADDRESS}> a", "\u00e9crit :", "", QUOTED
    ),
    "gmail, spanish": top(
        f"El lun, 5 ene 2026 a las 10:00, {NAME} (<{ADDRESS}>)", "escribi\u00f3:", "", QUOTED
    ),
    "gmail, italian": top(
        f"Il giorno lun 5 gen 2026 alle ore 10:00 {NAME} <", f"{ADDRESS}> ha scritto:", "", QUOTED
    ),
    "gmail, portuguese": top(
        f"Em seg., 5 de jan. de 2026 \u00e0s 10:00, {NAME} <", f"{ADDRESS}> escreveu:", "", QUOTED
    ),
    "gmail, russian": top(
        f"\u043f\u043d, 5 \u044f\u043d\u0432. 2026\u202f\u0433. \u0432 10:00, {NAME} <{ADDRESS}>:",
        "",
        QUOTED,
    ),
    "gmail, japanese": top(
        f"2026\u5e741\u67085\u65e5(\u6708) 10:00 {NAME} <{ADDRESS}>:", "", QUOTED
    ),
    "gmail, chinese": top(
        f"{NAME} <{ADDRESS}> \u4e8e2026\u5e741\u67085\u65e5\u5468\u4e00 10:00\u5199\u9053\uff1a",
        "",
        QUOTED,
    ),
    "gmail, polish": top(
        f"pon., 5 sty 2026 o 10:00 {NAME} <{ADDRESS}>", "napisa\u0142(a):", "", QUOTED
    ),
    "apple mail": top(f"> On 5. Jan 2026, at 10:00, {NAME} <{ADDRESS}> wrote:", ">", QUOTED),
    "apple mail, signed": top(
        "--", "Ann Lee", "CFO", "", f"> On 5. Jan 2026, at 10:00, {NAME} <{ADDRESS}> wrote:", QUOTED
    ),
    "iphone": top(
        "Sent from my iPhone",
        "",
        f"> On Jan 5, 2026, at 10:00\u202fAM, {NAME} <{ADDRESS}> wrote:",
        "> ",
        QUOTED.replace("> ", "> \ufeff", 1),
    ),
    "iphone, german": top(
        "Von meinem iPhone gesendet",
        "",
        f"> Am 05.01.2026 um 10:00 schrieb {NAME} <{ADDRESS}>:",
        QUOTED,
    ),
    "android, dutch": top(
        "Verzonden vanaf mijn Galaxy",
        "",
        f"Op ma 5 jan 2026 om 10:00 schreef {NAME} <{ADDRESS}>:",
        QUOTED,
    ),
    "samsung": top(
        "Sent from my Galaxy",
        "",
        "-------- Original message --------",
        f"From: {NAME} <{ADDRESS}> ",
        "Date: 05/01/2026  10:00  (GMT+01:00) ",
        "To: ann@acme.example ",
        "Subject: [Approval] Copy ",
        "",
        ORIGINAL,
    ),
    "thunderbird": top(f"On 1/5/26 10:00, {NAME} wrote:", QUOTED),
    "thunderbird, bottom": lambda reply: "\n".join(
        (f"On 1/5/26 10:00, {NAME} wrote:", QUOTED, "", reply, "", "-- ", "Ann Lee", "CFO")
    ),
    "thunderbird, german": top(f"Am 05.01.26 um 10:00 schrieb {NAME}:", QUOTED),
    "thunderbird, swedish": top(f"Den 2026-01-05 kl. 10:00, skrev {NAME}:", QUOTED),
    "outlook": top(
        f"From: {NAME} <{ADDRESS}>",
        "Sent: Monday, January 5, 2026 10:00 AM",
        "To: Ann Lee <ann@acme.example>",
        "Subject: [Approval] Copy",
        "",
        ORIGINAL,
    ),
    "outlook, ruled off": top(
        "________________________________",
        f"From: {NAME} <{ADDRESS}>",
        "Sent: Monday, January 5, 2026 10:00:00 AM",
        "To: Ann Lee <ann@acme.example>",
        "Subject: [Approval] Copy",
        "",
        ORIGINAL,
    ),
    "outlook, old": top(
        "-----Original Message-----",
        f"From: {NAME} [mailto:{ADDRESS}] ",
        "Sent: Monday, January 5, 2026 10:00 AM",
        "To: Ann Lee",
        "Subject: [Approval] Copy",
        "",
        ORIGINAL,
    ),
    "outlook, german": top(
        f"Von: {NAME} <{ADDRESS}>",
        "Gesendet: Montag, 5. Januar 2026 10:00",
        "An: Ann Lee <ann@acme.example>",
        "Betreff: [Approval] Copy",
        "",
        ORIGINAL,
    ),
    "outlook, bold": top(
        f"*Von:* {NAME} <{ADDRESS}>",
        "*Gesendet:* Montag, 5. Januar 2026 10:00",
        "*An:* Ann Lee",
        "",
        ORIGINAL,
    ),
    "outlook, french": top(
        "De\u00a0: Somebody Else",
        "Envoy\u00e9\u00a0: lundi 5 janvier 2026 10:00",
        "\u00c0\u00a0: Ann Lee",
        "Objet\u00a0: [Approval] Copy",
        "",
        ORIGINAL,
    ),
    "outlook for ios": top(
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "________________________________",
        f"From: {NAME} <{ADDRESS}>",
        "Sent: Monday, January 5, 2026 10:00:00 AM",
        "To: Ann Lee",
        "",
        ORIGINAL,
    ),
    "outlook for android, french": top(
        "T\u00e9l\u00e9charger Outlook pour Android",
        "________________________________",
        f"De : {NAME} <{ADDRESS}>",
        "Envoy\u00e9 : lundi 5 janvier 2026 10:00",
        "\u00c0 : Ann Lee",
        ORIGINAL,
    ),
    "yahoo": top(
        f"    On Monday, January 5, 2026 at 10:00:00 AM GMT+1, {NAME} <{ADDRESS}> wrote:  ",
        " ",
        ORIGINAL,
    ),
    "yahoo, old": top("--- approvals@acme.example schrieb am Mo, 5.1.2026:", "", ORIGINAL),
    "proton": top(
        "Sent with Proton Mail secure email.",
        "",
        f"On Monday, January 5th, 2026 at 10:00 AM, {NAME} <{ADDRESS}> wrote:",
        "",
        QUOTED,
    ),
    "unknown language": top(
        f"{NAME} <{ADDRESS}> skrifa\u00f0i \u00feann m\u00e1n. 5. jan. 2026 kl. 10:00:", QUOTED
    ),
    "unknown language, name only": top(f"{NAME} skrifa\u00f0i:", "", ORIGINAL),
    "unknown header": top(
        f"Fr\u00e1: {NAME} <{ADDRESS}>",
        "Sent \u00e1: m\u00e1nudagur",
        "Til hvers: Ann Lee",
        "",
        ORIGINAL,
    ),
    "no mark at all": top(ORIGINAL),
    "no mark, without the delimiter": top(ORIGINAL.partition("\n")[2]),
    "no mark, wrapped anew": top(
        *(" ".join(ORIGINAL.partition("\n")[2].split()).replace(". ", ".\n").split("\n"))
    ),
    "quoted, broken lines": top(
        f"On 5 Jan 2026, {NAME} wrote:",
        *(
            f"> {line[:40]}\n{line[40:]}" if len(line) > 40 else f"> {line}"
            for line in ORIGINAL.split("\n")
        ),
    ),
    "new mail": lambda reply: reply,
    "new mail, signed": lambda reply: f"{reply}\n\n-- \nAnn Lee\nCFO",
    "logo": top("[cid:image001.png@01D9]", "[image: logo.png]", "*Sent from my iPad*"),
}


@pytest.mark.parametrize("shape", PLAIN_SHAPES.values(), ids=PLAIN_SHAPES.keys())
def test_the_reply_is_found_and_an_empty_one_is_empty(shape: Shape) -> None:
    """In every shape: the label alone, a label with feedback, and nothing at all."""
    assert lines(shape("Approved")) == ["Approved"]
    assert lines(shape("Rejected: too early\n\nWait until the 5th.\nAnn")) == [
        "Rejected: too early",
        "",
        "Wait until the 5th.",
        "Ann",
    ]
    assert lines(shape("")) == []
    assert lines(shape("\u200b \u00a0\n\ufeff")) == []


def gmail_html(reply: str) -> str:
    """Return what Gmail sends."""
    return (
        f'<div dir="ltr">{reply}</div><br><div class="gmail_quote gmail_quote_container">'
        f'<div dir="ltr" class="gmail_attr">On Mon, Jan 5, 2026 at 10:00 AM {NAME} &lt;'
        f'<a href="mailto:{REPLY_TO}">{REPLY_TO}</a>&gt; wrote:<br></div>'
        f'<blockquote class="gmail_quote" style="margin:0 0 0 .8ex">{HTML_ORIGINAL}</blockquote></div>'
    )


def outlook_html(reply: str) -> str:
    """Return what Outlook for Windows sends."""
    return (
        '<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style><!-- p.MsoNormal'
        " {margin:0cm;} --></style></head><body lang=EN-GB><div class=WordSection1>"
        f"<p class=MsoNormal>{reply}<o:p></o:p></p><p class=MsoNormal><o:p>&nbsp;</o:p></p><div>"
        "<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>"
        f"<p class=MsoNormal><b>From:</b> {NAME} &lt;{ADDRESS}&gt; <br><b>Sent:</b> Monday<br>"
        f"<b>To:</b> Ann</p></div></div>{HTML_ORIGINAL}</div></body></html>"
    )


def outlook_web_html(reply: str) -> str:
    """Return what Outlook on the web sends."""
    return (
        f'<html><body><div class="elementToProof">{reply}</div><div id="Signature"><p>Ann Lee, CFO</p>'
        '</div><div id="appendonsend"></div><hr style="display:inline-block;width:98%">'
        f'<div id="divRplyFwdMsg" dir="ltr"><b>From:</b> {NAME}<br><b>Sent:</b> x</div>{HTML_ORIGINAL}'
        "</body></html>"
    )


def apple_html(reply: str) -> str:
    """Return what Apple Mail sends."""
    return (
        f'<html><body style="word-wrap: break-word;">{reply}<br><div><br><blockquote type="cite">'
        f"<div>On 5. Jan 2026, at 10:00, {NAME} &lt;{ADDRESS}&gt; wrote:</div><br>{HTML_ORIGINAL}"
        "</blockquote></div><br></body></html>"
    )


def thunderbird_html(reply: str) -> str:
    """Return what Thunderbird sends when it is set to answer below."""
    return (
        f'<body><div class="moz-cite-prefix">On 1/5/26 10:00, {NAME} wrote:<br></div>'
        f'<blockquote type="cite" cite="mid:x">{HTML_ORIGINAL}</blockquote><p>{reply}</p>'
        '<pre class="moz-signature" cols="72">-- \nAnn Lee</pre></body>'
    )


def yahoo_html(reply: str) -> str:
    """Return what Yahoo sends."""
    return (
        f'<div class="ydp1">{reply}</div><div id="yahoo_quoted_1" class="yahoo_quoted">'
        f"<div>On Monday, January 5, 2026, {NAME} &lt;{ADDRESS}&gt; wrote:</div>{HTML_ORIGINAL}</div>"
    )


def ios_html(reply: str) -> str:
    """Return what an iPhone sends."""
    return (
        f'<html><body dir="auto">{reply}<br id="lineBreakAtBeginningOfSignature"><div dir="ltr">'
        f'Sent from my iPhone</div><div dir="ltr"><br><blockquote type="cite">On Jan 5, 2026, {NAME}'
        f" wrote:<br><br></blockquote></div><blockquote type=cite>{HTML_ORIGINAL}</blockquote></body></html>"
    )


def unknown_html(reply: str) -> str:
    """Return what a client sends that marks nothing."""
    return f"<div>{reply}</div><div>Am 5.1.2026 um 10:00 schrieb {NAME}:</div>{HTML_ORIGINAL}"


@pytest.mark.parametrize(
    "shape",
    [
        gmail_html,
        outlook_html,
        outlook_web_html,
        apple_html,
        thunderbird_html,
        yahoo_html,
        ios_html,
        unknown_html,
    ],
)
def test_a_reply_in_html_alone_is_found_too(shape: Shape) -> None:
    """Without a plain part: the label, a label with feedback, and nothing at all."""

    def written(reply: str) -> list[str]:
        raw = "Content-Type: text/html; charset=utf-8\r\n\r\n" + shape(reply)
        return lines(parse(raw.encode()).text)

    assert written("Approved") == ["Approved"]
    assert written("Rejected<br>too &lt;early&gt;") == ["Rejected", "too <early>"]
    assert written("") == []
    assert written("<br>&nbsp;") == []
    assert written("<s>Approved</s>") == ["~~Approved~~"]


def test_answers_between_quoted_lines_are_kept_in_their_order() -> None:
    """Interleaved lines are the reviewer's; the first of them decides."""
    text = f"On 5 Jan 2026, {NAME} wrote:\n> == What is asked ==\nRejected\n> | Spring is here\nToo early.\n> x"

    assert lines(text) == ["Rejected", "Too early."]


@pytest.mark.parametrize("quote", [">", "> ", ">>", "  > ", ">\t"])
def test_a_quoted_answer_is_no_answer(quote: str) -> None:
    """Whatever stands behind a `>` was not written in this reply."""
    assert lines(f"{quote}approved") == []


def test_a_line_of_ours_is_never_the_reviewers() -> None:
    """With or without its quote mark, in pieces, in bold, in another case."""
    assert lines("Reply to this mail. The first line of your reply decides:\nhm") == ["hm"]
    assert lines("*A REQUEST waits* for your answer") == []
    assert (
        lines(
            "How to answer\n| Spring is here, and so is our new line of garden chairs. Order before Friday"
        )
        == []
    )
    assert lines("and so is our new line of garden") == []
    assert lines("garden chairs") == ["garden chairs"]


def test_an_answer_that_we_showed_within_the_payload_is_still_an_answer() -> None:
    """`| approved` in our mail is somebody's text; `approved` in the reply is the reviewer's."""
    sent = replace(SENT, lines=(*SENT.lines, "| approved", "|", "| x"))

    assert lines("Approved", sent) == ["Approved"]
    assert lines("Approved\n\n" + "\n".join(sent.lines), sent) == ["Approved"]
    assert lines("| approved\n|\n| x", sent) == []
    assert lines("> again.\nApproved", sent) == ["Approved"]


def test_the_rest_of_a_line_of_ours_follows_the_line() -> None:
    """A client that wraps quoted lines leaves their ends without a quote mark."""
    assert lines("> Reply to this mail. The first line of your\nreply decides:\nhm") == ["hm"]
    assert lines("reply decides:\nhm") == ["reply decides:", "hm"]
    assert lines("> Reply to this mail. The first line of your\nhm\nreply decides:") == [
        "hm",
        "reply decides:",
    ]
    assert lines("> something else\nreply decides:") == ["reply decides:"]
    assert lines("> Reply to this mail. The first line of your\n+\nreply decides:") == [
        "+",
        "reply decides:",
    ]


def test_a_line_of_ours_that_was_cut_is_still_ours() -> None:
    """The mark of a line that was too long is not compared."""
    long = "lorem ipsum " * 200
    sent = replace(SENT, lines=("a", long))

    assert lines(long, sent) == []
    assert lines(long + "x", sent) == []
    assert lines("x" + long) == [("x" + long)[:2_000] + CUT]


@pytest.mark.parametrize(
    "delimiter", [REPLY_LINE, f"  {REPLY_LINE.upper()} ", f"**{REPLY_LINE}**", f"| {REPLY_LINE}"]
)
def test_nothing_below_the_delimiter_is_the_reviewers(delimiter: str) -> None:
    """Our own line says where the answer ends, unless it is quoted itself."""
    assert lines(f"hm\n{delimiter}\napproved") == ["hm"]
    assert lines(f"> {delimiter}\nhm") == ["hm"]


def test_a_mail_may_have_another_delimiter_or_none() -> None:
    """An empty delimiter parts nothing."""
    assert lines("a\n=== x ===\nb", replace(SENT, delimiter="=== X ===")) == ["a"]
    assert lines("a\nb", replace(SENT, delimiter="")) == ["a", "b"]


@pytest.mark.parametrize("mark", ["--", "-- ", "--  "])
def test_a_signature_is_left_out(mark: str) -> None:
    """Behind two hyphens nobody answers."""
    assert lines(f"Approved\n{mark}\nAnn\nrejected") == ["Approved"]
    assert lines(f"{mark}\nAnn") == []


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my iPhone",
        "Sent from Outlook for Android",
        "sent via BlackBerry",
        "Get Outlook for iOS",
        "Von meinem iPhone gesendet",
        "Gesendet von Outlook f\u00fcr Android",
        "Gesendet mit der GMX Mail App",
        "Diese Nachricht wurde von meinem Android-Ger\u00e4t mit K-9 Mail gesendet.",
        "Outlook f\u00fcr iOS beziehen",
        "Envoy\u00e9 de mon iPhone",
        "Envoy\u00e9 depuis mon t\u00e9l\u00e9phone",
        "Enviado desde mi iPhone",
        "Enviado do meu iPhone",
        "Obter o Outlook para Android",
        "Inviato da iPhone",
        "Scarica Outlook per iOS",
        "Verstuurd vanaf mijn iPhone",
        "Outlook voor Android downloaden",
        "Wys\u0142ane z iPhone'a",
        "Skickat fr\u00e5n min iPhone",
        "Sendt fra min iPhone",
        "L\u00e4hetetty iPhonesta",
        "Odesl\u00e1no z iPhonu",
        "\u041e\u0442\u043f\u0440\u0430\u0432\u043b\u0435\u043d\u043e \u0441 iPhone",
        "iPhone\u304b\u3089\u9001\u4fe1",
        "iPhone'umdan g\u00f6nderildi",
        "\u53d1\u81ea\u6211\u7684 iPhone",
        "\u5f9e\u6211\u7684 iPhone \u50b3\u9001",
        "_Sent from my iPad_",
        "[cid:abc-123]",
        "[image: logo.png]",
        "[Inline image 1]",
        "________________________________",
        "-----",
        "\u2014\u2014\u2014\u2014\u2014",
    ],
)
def test_what_an_app_adds_is_left_out(line: str) -> None:
    """Phones and logos write no feedback."""
    assert lines(f"Approved\n\n{line}") == ["Approved"]
    assert lines(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "Sent from my side with thanks",
        "Sent it to Bob's iPhone",
        "I sent from my iPhone what you asked",
        "Sent from my iPhone " + "x" * 120,
        "see [cid:abc]",
    ],
)
def test_what_a_person_writes_about_it_stays(line: str) -> None:
    """Only the known forms, at the beginning of a short line, and with a device in it."""
    assert lines(line) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "-----Original Message-----",
        "----- Original Message -----",
        "-----Urspr\u00fcngliche Nachricht-----",
        "-------- Message d'origine --------",
        "-------- Message d\u2019origine --------",
        "-----Mensaje original-----",
        "-----Messaggio originale-----",
        "-----Mensagem original-----",
        "-----Oorspronkelijk bericht-----",
        "-----Oryginalna wiadomo\u015b\u0107-----",
        "-----Ursprungligt meddelande-----",
        "-----Oprindelig meddelelse-----",
        "-----\u0418\u0441\u0445\u043e\u0434\u043d\u043e\u0435 \u0441\u043e\u043e\u0431\u0449\u0435\u043d\u0438\u0435-----",
        "-----\u5143\u306e\u30e1\u30c3\u30bb\u30fc\u30b8-----",
        "-----\u539f\u59cb\u90ae\u4ef6-----",
        "---------- Forwarded message ---------",
        "__________ Original message __________",
    ],
)
def test_an_original_message_is_cut_off(line: str) -> None:
    """Even one that was changed, so that none of its lines is ours."""
    assert lines(f"Fine\n\n{line}\napproved") == ["Fine"]


@pytest.mark.parametrize(
    "head",
    [
        f"From: {NAME}\nSent: y",
        "From: x\nSent: y\nCc: z",
        "From: x\nDate: y\nTo: z",
        "Subject: x\nDate: y\nFrom: z",
        "Von: x\nDatum: y\nAn: z",
        "De: x\nEnviado el: y\nPara: z",
        f"Da: x\nA: {ADDRESS}",
        "Van: x\nVerzonden: y\nAan: z",
        "Od: x\nWys\u0142ano: y\nDo: z",
        "Fr\u00e5n: x\nSkickat: y\nTill: z",
        "\u041e\u0442: x\n\u041a\u043e\u043c\u0443: y\n\u0422\u0435\u043c\u0430: z",
        "\u5dee\u51fa\u4eba: x\n\u9001\u4fe1\u65e5\u6642: y\n\u4ef6\u540d: z",
        "\u53d1\u4ef6\u4eba\uff1ax\n\u53d1\u9001\u65f6\u95f4\uff1ay\n\u4e3b\u9898\uff1az",
        f"Quelle: {NAME}\nWann: y\nWem: z",
        f"Quelle: {ADDRESS}\nWann: y\nWem: z",
    ],
)
def test_the_head_of_a_mail_is_cut_off(head: str) -> None:
    """Three headers with a sender, two with ours, or three lines of any names that begin with ours."""
    assert lines(f"Fine\n\n{head}\n\napproved") == ["Fine"]
    assert lines(f"Fine\n_____________\n\n{head}\n\napproved") == ["Fine"]


@pytest.mark.parametrize(
    "text",
    [
        "From: Bob",
        "To: Bob\nSubject: his copy",
        "To: Bob\nCc: Ann\nSubject: his copy",
        "From: x\nSent: y",
        "Rejected: too long\nFrom: the second line on\nTo: the end",
        "Reason: x\nPrice: y\nTotal: z",
        f"Quelle: {NAME}\nWann: y",
        "From: the beginning\nit is too long\nTo: me",
    ],
)
def test_lines_with_colons_are_no_head_of_a_mail(text: str) -> None:
    """A reviewer may write in that form."""
    assert lines(text) == text.split("\n")


@pytest.mark.parametrize(
    "line",
    [
        f"On 5 Jan 2026, {ADDRESS} wrote:",
        f"{REPLY_TO.upper()} sagte:",
        f"Somebody ({ADDRESS}):",
        "On 5 January 2026 at noon Somebody wrote:",
        "2026-01-05 Somebody <x@y.example> pisze:",
    ],
)
def test_an_attribution_cuts_off_what_follows(line: str) -> None:
    """With our address in it, or with date and verb, whatever follows is no longer the reviewer's."""
    assert lines(f"Fine\n{line}\napproved") == ["Fine"]
    assert lines(f"Fine\n{line}\n>\n> approved\nThanks") == ["Fine", "Thanks"]


@pytest.mark.parametrize(
    "line",
    [
        f"{NAME} wrote:",
        f"{NAME}:",
        "Am 5.1.2026 um 10:00:",
        "On Monday somebody wrote:",
        "10:00 Uhr, Somebody schrieb:",
    ],
)
def test_a_hint_of_an_attribution_counts_where_our_mail_follows(line: str) -> None:
    """Our name, a verb, or day and time are enough above a quote, our lines, or nothing."""
    assert lines(f"Fine\n{line}\n> x") == ["Fine"]
    assert lines(f"Fine\n{line}\n\n{ORIGINAL}") == ["Fine"]
    assert lines(f"Fine\n{line}\nA request waits for your answer\napproved") == ["Fine"]
    assert lines(f"Fine\n{line}\nFrom: x\nSent: y\nTo: z\napproved") == ["Fine"]
    assert lines(f"Fine\n{line}\n\n") == ["Fine"]
    assert lines(f"Fine\n{line}\nThanks") == ["Fine", line, "Thanks"]


@pytest.mark.parametrize(
    "text",
    [
        "Rejected, since on 2026-01-05 Bob wrote:\n> no",
        "Approved for 2026:\n> x",
        "My remarks:\n> x",
        "On reflection:\n> x",
        "Am Ende:\n> x",
    ],
)
def test_a_sentence_with_a_colon_is_the_reviewers(text: str) -> None:
    """What does not begin like an attribution is none, though a quote follows."""
    assert lines(text) == [text.partition("\n")[0]]


def test_an_answer_right_above_the_attribution_stays() -> None:
    """Without a blank line between them, an answer with a date is not taken for a part of it."""
    text = f"Approved as of 2026-01-05\nOn 5 Jan 2026, {NAME} wrote:\n{QUOTED}"

    assert lines(text) == ["Approved as of 2026-01-05"]


def test_an_attribution_has_at_most_four_lines() -> None:
    """A date and, far below, a colon are two different things."""
    assert lines(f"On 5 Jan\n2026\n{NAME}\nwrote:\n> x") == []
    far = "On 5 Jan\nof\nthe\nyear"
    assert lines(f"{far}\n2026 {NAME} wrote:\n> x") == far.split("\n")
    assert lines("On 5 Jan\n\n2026 he wrote:\n> x") == ["On 5 Jan"]
    assert lines("On 5 Jan 2026\n> x") == ["On 5 Jan 2026"]
    assert lines("On 5 Jan 2026") == ["On 5 Jan 2026"]


def test_a_short_display_name_names_nobody() -> None:
    """Two letters stand in many sentences."""
    sent = replace(SENT, display_name="AI")

    assert lines("The AI team said:\n> x", sent) == ["The AI team said:"]
    assert lines("The AI team said:\n> x", replace(SENT, display_name="AI team")) == []
    assert lines("x", replace(SENT, display_name="", reply_to="")) == ["x"]


def test_a_reply_has_a_first_line_and_a_rest() -> None:
    """The rest keeps its paragraphs; nothing written has neither."""
    reply = extract("\n  Approved  \n\n\n\nGood.\n  * one\n\n", sent=SENT)

    assert reply == Reply(("  Approved", "", "Good.", "  * one"))
    assert reply.first == "  Approved"
    assert reply.rest == "Good.\n  * one"
    assert (Reply(()).first, Reply(()).rest) == ("", "")
    assert (Reply(("a",)).first, Reply(("a",)).rest) == ("a", "")


def test_the_context_does_not_show_the_token() -> None:
    """The reply address and our lines are not in the representation that lands in logs."""
    assert TOKEN not in repr(SENT)
    assert "garden" not in repr(SENT)


@given(
    st.lists(
        st.sampled_from(
            [
                *ORIGINAL.split("\n"),
                "approved",
                "",
                "> x",
                "On 5 Jan 2026, x wrote:",
                "From: x",
                "Sent: y",
            ]
        ),
        max_size=12,
    )
)
def test_no_line_of_ours_comes_out(pieces: list[str]) -> None:
    """However lines are mixed, what comes out was written by the reviewer."""
    assert set(lines("\n".join(pieces))) <= {"approved", "", "From: x", "Sent: y"}


@given(st.text(max_size=200))
def test_any_text_has_a_reply(text: str) -> None:
    """Nothing is raised, and no blank line stands at either end."""
    found = lines(text)

    assert not found or (found[0].strip() and found[-1].strip())


@pytest.mark.parametrize("ruler", ["─" * 10, "━" * 10, "_/" * 10, "=" * 10, "■" * 10])
def test_a_ruler_may_be_the_last_line(ruler: str) -> None:
    """Of whatever marks: it is nothing that goes on, and nothing that the reviewer wrote."""
    assert lines(f"Approved\n\n{ruler}")[0] == "Approved"
    assert lines(ruler) in ([], [ruler])
