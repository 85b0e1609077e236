"""One spelling of each address, and names that may be one person's."""

from __future__ import annotations

import re

import pytest

from signoff.rules.addresses import may_be_one, normalise_address, normalise_domain, one_spelling


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice@corp.example", "alice@corp.example"),
        (" Alice.B+tag@Corp.EXAMPLE ", "alice.b+tag@corp.example"),
        ("a@localhost", "a@localhost"),
        ("o'neil!#$%&*/=?^_`{|}~-@x.example", "o'neil!#$%&*/=?^_`{|}~-@x.example"),
        ("a@xn--BCHER-KVA.example", "a@xn--bcher-kva.example"),
        ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
        ("a@B\u00dcCHER.example", "a@xn--bcher-kva.example"),
        ("a@bu\u0308cher.example", "a@xn--bcher-kva.example"),
        ("a@\u0440\u0444.\u0440\u0444", "a@xn--p1ai.xn--p1ai"),
        ("a@\u4f8b\u3048.example", "a@xn--r8jz45g.example"),
        ("a@b\u00fc-1.example", "a@xn--b-1-hoa.example"),
        # A letter that changes others, marks with a width and without.
        ("a@\u30b3\u30fc\u30d2\u30fc.example", "a@xn--tck2c4fb.example"),
        ("a@\u0939\u093f\u0928\u094d\u0926\u0940.example", "a@xn--j2bd4cyah0f.example"),
        ("x" * 64 + "@a.example", "x" * 64 + "@a.example"),
        ("a@" + "x" * 63 + ".example", "a@" + "x" * 63 + ".example"),
        ("a@1.2.3.example", "a@1.2.3.example"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    """Case goes, the domain becomes ASCII, nothing that a provider might fold is folded."""
    assert normalise_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@corp.example",
        "alice@",
        "alice@@corp.example",
        "alice@corp@example",
        ".alice@corp.example",
        "alice.@corp.example",
        "al..ice@corp.example",
        "al ice@corp.example",
        "alice @corp.example",
        '"alice"@corp.example',
        "alice(x)@corp.example",
        "\u0430lice@corp.example",
        "x" * 65 + "@a.example",
        "alice@[10.0.0.1]",
        "alice@10.0.0.1",
        "alice@1",
        "alice@corp.example.",
        "alice@.corp.example",
        "alice@corp..example",
        "alice@-corp.example",
        "alice@corp-.example",
        "alice@co_rp.example",
        "alice@co rp.example",
        "alice@corp,example",
        "a@" + "x" * 64 + ".example",
        "a@" + "\u00fc" * 64 + ".example",
        "a@" + ".".join(["x" * 49] * 6),
        # Letters that some library folds into others, and signs that some take for a dot or hyphen.
        "alice@\uff43orp.example",
        "alice@ban\u212a.example",
        "alice@stra\u00dfe.example",
        "alice@\u03c2\u03b1.example",
        "alice@corp\u3002example",
        "alice@co\u00adrp.example",
        "alice@co\u200drp.example",
        "alice@c\u2010rp\u00fc.example",
        "alice@\u00fc\ud800.example",
        "alice@\u2460\u00fc.example",
        "alice@corp\uff0eexample",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_address(text: str) -> None:
    """Quoting, comments, IP addresses, stray dots and letters with doubles are refused."""
    with pytest.raises(ValueError, match="not a |more than one spelling"):
        normalise_address(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alice", "not a plain mail address"),
        ("alice@corp@corp.example", "not a plain mail address"),
        ("alice@co_rp.example", "not a domain name"),
        ("alice@10.0.0.1", "not a domain name"),
        (
            "alice@stra\u00dfe.example",
            "a domain name with more than one spelling; write it in ASCII (xn--)",
        ),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    """In one sentence, which errors of the configuration end with."""
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        normalise_address(text)


def test_a_domain_of_253_characters_is_the_longest() -> None:
    """The limit holds for the whole name."""
    longest = ".".join([*["x" * 49] * 5, "yyy"])

    assert normalise_domain(longest) == longest
    assert len(longest) == 253
    with pytest.raises(ValueError, match="not a domain name"):
        normalise_domain(longest + "y")


def test_a_domain_that_is_no_ascii_name_says_how_to_write_it() -> None:
    """Whoever configures such a domain learns what to do."""
    with pytest.raises(ValueError, match="write it in ASCII"):
        normalise_domain("stra\u00dfe.example")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" Agent-7 ", "agent-7"),
        ("Ann@Acme.example", "ann@acme.example"),
        ("ann@B\u00fccher.example", "ann@xn--bcher-kva.example"),
        ("Ann@stra\u00dfe.example", "ann@stra\u00dfe.example"),
        ("Ann Lee", "ann lee"),
    ],
)
def test_a_name_has_one_spelling(name: str, expected: str) -> None:
    """That of its address, or lower case where it is none."""
    assert one_spelling(name) == expected


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Agent-7", " agent-7 "),
        ("ann@b\u00fccher.example", "Ann@XN--BCHER-KVA.example"),
        ("ann@bu\u0308cher.example", "ann@b\u00fccher.example"),
        ("ann@stra\u00dfe.example", "ann@strasse.example"),
        ("ann@stra\u00dfe.example", "ann@xn--strae-oqa.example"),
        ("ann@strasse.example", "ann@XN--STRAE-OQA.example"),
        ("ann@\uff41cme.example", "ann@acme.example"),
        ("ann@acme\u3002example", "ann@acme.example"),
        ("ann@acme\uff0eexample", "ann@acme.example"),
        ("ann@acme.example.", "ann@acme.example"),
        ("an\u00adn@ac\u200dme.example", "ann@acme.example"),
        ("\u200b ann@acme.example", "ann@acme.example"),
        ("ann@ban\u212a.example", "ann@bank.example"),
        ("ann@a.xn--bcher-kva.xn--p1ai", "ann@a.b\u00fccher.\u0440\u0444"),
        ("stra\u00dfe", "STRASSE"),
        ('"a@b"@b\u00fccher.example', '"a@b"@xn--bcher-kva.example'),
        ("ann@xn--\u00fc.example", "ANN@xn--\u00dc.example"),
        ("ann@xn--99999999.example", "ann@xn--99999999.EXAMPLE"),
    ],
)
def test_two_spellings_may_be_one_person(name: str, other: str) -> None:
    """Some mail program takes the one for the other; what is no A-label stays as it is."""
    assert may_be_one(name, other)
    assert may_be_one(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ann@acme.example", "bob@acme.example"),
        ("ann@acme.example", "ann@acme.test"),
        ("ann@acme.example", "ann"),
        ("annacme.example", "ann@acme.example"),
        ("ann@b\u00fccher.example", "ann@bucher.example"),
        ("ann@xn--bcher-kva.example", "ann@bcher-kva.example"),
        ("xn--bcher-kva@acme.example", "b\u00fccher@acme.example"),
        ("ann.@acme.example", "ann@acme.example"),
        ("a@b.example", "a@bexample"),
        ("agent-7", "agent-8"),
        ("ann@acme.example", ""),
    ],
)
def test_others_are_two(name: str, other: str) -> None:
    """Letters that differ, before or behind the sign."""
    assert not may_be_one(name, other)
