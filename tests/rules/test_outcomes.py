from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.model.policy import RISKS, Risk
from signoff.model.request import Choice
from signoff.rules.outcomes import (
    MAX_LABEL_CHARS,
    Ambiguous,
    Answer,
    Match,
    Matched,
    Meaning,
    NoMatch,
    choices,
    default_allowed,
    label_of_meaning,
    match,
    normalise,
    read_answer,
)

THREE = choices(["approved", "rejected", "needs_revision"])
STRUCK = "".join(char + "\u0336" for char in "approved")
CYRILLIC = "\u0430pproved"
FULL_WIDTH = "\uff21\uff50\uff50\uff52\uff4f\uff56\uff45\uff44"


def matched(line: str, *, given: Sequence[Choice] = THREE, risk: Risk = "medium") -> Match:
    """Match a line against three usual labels at medium risk."""
    return match(line, given, risk=risk)


def read(text: str, *, default: str | None = None, risk: Risk = "medium") -> Answer:
    """Read a whole text as an answer to three usual labels."""
    first, _, rest = text.partition("\n")
    return read_answer(first, rest, THREE, risk=risk, default_outcome=default)


# What is the same word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Approved.", "approved"),
        ("  approved !!", "approved"),
        ("**approved**", "approved"),
        ("`approved`,", "approved"),
        ("\u201capproved\u201d;", "approved"),
        ("\u201eapproved\u201c:", "approved"),
        ("\u2018approved\u2019", "approved"),
        ("'approved'", "approved"),
        (FULL_WIDTH + "\uff01", "approved"),
        ("app\u200broved\ufeff", "approved"),
        ("\u00a0approved\u2003", "approved"),
        ("app\x00roved", "approved"),
        ("needs-revision", "needs revision"),
        ("NEEDS_REVISION.", "needs revision"),
        ("needs \u2011 - _ revision", "needs revision"),
        ("needs\trevision", "needs revision"),
        ("STRASSE", "strasse"),
        ("stra\u00dfe", "strasse"),
        ("!approved", "!approved"),
        (". approved", ". approved"),
        ("> approved", "> approved"),
        ("~~approved~~", "~~approved~~"),
        ("\u00abapproved\u00bb", "\u00abapproved\u00bb"),
        ("approved?", "approved?"),
        ("- approved", "- approved"),
        ("approved -", "approved -"),
        ("-approved", "-approved"),
        ("approved-", "approved-"),
        ("not\x0bapproved", "not approved"),
        ("not\u2028approved", "not approved"),
        ("not\x85approved", "not approved"),
        ("...", ""),
        (" _*. ", ""),
        (" _* ", ""),
        ("", ""),
    ],
)
def test_two_texts_are_one_answer_if_they_normalise_to_the_same(text: str, expected: str) -> None:
    """Case, form, invisible characters and decoration do not matter; quoting and striking do."""
    assert normalise(text) == expected


def test_struck_out_text_stays_struck_out() -> None:
    """Combining marks are part of the word, so a line of them is no approval."""
    assert normalise(STRUCK) == STRUCK
    assert matched(STRUCK) == NoMatch()


# Which labels there may be


def test_labels_of_the_table_have_their_meaning_and_the_words_of_it() -> None:
    """Where one label has a meaning, every word of that meaning stands for it."""
    assert choices(["Approve", "decline", "later"]) == (
        Choice(label="Approve", meaning="approve", aliases=("approved", "accept", "accepted")),
        Choice(
            label="decline",
            meaning="reject",
            aliases=("reject", "rejected", "deny", "denied", "declined"),
        ),
        Choice(label="later", meaning="neutral", aliases=()),
    )


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *((word, "approve") for word in ("approve", "approved", "accept", "accepted")),
        *(
            (word, "reject")
            for word in ("reject", "rejected", "deny", "denied", "decline", "declined")
        ),
        *((word, "neutral") for word in ("yes", "ok", "publish", "refuse", "approval")),
    ],
)
def test_the_table_of_meanings(word: str, meaning: Meaning) -> None:
    """Ten words have a fixed meaning; every other label is neutral until it is declared."""
    assert choices([word])[0].meaning == meaning
    assert choices([word.upper() + "!"])[0].meaning == meaning


