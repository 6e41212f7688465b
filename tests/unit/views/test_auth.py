# SPDX-License-Identifier: Apache-2.0
"""Passwords: right, wrong, and many of them."""

import asyncio
import base64
import time

import bcrypt
import pytest

from kvmexporter.views.auth import Authenticator, Verdict, credentials

PASSWORD = "correct horse"
COST = 8
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
USERS = {"prometheus": HASH}


def header(user: str, password: str | bytes) -> str:
    secret = password.encode() if isinstance(password, str) else password
    return "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()


def verdict(given: str, users: dict[str, str] = USERS) -> Verdict:
    async def ask() -> Verdict:
        authenticator = Authenticator()
        try:
            return await authenticator.verify(users, given, "peer")
        finally:
            authenticator.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (header("prometheus", PASSWORD), Verdict.YES),
        (header("prometheus", PASSWORD).replace("Basic", "bAsIc"), Verdict.YES),
        (header("prometheus", "wrong"), Verdict.NO),
        (header("prometheus", ""), Verdict.NO),
        (header("prometheus", b"\0"), Verdict.NO),
        (header("prometheus", PASSWORD.encode() + b"\0"), Verdict.NO),
        (header("prometheus", "x" * 500), Verdict.NO),
        (header("nobody", PASSWORD), Verdict.NO),
        (header("", PASSWORD), Verdict.NO),
        ("", Verdict.NO),
        ("Bearer x", Verdict.NO),
        ("Basic ***", Verdict.NO),
        ("Basic " + "A" * 10_000, Verdict.NO),
        ("Basic " + base64.b64encode(b"no colon").decode(), Verdict.NO),
        ("Basic " + base64.b64encode(b"\xff\xff:x").decode(), Verdict.NO),
    ],
)
def test_verdicts(given: str, expected: Verdict) -> None:
    """Only the right password of a known user is one."""
    assert verdict(given) is expected


def test_credentials_may_have_colons() -> None:
    """The password, not the user."""
    assert credentials(header("a", "b:c")) == ("a", b"b:c")


@pytest.mark.parametrize("kind", ["a", "b", "y"])
def test_hashes_of_other_programs(kind: str) -> None:
    """Htpasswd calls the same algorithm $2y$."""
    users = {"prometheus": f"$2{kind}$" + HASH[4:]}
    assert verdict(header("prometheus", PASSWORD), users) is Verdict.YES


def test_bcrypt_looks_at_72_bytes() -> None:
    """So a longer password is what its first 72 are, as for those who made the hash."""
    users = {"a": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()}
    assert verdict(header("a", "x" * 100), users) is Verdict.YES
    assert verdict(header("a", "x" * 71), users) is Verdict.NO


def test_what_was_verified_is_remembered() -> None:
    """And forgotten with the hash; what was wrong is not."""

    async def ask() -> None:
        authenticator = Authenticator()
        right = header("prometheus", PASSWORD)
        assert await authenticator.verify(USERS, right, "peer") is Verdict.YES
        began = time.process_time()
        for _ in range(100):
            assert await authenticator.verify(USERS, right, "peer") is Verdict.YES
        dear = time.process_time() - began
        began = time.process_time()
        changed = {"prometheus": bcrypt.hashpw(b"new", bcrypt.gensalt(COST)).decode()}
        assert await authenticator.verify(changed, right, "peer") is Verdict.NO
        once = time.process_time() - began
        assert dear < 20 * once
        authenticator.close()

    asyncio.run(ask())


def test_an_unknown_user_costs_what_a_known_one_does() -> None:
    """Processor time within a factor of two, over several attempts."""
    users = {"a": bcrypt.hashpw(b"x", bcrypt.gensalt(10)).decode()}

    def cost(user: str) -> float:
        began = time.process_time()
        for attempt in range(5):
            assert verdict(header(user, f"wrong{attempt}"), users) is Verdict.NO
        return time.process_time() - began

    known, unknown = cost("a"), cost("nobody")
    assert 0.5 < unknown / known < 2


def test_a_guesser_has_few_turns_and_others_theirs() -> None:
    """The same question asked at once is computed once; too many different ones are put off."""

    async def ask() -> None:
        authenticator = Authenticator()
        guesses = [
            authenticator.verify(USERS, header("prometheus", f"guess{number}"), "guesser")
            for number in range(50)
        ]
        others = [
            authenticator.verify(USERS, header("prometheus", PASSWORD), "other") for _ in range(50)
        ]
        verdicts = await asyncio.gather(*guesses, *others)
        assert verdicts[:50].count(Verdict.NO) == 4
        assert verdicts[:50].count(Verdict.BUSY) == 46
        assert verdicts[50:] == [Verdict.YES] * 50
        authenticator.close()

    asyncio.run(ask())


def test_the_event_loop_goes_on_meanwhile() -> None:
    """While a dear hash is computed."""

    async def ask() -> None:
        users = {"a": bcrypt.hashpw(b"x", bcrypt.gensalt(12)).decode()}
        authenticator = Authenticator()
        task = asyncio.ensure_future(authenticator.verify(users, header("a", "wrong"), "peer"))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 20
        authenticator.close()

    asyncio.run(ask())
