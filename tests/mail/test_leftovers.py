"""Requirement 12: what is left of a reply in which nothing was written, by its kind."""

from __future__ import annotations

import pytest

from signoff.mail.greetings import greeted
from signoff.mail.leftovers import is_doubtful, says_nothing
from signoff.mail.reply import SentContext, extract
from signoff.mail.wording import is_wordless

AUTHOR = "Ann Lee"
SENT = SentContext(
    from_address="approvals@acme.example",
    reply_to="approvals+token@acme.example",
    display_name="Approvals",
    lines=("##- Write your reply above this line -##", "A request waits for your answer"),
)
QUOTED = "> ##- Write your reply above this line -##\n> A request waits for your answer"

NOTHING = [
    "",
    "Hi,",
    "Dear all,",
    "Sehr geehrte Damen und Herren,",
    "Добрый день!",
    "お世話になっております。",
    "Hi,\n\nAnn Lee",
    "Hello!\n\nBest,\nAnn",
    "Ann",
    "-Ann",
    "Ihre Ann Lee",
    "LG Ann",
    "Liebe Grüße, Ann",
    "Un caro saluto, Ann",
    "Hezký den\nAnn",
    "Lugupidamisega\nAnn",
    "सादर\nऐन",
    "Muchas gracias y un cordial saludo\nAnn",
    "Med venlig hilsen / Best regards\n\nAnn",
    "Thx,\nAnn",
    "Thanks Ann",
    "-",
    "~~~",
    "...",
    "[Acme logo]",
    "<image001.png>",
    "&nbsp;",
    "<br>",
    "[https://a.example/l.png]<https://a.example>",
    "ann.lee@acme.example",
    "T +44 113 496 0000",
    "Virus-free.www.avast.com",
    "To unsubscribe from this group, send an email to x@acme.example.",
    "TLP:GREEN",
    "Virus-free.www.avast.com\n---\n+44 113 496 0000",
    "Classification: Internal",
    "This Message Is From an External Sender",
    "Registered in England no. 01234567",
    "Diese E-Mail enthält vertrauliche und/oder rechtlich geschützte Informationen für Sie.",
]

DOUBTFUL = [
    "Thanks",
    "Thanks!",
    "谢谢！",
    "Hi all,\n\nMany thanks",
    "Kveðjanlegast,\nAnn",
    "Bien vu,",
    "All the wishes that there are in Lagos,\nAnn Lee",
    "Med alle de bedste ønsker fra Aarhus\n\nAnn Lee\nAcme Ltd",
    "Gode tider!\nDr. Ann Lee",
    "Zap zap\nAnn",
    "Fine Ann",
    "\U0001f44d",
    "https://acme.example/",
    "Acme Ltd\nAnn Lee\nhttps://acme.example/",
    "(See attached file: report.pdf)",
    "Sendt via min iPhone",
    "Von unterwegs gesendet",
    "ご確認のほどお願いいたします。\nAnn Lee",
    "お疲れ様です。\n\n引き続きよろしくお願いいたします。\n\nAnn Lee\n営業企画課 課長\n携帯：090-5555-0128",
    "お手数をおかけしますが、よろしくお願いいたします。\nAnn Lee（アン・リー）",
    "お手数をおかけしますが、宜しくお願い致します。",
    "如有问题请随时联系我。",
    "Quedo atento a sus comentarios.",
    "Quedo atenta a sus comentarios.\nSaludos,\nAnn",
    "Please let me know if you have any questions.\n\nBest,\nAnn",
    "Für Rückfragen stehe ich Ihnen gerne zur Verfügung.",
    "Je reste à votre entière disposition pour en parler.\nAnn Lee",
    "Resto a disposizione per qualsiasi chiarimento.",
    "Fico à disposição para qualquer esclarecimento.",
    "Ik hoor het graag van jullie.",
    "W razie pytań pozostaję do dyspozycji.\nPozdrawiam\nAnn",
    "This mail is confidential.",
    "Any time, book a meeting with me",
    "Statemi bene\nGildo",
    "Please consider the environment before printing this email.",
    "Acme Ltd\nAnn Lee\nwww.acme.example",
    "Acme Ltd\nAnn Lee <ann.lee@acme.example>\nTEL 03-1234-5678",
    "Yours in haste\nAL",
    "Toodle-pip\nA.",
    "Alles Liebe und bleibt gesund\nEure Änne",
    "Hand on heart\ni. V. Ann Lee",
    "Saluzzi,\n\nResto in attesa\nAnn Lee",
]