def test_a_declared_meaning_brings_the_words_of_the_table() -> None:
    """`meanings` makes a label one of approval, and then `approved` names it too."""
    made = choices(["publish", "drop"], meanings={"publish": "approve"})

    assert [choice.meaning for choice in made] == ["approve", "neutral"]
    assert matched("Approved", given=made) == Matched("publish")


def test_two_labels_of_one_meaning_share_no_words() -> None:
    """With two labels of approval, only their own words name them."""
    made = choices(["approve", "publish"], meanings={"publish": "approve"})

    assert [choice.aliases for choice in made] == [(), ()]
    assert matched("approved", given=made) == NoMatch()
    assert matched("approve", given=made) == Matched("approve")


def test_declared_aliases_come_first_and_only_once() -> None:
    """A declared alias is normalised; repeating a word of the label does no harm."""
    made = choices(
        ["approved", "later"],
        aliases={"approved": ["LGTM!", "Approved", "accept", "lgtm"], "later": ["not-now"]},
    )

    assert [choice.aliases for choice in made] == [
        ("lgtm", "accept", "approve", "accepted"),
        ("not now",),
    ]


def test_no_labels_are_no_choices() -> None:
    """A gate without labels takes any text."""
    assert choices([]) == ()


def test_a_label_may_have_64_characters_and_a_joiner() -> None:
    """The limit is in characters; a zero-width joiner belongs to some scripts."""
    longest = "x" * 63 + "\u200d"

    assert MAX_LABEL_CHARS == 64
    assert choices([longest])[0].label == longest


@pytest.mark.parametrize(
    ("labels", "meanings", "aliases", "message"),
    [
        (["ok", ""], {}, {}, "'' is blank"),
        (["_*_"], {}, {}, "is blank: a label needs a letter"),
        (["x" * 65], {}, {}, "has more than 64 characters"),
        (["ok\napproved"], {}, {}, "is more than one line"),
        (["ok\u2028"], {}, {}, "is more than one line"),
        (["ok\u2029"], {}, {}, "is more than one line"),
        (["ok"], {}, {"ok": ["x" * 65]}, "has more than 64 characters"),
        (["ok"], {}, {"ok": [" "]}, "' ' is blank"),
        (["ok", "ok"], {}, {}, "'ok' would stand for both 'ok' and 'ok'"),
        (
            ["on hold", "On-Hold."],
            {},
            {},
            "'on hold' would stand for both 'on hold' and 'On-Hold.'",
        ),
        (["a", "b"], {}, {"a": ["yes"], "b": ["YES"]}, "'yes' would stand for both 'a' and 'b'"),
        (["a", "b"], {}, {"b": ["A"]}, "'a' would stand for both 'a' and 'b'"),
        (["a"], {"b": "approve"}, {}, "meanings names 'b', which is none of the labels: 'a'"),
        (["a"], {}, {"b": ["c"]}, "aliases names 'b', which is none of the labels: 'a'"),
        (["a"], {"a": "yes"}, {}, "the meaning of 'a' is 'yes'; use one of 'approve', 'reject'"),
        (["denied"], {"denied": "approve"}, {}, "'denied' always means reject"),
        (["accept"], {"accept": "neutral"}, {}, "it cannot stand for neutral"),
        (["later"], {}, {"later": ["Reject"]}, "'reject' always means reject; it cannot"),
        (["go"], {"go": "approve"}, {"go": ["decline"]}, "'decline' always means reject"),
        ("approved", {}, {}, "the labels are one text, 'approved'"),
        (["a"], {}, {"a": "lgtm"}, "the aliases of 'a' are one text, 'lgtm'"),
    ],
)
def test_labels_that_could_be_misread_are_refused_when_they_are_defined(
    labels: Sequence[str],
    meanings: Mapping[str, Meaning],
    aliases: Mapping[str, Sequence[str]],
    message: str,
) -> None:
    """A gate with unclear words never opens a request."""
    with pytest.raises(ValueError, match="(?s).") as caught:
        choices(labels, meanings=meanings, aliases=aliases)

    assert message in str(caught.value)


