from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.mail.markup import MAX_TOKENS, text_of_html


def lines(markup: str) -> list[str]:
    """Return the lines of an HTML text that are not blank."""
    return [line for line in text_of_html(markup).text.split("\n") if line]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("Approved", ["Approved"]),
        ("<p>Approved</p><p>Good\n\twork</p>", ["Approved", "Good work"]),
        ("<div>a<br>b<BR/>c</div>", ["a", "b", "c"]),
        ("<p>a <b>b</b>  <i> c</i></p>", ["a b  c"]),
        ("<ul><li>a<li>b</ul>", ["a", "b"]),
        ("<table><tr><td>a<td>b</tr><tr><th>c</table>", ["a b", "c"]),
        ("a<hr>b", ["a", "b"]),
        ("<pre>a\n  b</pre>", ["a", "b"]),
        ("a &amp; b &lt; c&nbsp;d &#8364; &copy", ["a & b < c\u00a0d \u20ac \u00a9"]),
        ("a&#10;b", ["a b"]),
        ("<!DOCTYPE html><?xml x?><!-- a > b --><p>a<!----><!-->b</p>", ["ab"]),
        ("<o:p>a</o:p><x-y>b</x-y>", ["ab"]),
        ("a < b > c <3 </ x> <", ["a < b > c <3 </ x> <"]),
        ("<a title='x>y' href=\"a>b\">c</a>", ["c"]),
        ('<a title="x>y>c</a>', ["y>c"]),
        ("<img alt='x'>a<input value=b>", ["a"]),
        ("</p>a</div></b>", ["a"]),
        ("<html><head><title>x</title><meta charset=utf-8></head><body>a</body></html>", ["a"]),
        ("<style>p{}</style>a<script>if (a</b) {}</SCRIPT >b<textarea>c</textarea>", ["ab"]),
        ("</style>a", ["a"]),
        ("", []),
    ],
)
def test_the_text_of_markup(markup: str, expected: list[str]) -> None:
    """Blocks are lines, runs of blanks are one, markup and what is no text goes."""
    assert lines(markup) == expected


@pytest.mark.parametrize(
    "attributes",
    [
        "style='display:none'",
        'style="color:red; DISPLAY : None !important"',
        "style=visibility:hidden",
        "style='mso-hide:all'",
        "style='opacity:0'",
        "style='font-size:0'",
        "style='font-size:0px;'",
        "style='max-height:0.0em'",
        "hidden",
        "hidden=''",
        "class='gmail_signature'",
        "class='a moz-signature b'",
        "id=Signature",
        "id='ms-outlook-mobile-signature'",
    ],
)
def test_what_nobody_sees_is_left_out(attributes: str) -> None:
    """Hidden elements could hold an answer that the reviewer never saw; signatures are none."""
    assert lines(f"<p>a</p><div {attributes}><p>approved</p><br></div><p>b</p>") == ["a", "b"]
    assert lines(f"<div {attributes}><br>approved<p>b</div>") == []


@pytest.mark.parametrize(
    "attributes",
    [
        "style='display:block'",
        "style='font-size:10px'",
        "style='opacity:0.5'",
        "style='max-height:100%'",
        "style='border-top:solid red'",
        "style='border:none'",
        "id=mail-editor-reference-message-container",
        "data-x='hidden' class=x id=signature",
        "style='x' style='display:none'",
        "title='style=display:none'",
    ],
)
def test_what_is_seen_stays(attributes: str) -> None:
    """Other styles, other attributes and a second attribute of one name hide nothing."""
    assert lines(f"<div {attributes}>approved</div>") == ["approved"]


@pytest.mark.parametrize(
    "opening",
    [
        "<blockquote type=cite>",
        "<BLOCKQUOTE>",
        "<div class='gmail_attr'>",
        '<div class="moz-cite-prefix">',
        "<div class=yahoo_quoted>",
        "<div class=protonmail_quote>",
        "<div id=mailru-cite>",
    ],
)
def test_what_a_client_quotes_leaves_a_mark(opening: str) -> None:
    """The quoted mail goes, nested quotes with it, and a line with `>` tells that it was there."""
    name = opening[1:].split(maxsplit=1)[0].strip(">").lower()
    markup = f"a{opening}<p>approved</p><blockquote>x</blockquote>y</{name}>b"

    assert lines(markup) == ["a", ">", "b"]


