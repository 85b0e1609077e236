from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.mail.authentication import NO_ID, Verdict, verdict

SERVER = "mx.acme.example"
CORP = "corp.example"
PASS = f"dmarc=pass header.from={CORP}"
PASSED = Verdict(passed=True, reason="DMARC passed")

NOT_OURS = "not authenticated by the trusted mail server"
OTHER_DOMAIN = "DMARC passed for another domain than the sender's"
FAILED = "DMARC did not pass"
UNCHECKED = "the sender's domain was not checked by DMARC"

GMAIL = (
    "mx.google.com;\r\n"
    "       dkim=pass header.i=@corp.example header.s=20230601 header.b=Ab/c+d==;\r\n"
    "       arc=none;\r\n"
    "       spf=pass (google.com: domain of a@corp.example designates 209.85.220.41 as permitted"
    " sender) smtp.mailfrom=a@corp.example;\r\n"
    "       dmarc=pass (p=NONE sp=QUARANTINE dis=NONE) header.from=corp.example;\r\n"
    "       dara=pass header.i=@corp.example\r\n"
)
EXCHANGE = (
    "spf=pass (sender IP is 40.107.1.1)\r\n smtp.mailfrom=corp.example; dkim=pass (signature was"
    " verified)\r\n header.d=corp.example;dmarc=pass action=none\r\n"
    " header.from=corp.example;compauth=pass reason=100\r\n"
)
OPENDMARC = "mx.acme.example; dmarc=pass (p=reject dis=none) header.from=corp.example"
RSPAMD = (
    'mx.acme.example;\n\tdkim=pass header.d=corp.example header.s=s1 header.b="aB/c+=";\n'
    '\tdmarc=pass (policy=reject) header.from=corp.example;\n\tspf=pass (mx: x) smtp.mailfrom="a@corp.example"'
)


def judged(*values: str, server: str | None = SERVER, accept_dkim: bool = False) -> Verdict:
    """Judge a mail whose sender is at the usual domain, behind the usual server."""
    return verdict(values, server=server, from_domain=CORP, accept_dkim=accept_dkim)


def refused(*values: str, server: str | None = SERVER, accept_dkim: bool = False) -> str:
    """Return why a mail did not pass."""
    found = judged(*values, server=server, accept_dkim=accept_dkim)
    assert not found.passed
    return found.reason


@pytest.mark.parametrize(
    ("value", "server"),
    [
        (GMAIL, "mx.google.com"),
        (EXCHANGE, NO_ID),
        (OPENDMARC, SERVER),
        (RSPAMD, SERVER),
        (f"{SERVER}; {PASS}", SERVER),
        (f"{SERVER};{PASS}", SERVER),
        (f"  {SERVER}  ;  {PASS}  ;", SERVER),
        ("MX.Acme.EXAMPLE; DMARC=Pass Header.From=CORP.Example", SERVER),
        (f"{SERVER}; {PASS}", "MX.acme.example"),
        (f"{SERVER} 1; {PASS}", SERVER),
        (f"{SERVER} 1 ; {PASS}", SERVER),
        (f'"{SERVER}"; {PASS}', SERVER),
        (
            f"(hello) {SERVER} (there) 1 (you); (and) dmarc (of) = (it) pass (yes) header.from={CORP}",
            SERVER,
        ),
        (f"{SERVER}; dmarc/1=pass header.from={CORP}", SERVER),
        (f"{SERVER}; dmarc / 1 = pass header.from = {CORP}", SERVER),
        (f'{SERVER}; dmarc=pass header.from="{CORP}"', SERVER),
        (f'{SERVER}; dmarc=pass reason="good; really" header.from={CORP}', SERVER),
        (f"{SERVER}; {PASS} policy.dmarc=reject", SERVER),
        (f"{SERVER}; spf=fail smtp.mailfrom=x@y.example; {PASS}", SERVER),
        (f"{SERVER}; {PASS}; {PASS}", SERVER),
        (f"{SERVER}; {PASS} header.from={CORP}", SERVER),
        (f"{SERVER}; spf=none smtp.mailfrom=; {PASS}", SERVER),
        (f"{SERVER}; some words of its own; {PASS}", SERVER),
        (f"{SERVER};\r\n {PASS}", SERVER),
    ],
)
def test_a_pass_of_the_trusted_server_for_the_senders_domain_passes(
    value: str, server: str
) -> None:
    """What real servers write, in every form that the RFC allows."""
    assert judged(value, server=server) == PASSED


def test_without_a_trusted_server_nothing_passes() -> None:
    """Whoever configures none has no authenticated senders."""
    assert refused(OPENDMARC, server=None) == ("no mail server is trusted to authenticate senders")


def test_without_a_header_nothing_passes() -> None:
    """A mail that came around the server is not authenticated."""
    assert refused() == "the mail server did not authenticate the sender"
    assert refused(server=NO_ID) == "the mail server did not authenticate the sender"