WRITTEN = [
    "Yes",
    "Yes.\nGo on",
    "Looks fine to me, but shorten the title.\nAnn",
    "Hi, looks good",
    "Hello Bob, the price is wrong",
    "Hi Ann here it looks good to me",
    "Dear lord this is bad",
    "Thanks\nlooks good",
    "この内容でよろしくお願いします。",
    "修正をよろしくお願いします。",
    "修正してください。よろしくお願いいたします。",
    "お手数をおかけしますが、よろしくお願いいたします。\nタイトルを短くしてから公開してください",
    "Quedo pendiente de que finanzas confirme el precio.",
    "Please let me know the price first.",
    "Well then, as we said,\nplease wait for the numbers",
    "The address is wrong:\nann@acme.example is right, so change that one please",
    "It is confidential, so wait",
    "It does not show on my iPhone, and the last line is cut off at the right, so no",
    "12",
    "It was sent too late.",
    "The mobile layout is broken.",
    "(no) and yes",
    "Acme Ltd\nAnn Lee is asked too",
    "Please make it a bit shorter.\nAnn",
    "May we wait for the lawyers?\nAnn Lee",
    "Ship 12 of them\nAnn Lee",
    "A short one\nwith another, as Ann Lee said at the very beginning of it\nann@acme.example",
    "Fine by me, and by all of the others who read it,\nAnn",
    "I do object.\n\nAnn Lee\nann.lee@acme.example",
    "Two remarks:\nno price\nAnn Lee\nann.lee@acme.example",
    "Fine by me\nThanks",
    "Fine by me\nno more of Them",
    "Fine by me\nOne Two Three",
    "Fine by me\nR2 D2",
]


@pytest.mark.parametrize("text", NOTHING)
def test_what_stands_in_every_mail_says_nothing(text: str) -> None:
    """Greetings, closings, names, cards, notices and what shows no word, in many languages."""
    assert says_nothing(text.split("\n"), AUTHOR)


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_has_the_shape_of_a_formula_is_doubtful(text: str) -> None:
    """In whatever language: it stays, for it may be the reviewer's."""
    assert not says_nothing(text.split("\n"), AUTHOR)
    assert is_doubtful(text.split("\n"), AUTHOR)


@pytest.mark.parametrize("text", WRITTEN)
def test_words_are_words(text: str) -> None:
    """Formulas within a sentence, short answers, and a name with a sentence above it."""
    assert not says_nothing(text.split("\n"), AUTHOR)
    assert not is_doubtful(text.split("\n"), AUTHOR)


def test_nothing_is_not_doubtful() -> None:
    """It is certain."""
    assert not is_doubtful(["Hi,"], AUTHOR)


def test_without_a_name_only_formulas_count() -> None:
    """Nobody's name is the author's."""
    assert not says_nothing(["Ann"], "")
    assert says_nothing(["Cheers"], "")


@pytest.mark.parametrize("text", ["-", "\u2800", "\u3164", "\u200b", "\ufe0f", "?!"])
def test_marks_and_blanks_are_no_words(text: str) -> None:
    """Also those that Unicode calls letters or symbols."""
    assert is_wordless(text)


@pytest.mark.parametrize("text", ["a", "1", "\u4e00", "\U0001f44d"])
def test_letters_digits_and_pictures_are_words(text: str) -> None:
    """Whatever shows something that one can mean."""
    assert not is_wordless(text)