def test_words_of_a_fixed_meaning_may_be_declared_again() -> None:
    """Saying what the table says is no contradiction."""
    made = choices(["denied", "go"], meanings={"denied": "reject"}, aliases={"denied": ["reject"]})

    assert made[0].meaning == "reject"


# Which line names a label


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("approved", "approved"),
        ("Approved.", "approved"),
        ("**approved**", "approved"),
        ('"approved"', "approved"),
        (FULL_WIDTH, "approved"),
        ("appr\u200boved", "approved"),
        ("Approve", "approved"),
        ("accepted", "approved"),
        ("  APPROVED!!! ", "approved"),
        ("Needs revision", "needs_revision"),
        ("needs-revision", "needs_revision"),
        ("NEEDS_REVISION.", "needs_revision"),
        ("deny", "rejected"),
        ("Rejected:", "rejected"),
    ],
)
@pytest.mark.parametrize("risk", RISKS)
def test_a_line_that_is_a_label_names_it_at_any_risk(line: str, label: str, risk: Risk) -> None:
    """A whole word in any decoration is an answer."""
    assert matched(line, risk=risk) == Matched(label, "")


@pytest.mark.parametrize(
    "line",
    [
        "not approved",
        "unapproved",
        "approved?",
        "approved but fix X",
        "approved, if legal agrees",
        "approved: mostly",
        "approved - but fix X",
        "approved/rejected",
        "rejected/approved",
        "rejected / approved",
        "rejected | approved",
        "I approved it",
        "+1",
        "LGTM",
        "yes",
        "\U0001f44d",
        CYRILLIC,
        "aproved",
        "> approved",
        "~~approved~~",
        STRUCK,
        "approved?!",
        "approved!?",
        "approved! ?",
        "Approved... but fix X",
        "Approved.. great",
        "Approved.Great",
        "Approved.! great",
        "Approved!X great",
        "approved.txt is fine",
        "Approved . Great",
        "approved\x85 if legal agrees",
        "approved\rif legal agrees",
        "!approved",
        "rejected?",
        "rejected ? why",
        "rejected!? why",
        "rejected \uff1f",
        "rejection of this would be wrong",
        "not rejected",
        "unrejected",
        "rejected-looking, but fine",
        "needs_revision: shorter",
        "needs revision shorter",
        "~~rejected~~ approved",
        "> rejected: no",
        "",
        " ",
        "\u200b",
        ".",
    ],
)
@pytest.mark.parametrize("risk", ["low", "medium", "high", "critical"])
def test_any_other_line_names_none(line: str, risk: Risk) -> None:
    """No part of a word, no negation, no condition, no question, nothing quoted or struck out."""
    assert matched(line, risk=risk) == NoMatch()


@pytest.mark.parametrize(
    ("line", "remainder"),
    [
        ("rejected: wrong price", "wrong price"),
        ("Rejected wrong price", "wrong price"),
        ("rejected - wrong price", "wrong price"),
        ("Rejected\u2014wrong price", "wrong price"),
        ("Rejected \u2013 wrong price!", "wrong price"),
        ("Rejected.Wrong price.", "Wrong price"),
        ("rejected, wrong price", "wrong price"),
        ("rejected; wrong price", "wrong price"),
        ("rejected! wrong price", "wrong price"),
        ("rejected (wrong price)", "wrong price)"),
        ("rejected(wrong price)", "wrong price)"),
        ("**Rejected:** wrong *price*", "wrong *price"),
        ('"Rejected" wrong price', "wrong price"),
        ("\uff32ejected\uff1awrong", "wrong"),
        ("deny approval", "approval"),
        ("Rejected, I cannot approve this", "I cannot approve this"),
        ("declined\tapproved is the other one", "approved is the other one"),
        ("reject -", ""),
        ("Rejected. Why would we pay that?", "Why would we pay that?"),
    ],
)
@pytest.mark.parametrize("risk", RISKS)
def test_a_refusal_takes_text_at_any_risk(line: str, remainder: str, risk: Risk) -> None:
    """Whatever follows a refusal, it refuses: the safe side."""
    assert matched(line, risk=risk) == Matched("rejected", remainder)