@pytest.mark.parametrize(
    "value",
    [
        f"mx.evil.example; {PASS}",
        f"mx.acme.example.evil.example; {PASS}",
        f"xmx.acme.example; {PASS}",
        f"{SERVER} evil; {PASS}",
        f"{SERVER} 1 2; {PASS}",
        f"evil {SERVER}; {PASS}",
        f"{SERVER}(; {PASS}",
        f"{SERVER}\\; {PASS}",
        f'"{SERVER}; {PASS}',
        f'"{SERVER}"x; {PASS}',
        f"; {PASS}",
        f"{PASS}",
        f"({SERVER}); {PASS}",
        f"x=y {SERVER}; {PASS}",
        "",
    ],
)
def test_a_foreign_id_does_not_pass(value: str) -> None:
    """Requirement 10: only exactly our server's id counts, never a part of a word, a comment or half a string."""
    assert not judged(value).passed


def test_a_foreign_id_is_told_apart_from_an_unreadable_header() -> None:
    """The reason says which it was, in our own words only."""
    assert refused(f"mx.evil.example; {PASS}") == NOT_OURS
    assert refused(f"{SERVER} (; {PASS}") == (
        "unreadable authentication results: a comment has no end"
    )
    assert refused(f'{SERVER}; "; {PASS}') == (
        "unreadable authentication results: a quoted string has no end"
    )


def test_only_the_topmost_header_counts() -> None:
    """Requirement 10: a sender can write a header below the server's, and a foreign one above hides ours."""
    ours, forged = f"{SERVER}; dmarc=fail header.from={CORP}", f"{SERVER}; {PASS}"

    assert refused(ours, forged) == FAILED
    assert refused(f"mx.evil.example; {PASS}", forged) == NOT_OURS
    assert judged(forged, ours) == PASSED


@pytest.mark.parametrize(
    "domain",
    [
        "evil.example",
        f"sub.{CORP}",
        "example",
        f"{CORP}.evil.example",
        f"x{CORP}",
        f"a@{CORP}",
        "",
        "c\u043erp.example",
        f"{CORP}.",
        f'"{CORP}"x',
        f"{CORP},evil.example",
    ],
)
def test_a_pass_for_another_domain_does_not_pass(domain: str) -> None:
    """Requirement 10: the server read another From than we did, or the mail has another one."""
    assert refused(f"{SERVER}; dmarc=pass header.from={domain}") == OTHER_DOMAIN


@pytest.mark.parametrize(
    "statement",
    [
        "dmarc=pass",
        f"dmarc=pass header.d={CORP}",
        f"dmarc=pass smtp.from={CORP}",
        f"dmarc=pass header.from=evil.example header.from={CORP}",
        f"dmarc=pass header.from={CORP} header.from=evil.example",
        f"dmarc=pass (header.from={CORP})",
        f'dmarc=pass reason="header.from={CORP}"',
    ],
)
def test_a_pass_names_its_domain_once(statement: str) -> None:
    """Neither comments nor other properties say whom the pass is for, nor two that differ."""
    assert refused(f"{SERVER}; {statement}") == OTHER_DOMAIN


@pytest.mark.parametrize(
    "result",
    [
        "fail",
        "none",
        "bestguesspass",
        "temperror",
        "permerror",
        "policy",
        "passed",
        "pas",
        '"pass"',
        "",
        "pass/1",
    ],
)
def test_any_other_result_does_not_pass(result: str) -> None:
    """`pass` is one bare word."""
    expected = UNCHECKED if result == "none" else FAILED

    assert refused(f"{SERVER}; dmarc={result} header.from={CORP}") == expected


@pytest.mark.parametrize("other", ["fail", "none", "temperror"])
def test_several_results_must_all_pass(other: str) -> None:
    """The worst of them counts, in whatever order they stand."""
    bad = f"dmarc={other} header.from={CORP}"

    assert refused(f"{SERVER}; {PASS}; {bad}") == FAILED
    assert refused(f"{SERVER}; {bad}; {PASS}") == FAILED
    assert refused(f"{SERVER}; {PASS}; dmarc=pass header.from=evil.example") == OTHER_DOMAIN


@pytest.mark.parametrize(
    "injected",
    [
        f'spf=fail smtp.mailfrom="a; {PASS}; b"@evil.example',
        f'spf=fail smtp.mailfrom="a\\"; {PASS}; \\"b"',
        f"spf=fail (a; {PASS}; b) smtp.mailfrom=a@evil.example",
        f"spf=fail (a (b); {PASS}; c) smtp.mailfrom=a@evil.example",
        f"spf=fail (a \\); {PASS}; b) smtp.mailfrom=a@evil.example",
        f"spf=fail smtp.mailfrom=a {PASS}",
        f'spf=fail reason="("; x=y ("; {PASS})',
        "none",
        "",
        f"x-dmarc=pass header.from={CORP}",
        f"xdmarc=pass header.from={CORP}",
        f"dmarc.x=pass header.from={CORP}",
        f"dm(x)arc=pass header.from={CORP}",
    ],
)
def test_what_stands_in_comments_and_quotes_is_no_result(injected: str) -> None:
    """A sender chooses the envelope address and the helo name that the server repeats."""
    assert refused(f"{SERVER}; {injected}") in {UNCHECKED, FAILED, NOT_OURS}
    assert refused(f"{SERVER}; dmarc=fail header.from={CORP}; {injected}") == FAILED