@pytest.mark.parametrize(
    "opening",
    [
        "<div id=divRplyFwdMsg>",
        "<div id='appendonsend'>",
        "<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>",
        "<div style='border-left:none; border-top:1pt solid rgb(181, 196, 223)'>",
    ],
)
def test_behind_the_mark_of_outlook_nothing_is_the_reply(opening: str) -> None:
    """Outlook puts the quoted mail beside its mark, not into it."""
    assert lines(f"<p>a</p>{opening}</div><p>approved</p>") == ["a"]
    assert text_of_html(f"a{opening}").whole
    assert lines(f"<blockquote>{opening}</div></blockquote>b") == [">", "b"]


@pytest.mark.parametrize(
    ("opening", "name"),
    [
        ("<s>", "s"),
        ("<strike>", "strike"),
        ("<del>", "del"),
        ("<span style='text-decoration:line-through'>", "span"),
        ("<span style='text-decoration-line: underline line-through'>", "span"),
    ],
)
def test_struck_out_text_is_marked(opening: str, name: str) -> None:
    """A struck-out approval must not read as one."""
    assert lines(f"<p>{opening}approved</{name}></p>") == ["~~approved~~"]
    assert lines(f"<p>{opening}approved</p>") == ["~~approved~~"]


def test_an_end_tag_closes_what_is_open_within() -> None:
    """As in a browser, an element ends with the one around it."""
    assert lines("<div><blockquote>x</div>a") == [">", "a"]
    assert lines("<div hidden><b>x</div></b>a") == ["a"]
    assert lines("<div hidden><div>x</div>y</div>a") == ["a"]


@pytest.mark.parametrize(
    "tail",
    ["<b", "<b class='", "</b", "<!-- x", "<style>x", "<!x", "<?x", "<style></style", '<b title="'],
)
def test_what_never_ends_swallows_the_rest_and_is_told(tail: str) -> None:
    """A browser drops the rest too; the line before it may have gone on."""
    assert text_of_html(f"a<br>b{tail}").text == "a\nb"
    assert not text_of_html(f"a<br>b{tail}").whole
    assert text_of_html("a<br>b").whole


def test_a_huge_character_reference_is_one_unknown_character() -> None:
    """Python refuses to read a number of more than 4,300 digits."""
    assert lines("a&#" + "1" * 5000 + ";b&#x" + "f" * 9 + "z&#00000065;") == [
        "a\ufffdb\ufffdz\ufffd"
    ]


def test_only_the_first_tags_are_read() -> None:
    """A mail with more tags than a person writes costs no more than these."""
    assert MAX_TOKENS == 10_000
    at_the_limit = text_of_html("<b>" * 9_998 + "a")
    beyond = text_of_html("<b>" * 9_999 + "a")

    assert at_the_limit == ("a", True, False)
    assert beyond == ("a", False, False)
    assert text_of_html("<b>" * 10_000 + "a") == ("", False, False)


@given(st.text(alphabet="<>/!-'\"= abps&#;0\n", max_size=200))
def test_any_markup_has_a_text(markup: str) -> None:
    """Nothing is raised, and nothing of a tag is left that ended."""
    text = text_of_html(markup).text

    assert "<p>" not in text or "&" in markup


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<html><body>\n<div><p>a</p></div>", "a\n\n"),
        ("<div><br></div><div>&nbsp;</div><p>a", "\n\na"),
        ("<style>p{}</style><p hidden>x</p><p>&#160;</p>a", "\na"),
        ("<pre>\n\na</pre>", "\n\na\n"),
        ("<blockquote>x</blockquote><p>a", "\n>\n\n\na"),
        ("<p><s>a</s>", "~~a~~"),
    ],
)
def test_above_all_text_only_lines_that_hold_nothing_are_blank(markup: str, text: str) -> None:
    """Elements within elements leave no room there; an empty paragraph does."""
    assert text_of_html(markup).text == text