@pytest.mark.parametrize(
    ("line", "remainder"),
    [
        ("Approved. Great article!", "Great article!"),
        ("Approved! Great article", "Great article"),
        ("approved!!! great", "great"),
        ("**Approved.** Great article", "Great article"),
        ("**Approved**. Great article", "Great article"),
        ('"Accept." Thanks', "Thanks"),
        ("Approved.\tThanks, approvals team", "Thanks, approvals team"),
        ("Approved.\u00a0Thanks", "Thanks"),
        ("Approved. needs more", "needs more"),
    ],
)
def test_an_approval_takes_text_behind_a_full_stop_at_low_and_medium_only(
    line: str, remainder: str
) -> None:
    """`Approved. Great article!` approves a medium request and leaves a high one pending."""
    assert matched(line, risk="low") == Matched("approved", remainder)
    assert matched(line, risk="medium") == Matched("approved", remainder)
    assert matched(line, risk="high") == NoMatch()
    assert matched(line, risk="critical") == NoMatch()


@pytest.mark.parametrize(
    "line",
    [
        "Approved. Not approved by legal though",
        "Approved. I cannot accept the second part",
        "Approved! (approve)",
    ],
)
def test_an_approval_whose_text_speaks_of_approval_again_is_none(line: str) -> None:
    """The text may take the approval back, so somebody has to ask."""
    assert matched(line) == NoMatch()


def test_an_approval_whose_text_has_a_word_of_fixed_meaning_is_none() -> None:
    """A word of refusal counts even where the request has no such label."""
    made = choices(["approved", "later"])

    assert matched("Approved. Declined the rest", given=made) == NoMatch()
    assert matched("Approved. Decliners ask again", given=made) == Matched(
        "approved", "Decliners ask again"
    )


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("Approved. Rejected the other", ("rejected",)),
        (
            "Approved! This one needs-revision, and the rest is denied",
            ("rejected", "needs_revision"),
        ),
        ("Approved. (Needs  revision.)", ("needs_revision",)),
    ],
)
@pytest.mark.parametrize("risk", RISKS)
def test_an_approval_with_another_label_behind_it_is_ambiguous(
    line: str, others: tuple[str, ...], risk: Risk
) -> None:
    """Two answers on one line are no answer, and the labels are named in their order."""
    assert matched(line, risk=risk) == Ambiguous(("approved", *others))


def test_a_label_without_letters_is_found_in_the_text_too() -> None:
    """A symbol counts wherever it stands; a number of a label only as a word."""
    made = choices(["approved", "\U0001f44e", "+1"])

    assert matched("Approved. \U0001f44e the rest", given=made) == Ambiguous(
        ("approved", "\U0001f44e")
    )
    assert matched("Approved. +1 from me", given=made) == Ambiguous(("approved", "+1"))
    assert matched("Approved. 11 times", given=made) == Matched("approved", "11 times")
    assert matched("\U0001f44e", given=made) == Matched("\U0001f44e")


def test_the_longest_label_at_the_beginning_counts() -> None:
    """A label that begins with another one is not taken for it."""
    made = choices(
        ["rejected", "rejected and closed", "approved with changes", "approved"],
        meanings={"rejected and closed": "reject", "approved with changes": "neutral"},
    )

    assert matched("Rejected and closed: spam", given=made) == Matched(
        "rejected and closed", "spam"
    )
    assert matched("rejected and then some", given=made) == Matched("rejected", "and then some")
    assert matched("approved with changes", given=made) == Matched("approved with changes")
    assert matched("approved with changes. Thanks", given=made) == NoMatch()
    assert matched("approved. Thanks", given=made) == Matched("approved", "Thanks")


def test_a_label_is_only_looked_for_at_the_beginning() -> None:
    """A refusal behind 256 characters of decoration is text like any other."""
    assert matched("*" * 247 + "rejected: no") == Matched("rejected", "no")
    assert matched("*" * 248 + "rejected: no") == NoMatch()


def test_declared_aliases_name_their_label() -> None:
    """`LGTM` is an answer where the author says so."""
    made = choices(["approved", "rejected"], aliases={"approved": ["lgtm", "+1"]})

    assert matched("LGTM!", given=made) == Matched("approved")
    assert matched("+1", given=made) == Matched("approved")
    assert matched("lgtm. Nice", given=made) == Matched("approved", "Nice")
    assert matched("lgtm", given=made, risk="critical") == Matched("approved")


