"""Requirement 12: short answers in free words go on deciding; doubt is for what stands in every mail."""

from __future__ import annotations

import pytest

from signoff.mail.reply import SentContext, extract

AUTHOR = "Ann Lee"
SENT = SentContext(
    from_address="approvals@acme.example",
    reply_to="approvals+token@acme.example",
    display_name="Approvals",
    lines=("##- Write your reply above this line -##", "A request waits for your answer"),
)
QUOTED = "> ##- Write your reply above this line -##\n> A request waits for your answer"

ANSWERS = {
    "en": [
        "Please shorten the second paragraph",
        "Too pushy for us.",
        "Swap the picture, then it can go",
        "Not before Tuesday!",
        "Who is this for?",
        "Love it, ship it",
        "The discount is wrong: 8, not 10",
    ],
    "de": [
        "Bitte den zweiten Absatz kürzen",
        "Zu aufdringlich.",
        "Anderes Bild, dann passt es",
        "Nicht vor Dienstag!",
        "Für wen ist das?",
        "Gefällt mir, kann raus",
        "Der Rabatt stimmt nicht: 8 statt 10",
    ],
    "fr": [
        "Raccourcissez le deuxième paragraphe",
        "Trop insistant.",
        "Changez la photo et c'est bon",
        "Pas avant mardi !",
        "C'est pour qui ?",
        "J'adore, envoyez",
        "La remise est fausse : 8, pas 10",
    ],
    "es": [
        "Acortad el segundo párrafo, por favor",
        "Demasiado insistente.",
        "Cambiad la foto y listo",
        "¡Antes del martes no!",
        "¿Para quién es?",
        "Me encanta, mandadlo",
        "El descuento está mal: 8, no 10",
    ],
    "it": [
        "Accorciate il secondo paragrafo",
        "Troppo insistente.",
        "Cambiate la foto e va bene",
        "Non prima di martedì!",
        "Per chi è?",
        "Mi piace molto, mandatelo",
        "Lo sconto è sbagliato: 8, non 10",
    ],
    "pt": [
        "Encurtem o segundo parágrafo, por favor",
        "Insistente demais.",
        "Troquem a foto e pode ir",
        "Antes de terça não!",
        "Para quem é isto?",
        "Adorei, podem mandar",
        "O desconto está errado: 8, não 10",
    ],
    "nl": [
        "Graag de tweede alinea korter",
        "Te opdringerig.",
        "Andere foto en het is goed",
        "Niet voor dinsdag!",
        "Voor wie is dit?",
        "Heel mooi, verstuur maar",
        "De korting klopt niet: 8, geen 10",
    ],
    "pl": [
        "Skróćcie drugi akapit",
        "Zbyt nachalne.",
        "Zmieńcie zdjęcie i będzie dobrze",
        "Nie przed wtorkiem!",
        "Dla kogo to jest?",
        "Podoba mi się, wysyłajcie",
        "Rabat się nie zgadza: 8, a nie 10",
    ],
    "ja": [
        "二段落目を短くしてください",
        "押しが強すぎます。",
        "写真を替えれば大丈夫です",
        "火曜日より前は困ります！",
        "これは誰向けですか？",
        "とても良いので送ってください",
        "割引が違います。10ではなく8です",
    ],
    "zh": [
        "请缩短第二段",
        "太强势了。",
        "换一张图片就可以了",
        "星期二之前不行！",
        "这是给谁看的？",
        "很喜欢，可以发了",
        "折扣错了：是8，不是10",
    ],
}
EVERY = [answer for answers in ANSWERS.values() for answer in answers]
FORMS = {
    "alone": "{answer}",
    "below-a-blank-line": "\n{answer}",
    "above-a-signature": "{answer}\n\n-- \nAnn Lee\nAcme Ltd",
    "above-a-phones-line": "{answer}\n\nSent from my iPhone",
    "above-a-closing": "{answer}\n\nBest regards,\nAnn Lee\nHead of Things, Acme Ltd",
}


def test_there_are_seventy_answers_in_ten_languages() -> None:
    """Enough for a rule that eats answers to eat one of them."""
    assert (len(ANSWERS), len(set(EVERY))) == (10, 70)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("answer", EVERY)
def test_a_short_answer_is_not_doubted(answer: str, form: str) -> None:
    """Wherever people write it above the mail that they answer."""
    text = form.format(answer=answer)
    reply = extract(f"{text}\n\n{QUOTED}", sent=SENT, rich=text, author=AUTHOR)

    assert (reply.first, reply.doubtful) == (answer, False)


@pytest.mark.parametrize("answer", EVERY)
def test_a_short_answer_below_the_quote_is_not_doubted(answer: str) -> None:
    """Some write there."""
    reply = extract(f"{QUOTED}\n\n{answer}\n", sent=SENT, author=AUTHOR)

    assert (reply.first, reply.doubtful) == (answer, False)