@pytest.mark.parametrize(
    "head",
    [
        "mán., 5. jan.\n2026 kl. 10:00 skrifaði Approvals\n<approvals@acme.example>:",
        "সোম, ৫ জানু,\n২০২৬ তারিখে ১০:০০ Approvals\n<approvals@acme.example> লিখেছেন:",
        "2026-01-05 10:00 Robot napisao:",
        "机器人 于2026年1月5日周一 10:00写道：",
        "~~~~ Previous mail ~~~~",
        "* * * Original message follows * * *",
        '-----"Approvals" <approvals@acme.example> wrote: -----',
    ],
)
def test_what_says_whose_the_quoted_mail_is_goes_with_it(head: str) -> None:
    """In languages and forms that nobody listed, on one line or on several."""
    assert extract(f"{head}\n\n{QUOTED}", sent=SENT).lines == ()
    assert extract(f"Approved\n\n{head}\n\n{QUOTED}", sent=SENT).lines == ("Approved",)


def test_an_answer_right_above_a_whole_attribution_stays() -> None:
    """Only lines that hold the rest of its day belong to it."""
    whole = "mán., 5. jan. 2026 kl. 10:00 skrifaði Approvals <approvals@acme.example>:"
    reply = extract(f"Approved 2\n{whole}\n{QUOTED}", sent=SENT)

    assert (reply.lines, reply.doubtful) == (("Approved 2",), True)
    assert extract(f"Wait\n\n{whole}\n{QUOTED}", sent=SENT).doubtful is False


@pytest.mark.parametrize("lead", ["Begin forwarded message:", "Comença el missatge reenviat:"])
def test_a_line_that_only_leads_to_the_quoted_mail_is_doubtful(lead: str) -> None:
    """It stays, and answers if it names a choice."""
    reply = extract(f"{lead}\n\n{QUOTED}", sent=SENT)

    assert (reply.lines, reply.doubtful) == ((lead,), True)
    assert extract(f"No.\n{lead}\n\n{QUOTED}", sent=SENT).doubtful is False


def test_either_form_of_a_mail_can_be_doubtful() -> None:
    """Plain text and HTML have to agree."""
    text, rich = "Bien vu, Bob, bien vu, et merci pour tout\nAnn", "Bien vu,"

    assert extract(text, sent=SENT, rich=rich, author=AUTHOR).doubtful
    assert not extract(text, sent=SENT, rich=text, author=AUTHOR).doubtful


FOOTER = "_______________\nA footer of some kind"


def test_what_a_ruler_sets_off_below_the_quoted_mail_is_a_footer() -> None:
    """Lists and servers write there, in whatever language."""
    assert extract(f"{QUOTED}\n\n{FOOTER}", sent=SENT).lines == ()
    assert extract(f"{QUOTED}\n\nYes\n{FOOTER}", sent=SENT).lines == ("Yes",)
    assert extract(f"{QUOTED}\n\nYes\n______", sent=SENT).lines == ("Yes",)


def test_what_a_ruler_sets_off_without_a_quoted_mail_is_doubtful() -> None:
    """It may be a list's; below an answer it is the reviewer's."""
    assert extract(FOOTER, sent=SENT).doubtful
    reply = extract(f"Yes\n{FOOTER}", sent=SENT)
    assert (reply.lines, reply.doubtful) == (("Yes", "A footer of some kind"), False)


def test_a_place_below_the_quoted_mail_is_doubtful() -> None:
    """Lists name theirs; with words above, a reviewer may."""
    for place in ("list.acme.example: x@acme.example", "Siehe https://acme.example/list"):
        assert extract(f"{QUOTED}\n\n{place}", sent=SENT).doubtful
        assert not extract(f"{QUOTED}\n\nYes, see here.", sent=SENT).doubtful
        assert not extract(f"Please look here: {place}", sent=SENT).doubtful


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("第二句实在是太长了所以请你们改得短一点\n李安", False),
        ("辛苦\n李安", True),
        ("\u656c\u795d\uff0c\n李安李安李安李安", False),
    ],
)
def test_scripts_without_blanks_count_by_their_signs(text: str, doubtful: bool) -> None:
    """A sentence of Chinese is one word to a computer."""
    assert is_doubtful(text.split("\n"), "李安") is doubtful