def test_aliases_are_normalised_however_the_choice_was_made() -> None:
    """A choice that was written down by hand is matched like one of `choices`."""
    made = [Choice(label="Go", meaning="approve", aliases=("Let's Go!",))]

    assert match("let's go", made, risk="low") == Matched("Go")


def test_choices_that_share_a_word_match_nothing() -> None:
    """Contradicting choices are an error, never a guess."""
    made = [
        Choice(label="a", meaning="approve", aliases=("x",)),
        Choice(label="b", meaning="reject", aliases=("X",)),
    ]

    with pytest.raises(ValueError, match="'x' would stand for both 'a' and 'b'"):
        match("y", made, risk="low")


@given(st.text(max_size=40))
def test_text_around_an_approval_never_approves_at_high_risk(text: str) -> None:
    """At high risk an approval is the label and nothing else that shows."""
    for line in (f"{text}approved", f"approved{text}", f"{text} approved {text}"):
        if matched(line, risk="high") == Matched("approved", ""):
            assert normalise(line) in {"approved", "approve", "accept", "accepted"}
        else:
            assert normalise(line) != "approved"


@given(st.text(alphabet="aprovednt .!,?\u0336>~-_/\u200b", max_size=30))
def test_what_matches_begins_with_a_word_of_its_label(text: str) -> None:
    """No substring: the line, normalised, begins with a word of the label that it names."""
    found = matched(text)

    if isinstance(found, Matched):
        words = {
            word
            for choice in THREE
            if choice.label == found.label
            for word in (normalise(choice.label), *choice.aliases)
        }
        assert normalise(text).startswith(tuple(words))


# What a whole text comes to


@pytest.mark.parametrize(
    ("text", "outcome", "feedback"),
    [
        ("approved", "approved", "approved"),
        ("Approved.\n", "approved", "Approved."),
        ("Approved\n\nGood work,\nAnn\n", "approved", "Good work,\nAnn"),
        ("rejected: wrong price", "rejected", "rejected: wrong price"),
        (
            "rejected: wrong price\nSee line 3",
            "rejected",
            "rejected: wrong price\nSee line 3",
        ),
        ("Rejected\nwrong price", "rejected", "wrong price"),
        (
            "rejected because the\nreject rate is high",
            "rejected",
            "rejected because the\nreject rate is high",
        ),
        ("needs revision\nShorter", "needs_revision", "Shorter"),
        ("Approved\nApproved", "approved", "Approved"),
        ("Approved. Nice\nThanks", "approved", "Approved. Nice\nThanks"),
    ],
)
def test_the_first_line_decides_and_the_rest_is_feedback(
    text: str, outcome: str, feedback: str
) -> None:
    """The feedback is the rest; a first line that says more than its label is part of it."""
    assert read(text, default="needs_revision") == Answer(
        outcome=outcome, feedback=feedback, kind="matched"
    )


@pytest.mark.parametrize("default", [None, "approved"])
@pytest.mark.parametrize(
    "text", ["not approved", "Hello,\napproved", "approved but fix X", "hm", "\u200b\napproved"]
)
def test_other_text_is_a_comment_where_no_outcome_may_be_taken(
    text: str, default: str | None
) -> None:
    """Text that names no label never approves, not even where the default says so."""
    assert read(text, default=default) == Answer(
        outcome=None, feedback=text.strip(), kind="comment"
    )


@pytest.mark.parametrize("default", ["needs_revision", "rejected"])
def test_other_text_takes_a_default_that_does_not_approve(default: str) -> None:
    """`default_outcome` is for text that names no label; all of it is the feedback."""
    assert read("Please\nshorten it", default=default) == Answer(
        outcome=default, feedback="Please\nshorten it", kind="default"
    )


def test_a_default_is_not_taken_behind_a_blank_first_line() -> None:
    """Whoever gives no outcome at all has not answered."""
    assert read_answer(
        " ", "shorter", THREE, risk="low", default_outcome="needs_revision"
    ) == Answer(outcome=None, feedback="shorter", kind="comment")