@pytest.mark.parametrize(
    "statement",
    [
        f"so dmarc=pass header.from={CORP}",
        f"-dmarc=pass header.from={CORP}",
        f"dmarc=pass header.from={CORP} and more",
        f"dmarc pass header.from={CORP}",
        f'"dmarc"=pass header.from={CORP} dmarc',
        f"=dmarc=pass header.from={CORP}",
    ],
)
def test_a_dmarc_result_in_another_form_makes_the_header_unreadable(statement: str) -> None:
    """What looks like a result and is none could be a failure that we would miss."""
    assert refused(f"{SERVER}; {PASS}; {statement}") == (
        "unreadable authentication results: a DMARC result that is not in the form of one"
    )


@pytest.mark.parametrize("value", [OPENDMARC, GMAIL, f"mx.evil.example 1; {PASS}", f"; {PASS}", ""])
def test_a_server_without_an_id_writes_none(value: str) -> None:
    """Where no id is expected, a header with one is somebody else's."""
    assert refused(value, server=NO_ID) == NOT_OURS


def test_a_server_with_an_id_always_writes_it() -> None:
    """A header in Exchange's form does not come from a server with an id."""
    assert refused(EXCHANGE) == NOT_OURS


def test_a_failure_without_an_id_is_a_failure() -> None:
    """The first statement counts where there is no id in front of it."""
    assert refused(f"dmarc=fail header.from={CORP}; {PASS}", server=NO_ID) == FAILED
    assert judged(PASS, server=NO_ID) == PASSED


@pytest.mark.parametrize(
    "value",
    [
        f"{SERVER}; {PASS}\r\nX: y",
        f"{SERVER}; {PASS}\x00",
        f"{SERVER}\r; {PASS}",
        f"{SERVER}; {PASS}; x={'y' * 20_000}",
    ],
)
def test_an_unfit_value_does_not_pass(value: str) -> None:
    """Control characters and sixteen thousand characters are not what a server writes."""
    assert refused(value).startswith("unreadable authentication results: a header value ")


# Domains without DMARC


@pytest.mark.parametrize(
    "statement",
    [
        f"dkim=pass header.d={CORP}",
        "dkim=pass header.d=Corp.Example header.i=@evil.example",
        f"dkim=pass header.i=@{CORP}",
        f"dkim=pass header.i=news@{CORP}",
        f"dkim=fail header.d=evil.example; dkim=pass header.d={CORP}",
        f"dmarc=none header.from={CORP}; dkim=pass header.d={CORP}",
    ],
)
def test_an_aligned_signature_passes_where_it_is_accepted(statement: str) -> None:
    """Without a DMARC policy, a signature of the sender's domain will do, if configured."""
    value = f"{SERVER}; {statement}"

    assert judged(value, accept_dkim=True) == Verdict(
        passed=True, reason="DKIM passed, and the domain has no DMARC policy"
    )
    assert refused(value) == UNCHECKED


def test_a_signature_of_a_parent_domain_is_aligned() -> None:
    """`corp.example` may sign for `news.corp.example`, but nobody for a whole top-level domain."""

    def passes(signer: str, domain: str) -> bool:
        value = f"{SERVER}; dkim=pass header.d={signer}"
        return verdict([value], server=SERVER, from_domain=domain, accept_dkim=True).passed

    assert passes("corp.example", "news.corp.example")
    assert passes("news.corp.example", "news.corp.example")
    assert passes("corp.example", "a.b.corp.example")
    assert not passes("news.corp.example", "corp.example")
    assert not passes("example", "corp.example")
    assert not passes("orp.example", "corp.example")
    assert not passes("other.example", "corp.example")


@pytest.mark.parametrize(
    "statement",
    [
        f"dkim=fail header.d={CORP}",
        f"dkim=none header.d={CORP}",
        f'dkim="pass" header.d={CORP}',
        "dkim=pass",
        "dkim=pass header.d=evil.example",
        f"dkim=pass header.d={CORP} header.d=evil.example",
        f"dkim=pass header.from={CORP}",
        f"spf=pass header.d={CORP}",
        "dkim=pass header.i=nobody",
        "",
    ],
)
def test_any_other_signature_does_not_pass(statement: str) -> None:
    """It has to be a valid one of exactly one aligned domain."""
    assert refused(f"{SERVER}; {statement}", accept_dkim=True) == UNCHECKED


def test_a_signature_does_not_outweigh_dmarc() -> None:
    """Where the domain has a policy, only DMARC counts."""
    signed = f"dkim=pass header.d={CORP}"

    for result in ("fail", "temperror", "permerror"):
        value = f"{SERVER}; dmarc={result} header.from={CORP}; {signed}"
        assert refused(value, accept_dkim=True) == FAILED


@given(st.text(alphabet='dmarc=ps; "()\\he.fom\tx\r\n', max_size=80))
def test_no_garbage_passes(text: str) -> None:
    """Whatever stands behind the id, it passes only by saying the whole of it."""
    found = judged(f"{SERVER};{text}")

    assert not found.passed
    assert text not in found.reason or len(text) < 9