@pytest.mark.parametrize(
    ("text", "first", "below"),
    [
        ("Hi all,\n\nApproved\n\nGo on", "Approved", ("", "Go on")),
        ("Hello\nApproved", "Approved", ()),
        ("Buenos días:\n\nNo", "No", ()),
        ("各位好：\n\n同意发布。", "同意发布。", ()),
        ("Hi all,\n\nGood morning!\nNo", "No", ()),
        ("お疲れ様です。\n却下", "却下", ()),
        ("ご担当者様\n\n却下", "却下", ()),
        ("関係者各位\n却下", "却下", ()),
        ("鈴木様\n却下", "却下", ()),
        ("お疲れ様です。Leeです。\n却下", "お疲れ様です。Leeです。", ("却下",)),
        ("Hi no\nApproved", "Hi no", ("Approved",)),
        ("Hello Bob, no\nApproved", "Hello Bob, no", ("Approved",)),
        ("お疲れ様です。却下します。\nApproved", "お疲れ様です。却下します。", ("Approved",)),
        ("No\nHi all,", "No", ("Hi all,",)),
        ("Saluzzi,\n\nApproved", "Saluzzi,", ("", "Approved")),
        ("各位早晨：\n\nApproved", "Approved", ()),
        ("Saluzzi,\nApproved", "Saluzzi,", ("Approved",)),
        ("No,\n\nApproved", "No,", ("", "Approved")),
        ("Aún no,\n\nApproved", "Aún no,", ("", "Approved")),
        ("12,\n\nApproved", "12,", ("", "Approved")),
        ("Two remarks:\n\nApproved", "Two remarks:", ("", "Approved")),
        ("A few words too many,\n\nApproved", "A few words too many,", ("", "Approved")),
        ("Saluzzi,", "Saluzzi,", ()),
    ],
)
def test_the_line_below_a_greeting_decides(text: str, first: str, below: tuple[str, ...]) -> None:
    """The greeting stays among the lines; what may be more than one decides itself."""
    reply = extract(f"{text}\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert (reply.first, reply.below) == (first, below)
    assert reply.lines == tuple(text.split("\n"))
    assert reply.text == text


def test_a_greeting_may_say_who_writes() -> None:
    """As Japanese ones do; it is the author's name that tells it from an answer."""
    lines = ["お疲れ様です。広報部の田中です。", "", "承認"]

    assert greeted(lines, "田中 健一") == 2
    assert greeted(lines, "鈴木 大輔") == 0
    assert greeted(lines, "") == 0
    assert greeted(lines[:2], "田中 健一") == 0
    assert greeted(["お世話さまです。田中です。", "", "承認"], "田中 健一") == 2
    assert greeted(["却下です。田中です。", "", "承認"], "田中 健一") == 0
    assert greeted(["お世話になっております。", "田中です。", "", "承認"], "田中 健一") == 3
    assert greeted(["お世話になっております。", "佐藤です。", "", "承認"], "田中 健一") == 1


@pytest.mark.parametrize(
    "refusal",
    [
        *("Rejected,", "Wrong,", "Too expensive,", "Please don't,", "Abgelehnt,", "Disagree,"),
        *("Hola, rechazado,", "Hi no,", "反対です。Leeです。", "お疲れ様です。Leeは反対です。"),
        "NO! The links are not those of the sender.",
    ],
)
def test_a_refusal_is_no_greeting_of_the_approval_below(refusal: str) -> None:
    """What only has the shape of a greeting, or of a warning, decides itself."""
    reply = extract(f"{refusal}\n\nApproved\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert reply.first == refusal


def test_two_greetings_on_a_line_are_a_greeting() -> None:
    """Whatever they end in; a word more might be the answer."""
    assert greeted(["Hola, buenas tardes.", "", "Approved"], AUTHOR) == 2
    assert greeted(["Hola, rechazado.", "", "Approved"], AUTHOR) == 0


def test_a_given_name_is_the_end_of_a_name_without_blanks() -> None:
    """As Chinese ones are written; one sign alone tells nothing."""
    thanks = ["您好：", "", "謝謝！"]

    assert is_doubtful([*thanks, "雅婷"], "周雅婷")
    assert not is_doubtful([*thanks, "婷"], "周雅婷")
    assert not is_doubtful([*thanks, "雅婷"], "孙佳琪")
    assert not is_doubtful([*thanks, "雅婷 佳琪"], "周雅婷")


def test_a_courtesy_above_a_name_that_the_author_goes_by_is_doubtful() -> None:
    """A nickname is no part of the name in the header."""
    courtesy = "Fico no aguardo e à disposição para o que precisarem"

    assert is_doubtful([courtesy, "Jaque"], "Ann Lee")
    assert not is_doubtful([courtesy, "e peço que mudem o preço"], "Ann Lee")


WARNINGS = [
    "ATTENZIONE: mail arrivata da fuori. Non aprire allegati se non si riconosce il mittente.",
    "AVISO: mensagem de fora. Não abra anexos se não reconhecer o remetente.",
]


@pytest.mark.parametrize("warning", WARNINGS)
def test_a_line_that_shouts_and_warns_of_links_and_senders_is_a_gateways(warning: str) -> None:
    """Whatever else it says; who shouts about something else is the reviewer."""
    assert extract(f"{warning}\n\nApproved\n\n{QUOTED}", sent=SENT).lines == ("Approved",)
    quiet = warning[:2] + warning[2:].lower()
    assert extract(f"{quiet}\n\nApproved\n\n{QUOTED}", sent=SENT).first == quiet


def test_who_shouts_about_something_else_is_the_reviewer() -> None:
    """A warning names both what not to open and whose it is."""
    for line in ("WAIT: the links are wrong.", "WAIT: the sender is wrong."):
        assert extract(f"{line}\n\n{QUOTED}", sent=SENT).lines == (line,)


@pytest.mark.parametrize("line", ["Back at three", "Thumbs only today.", "15時ごろ席に戻ります"])
def test_what_stands_below_room_for_an_answer_is_doubtful(line: str) -> None:
    """Two blank lines above all: whoever answers writes there, in whatever language."""
    reply = extract(f"\n\n{line}\n\n{QUOTED}", sent=SENT)

    assert (reply.lines, reply.doubtful, reply.set_off) == ((line,), True, True)
    for start in ("", "\n", "Yes\n\n\n"):
        answered = extract(f"{start}{line}\n\n{QUOTED}", sent=SENT)
        assert (answered.doubtful, answered.set_off) == (False, False)


def test_what_is_doubtful_by_its_shape_is_not_so_for_the_room_alone() -> None:
    """A sentence below the same room may count once the reviewer was told; a formula never."""
    shaped = extract(f"\n\nYours in haste\nAnn\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert (shaped.doubtful, shaped.set_off) == (True, False)


@pytest.mark.parametrize(
    "above",
    ["This Message Is From an External Sender", "Hi all,", "Oi, gente!", QUOTED],
)
def test_room_below_a_banner_a_greeting_or_a_quote_needs_three_lines(above: str) -> None:
    """And plain text beside HTML, for HTML has blank lines between any two blocks."""
    line = "Back at my desk at three"

    for room, doubtful in (("\n\n\n", False), ("\n\n\n\n", True)):
        text = f"{above}{room}{line}"
        assert extract(text, sent=SENT, rich=line).doubtful is doubtful
        assert extract(text, sent=SENT).doubtful is False


def test_of_two_forms_both_that_are_doubtful_have_to_be_so_for_the_room_alone() -> None:
    """Else the shape of one still speaks against it."""
    text, formula = "\n\nBack at my desk at three", "Yours in haste\nAnn"

    both = extract(text, sent=SENT, rich=text)
    assert (both.doubtful, both.set_off) == (True, True)
    assert extract(text, sent=SENT, rich="Back at three.").set_off
    assert not extract(text, sent=SENT, rich=formula, author=AUTHOR).set_off


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "Abgelehnt",
            "Approvato",
            "承認",
            "Odrzucam",
            "Rejeté",
            "Aprobado",
            "Aprovado",
            "Akkoord",
        ),
        *("Ok procedete pure", "Prima zo", "Is goed", "Tudo certo, pode mandar"),
        *("Nee, nog niet doen", "Odrzucam, cena jest nieaktualna", "驳回", "OK", "Sim."),
    ],
)
@pytest.mark.parametrize("name", ["Ann", "LG Ann", "Pozdr.\nAL"])
def test_who_says_yes_or_no_is_not_doubted_for_the_name_below(answer: str, name: str) -> None:
    """As people answer from a phone: a word, and who they are."""
    reply = extract(f"{answer}\n\n{name}\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert (reply.first, reply.doubtful) == (answer, False)


@pytest.mark.parametrize("formula", ["No dude en escribirme", "Non esiti a chiamarmi", "Sim Kim"])
def test_a_sentence_that_begins_with_no_is_doubted_all_the_same(formula: str) -> None:
    """It is no answer, but how people offer their help; or a name."""
    assert is_doubtful([formula, "Ann"], AUTHOR)


GREETINGS = [
    *("Hallo Thomas, hallo Petra,", "Chers collègues,", "Gent.mo Dott. Rossi,", "Drodzy Państwo,"),
    *(
        "Exmo. Senhor,",
        "Caros colegas,",
        "Muy buenas tardes,",
        "Geachte heer, mevrouw,",
        "王总，",
        "张女士，您好：",
    ),
    *("佐藤様、お世話になっております。", "営業部の皆様", "Morning all,", "Grüß Gott Herr Huber,"),
    *("Hope you're well.", "vielen Dank für Ihre Nachricht.", "Olá, tudo bem?", "来信收悉。"),
    *("Pani Anno,", "Bonjour à toutes et à tous,"),
    *("Bom dia, pessoal", "Hi all", "Hallo, Team", "Hola a todos"),
    *(
        "Caro(a) Colega,",
        "Estimado/a compañero/a,",
        "Liebe*r Kolleg*in,",
        "大家下午好，",
        "老师们好，",
    ),
]


@pytest.mark.parametrize("greeting", GREETINGS)
def test_titles_forms_and_small_talk_above_an_answer_greet(greeting: str) -> None:
    """What stands below them decides; alone they say nothing."""
    text = f"{greeting}\n\nApproved\n\nAnn\n\n{QUOTED}"

    assert extract(text, sent=SENT, author=AUTHOR).first == "Approved"
    assert says_nothing([greeting], AUTHOR)


@pytest.mark.parametrize(
    "refusal",
    [
        *("Caro demais,", "Cher et inutile,", "Werte falsch,", "Waarde is te laag,", "Dear wrong,"),
        *(
            "田中さん、だめです",
            "却下のLeeです。",
            "同仕様",
            "EXTERNAL: wrong",
            "Cuidado: el link falla",
        ),
    ],
)
def test_what_is_dear_or_of_value_is_no_greeting(refusal: str) -> None:
    """Words of a greeting that mean something else do not let the line below decide."""
    reply = extract(f"{refusal}\n\nApproved\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert reply.first == refusal


COURTESIES = [
    *("Any questions, just shout.", "Bei Fragen einfach melden.", "Nous restons à votre écoute."),
    *("No dudes en escribirme si tienes alguna duda.", "Fammi sapere se serve altro."),
    *("Estou ao dispor para o que for necessário.", "Schroom niet om te bellen."),
    *(
        "Jakby co, dzwoń.",
        "何かあればご連絡ください。",
        "有问题随时联系。",
        "Restant à votre disposition,",
    ),
]
CARD = "Head of Sales\nAcme Ltd\nTel. 02 1234567"


@pytest.mark.parametrize("below", ["", "Regards\nAnn", "Ann", f"Ann Lee\n{CARD}", CARD])
@pytest.mark.parametrize("courtesy", COURTESIES)
def test_what_offers_help_or_waits_is_doubtful_above_any_signature(
    courtesy: str, below: str
) -> None:
    """By what it speaks of, whatever its words."""
    lines = f"{courtesy}\n\n{below}".split("\n")

    assert is_doubtful(lines, AUTHOR)


@pytest.mark.parametrize(
    "text",
    [
        *("Thanks \U0001f64f\nBob", "Saludos \U0001f60a", "Utrecht, 12 maart\nBob", "AL\nAcme Ltd"),
        *(f"Charlie\n{CARD}", "Disclaimer: the views are the author's.\nNo liability."),
        "This mail is confidential.\nIf it is not yours,\ndelete it.",
        "Courtesy of nobody, thanks for your help\n\nHamburg, den 12. März",
        "Dział Sprzedaży\nAcme S.A.\ntel. kom. 600 123 456",
        "ご返信お待ちしております。\n\n株式会社アクメ\n営業部 営業一課\nTEL: 03-1234-5678",
    ],
)
def test_pictures_days_cards_and_notices_are_doubtful(text: str) -> None:
    """Whoever's name is below them."""
    assert is_doubtful(text.split("\n"), AUTHOR)


BANNERS = [
    *(
        "[EXT]",
        "E-MAIL EXTERNO: cuidado com links e anexos",
        "【外部】",
        "此邮件来自组织外部，请谨慎处理。",
    ),
    *("Diese E-Mail stammt von einem externen Absender.", "WIADOMOŚĆ ZEWNĘTRZNA"),
    "U ontvangt niet vaak e-mail van a@acme.example. Meer informatie over waarom dit belangrijk is",
]


@pytest.mark.parametrize("banner", BANNERS)
def test_a_gateway_says_where_a_mail_came_from(banner: str) -> None:
    """In any of the languages; the answer below decides."""
    assert extract(f"{banner}\n\nApproved\n\n{QUOTED}", sent=SENT).lines == ("Approved",)


@pytest.mark.parametrize(
    "answer",
    [
        *("Perfect", "Send it", "Hold off until Monday", "Kann so raus", "Feu vert", "Por mí vale"),
        *("Nulla da segnalare", "Pode seguir", "Doe maar", "Bez uwag", "このまま進めてください"),
        *("keine Einwände", "Geen bezwaar", "Sin objeciones", "Bez zastrzeżeń", "No objections"),
        *("Toestemming verleend.", "Granted, thanks for the figures", "Zustimmung erteilt"),
        *("先不要发", "Troppo lungo", "I have a question about the discount."),
    ],
)
@pytest.mark.parametrize("name", ["Ann", "", f"Bob\n{CARD}"])
def test_what_decides_orders_or_finds_fault_is_not_doubted(answer: str, name: str) -> None:
    """For the name below: no closing holds such words."""
    assert not is_doubtful([answer, *name.split("\n")], AUTHOR)


@pytest.mark.parametrize(
    "answer",
    [
        "Accord du bureau, sous réserve que le numéro SIRET soit ajouté en bas de page.",
        "Fine by me once the footer links to the privacy policy, as the terms have it.",
        "Change the registered office in the footer, please; then it may go out.",
        "Agreed, but this message is confidential until Monday: tell no recipient.",
    ],
)
def test_an_answer_may_speak_of_what_notices_speak_of(answer: str) -> None:
    """It begins as answers do; a notice never does."""
    reply = extract(f"{answer}\n\n{QUOTED}", sent=SENT, author=AUTHOR)

    assert (reply.first, reply.doubtful) == (answer, False)