def test_a_label_below_other_text_keeps_the_default_away() -> None:
    """A greeting before `approved` must not send the draft back."""
    text = "Hello Bob,\napproved"

    assert read(text, default="needs_revision") == Answer(
        outcome=None, feedback=text, kind="ambiguous"
    )
    assert read("Hello Bob,\nneeds revision", default="needs_revision").kind == "default"


@pytest.mark.parametrize(
    "text",
    [
        "approved\nrejected",
        "rejected\n\nbla\nApprove.",
        "approved\nRejected: the second one",
        "approved\napproved. Needs revision.",
        "needs revision\nrejected",
        "Approved. Rejected the other",
    ],
)
@pytest.mark.parametrize("default", [None, "needs_revision"])
def test_two_labels_are_ambiguous(text: str, default: str | None) -> None:
    """Two different outcomes decide nothing, and every word of the text is kept."""
    assert read(text, default=default) == Answer(outcome=None, feedback=text, kind="ambiguous")


@pytest.mark.parametrize("text", ["", " \n ", "\u200b\n\ufeff", "\x00", "\r"])
@pytest.mark.parametrize("given", [THREE, (), None])
def test_blank_text_is_no_answer(text: str, given: Sequence[Choice] | None) -> None:
    """Nothing that shows was written, so nothing is decided, with or without labels."""
    answer = read_answer(text, text, given, risk="low", default_outcome="needs_revision")

    assert answer == Answer(outcome=None, feedback="", kind="blank")


@pytest.mark.parametrize("given", [(), None])
@pytest.mark.parametrize(
    ("first", "rest", "feedback"),
    [("Fine", "", "Fine"), ("not approved", "really\n", "not approved\nreally"), ("", "x", "x")],
)
def test_without_labels_any_text_is_the_feedback(
    first: str, rest: str, feedback: str, given: Sequence[Choice] | None
) -> None:
    """A gate without `emit` takes what was written, whole."""
    assert read_answer(first, rest, given, risk="high") == Answer(
        outcome=None, feedback=feedback, kind="free"
    )


def test_the_risk_reaches_every_line() -> None:
    """At high risk an approval with text is a comment."""
    assert read("Approved. Nice", risk="high").kind == "comment"
    assert read("rejected\nApproved. Nice", risk="medium").kind == "ambiguous"
    assert read("rejected\nApproved. Nice", risk="high").kind == "matched"


# What a meaning or a default names


def test_a_meaning_names_its_only_label() -> None:
    """`approve` and `reject` of the queue take the label of that meaning."""
    assert label_of_meaning(THREE, "approve") == "approved"
    assert label_of_meaning(THREE, "reject") == "rejected"
    assert label_of_meaning(THREE, "neutral") == "needs_revision"


def test_a_meaning_with_no_label_names_the_labels() -> None:
    """The error says what could have been meant."""
    with pytest.raises(ValueError, match="^no label means reject; the labels are 'ok', 'later'$"):
        label_of_meaning(choices(["ok", "later"]), "reject")
    with pytest.raises(ValueError, match="^no label means approve; the labels are none$"):
        label_of_meaning((), "approve")


def test_a_meaning_with_several_labels_names_these() -> None:
    """The error lists only the labels of the meaning that was asked for."""
    made = choices(["approved", "accepted", "later"])

    with pytest.raises(
        ValueError, match="^several labels mean approve: 'approved', 'accepted'; name one of them$"
    ):
        label_of_meaning(made, "approve")


def test_a_default_is_allowed_unless_it_approves() -> None:
    """Neutral and refusing labels may stand for other text; no default is none."""
    assert default_allowed("needs_revision", THREE)
    assert default_allowed("rejected", THREE)
    assert not default_allowed("approved", THREE)
    assert not default_allowed(None, THREE)


@pytest.mark.parametrize("default", ["nonsense", "Rejected", "denied", ""])
def test_a_default_is_exactly_a_label(default: str) -> None:
    """A default outcome is code, not a reviewer's words: it is compared exactly."""
    with pytest.raises(ValueError, match="is none of the labels: 'approved', 'rejected', 'needs_"):
        default_allowed(default, THREE)
    with pytest.raises(ValueError, match="the default outcome"):
        read("hm", default=default)
