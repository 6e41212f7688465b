# SPDX-License-Identifier: Apache-2.0
"""QMP by way of a virsh: a program that talks like one, since libvirt itself runs in the lab."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from kvmexporter.sources.qmp import DomainMonitor, Monitor, QmpError, Refused, all_of
from kvmexporter.sources.virsh import ask

UUID = "d84d79d1-f11e-4847-aca7-6b8ad874122a"

# As virsh 9.0 does with its standard input: a prompt, what it was given as its line editor shows
# it, and QEMU's reply in a line of its own.
_HEAD = f"""#!{sys.executable}
import json, sys, time
assert sys.argv[1:] == ["--quiet", "--connect", "qemu:///system"]
def answer(request):
"""
_TAIL = """
for line in sys.stdin:
    line = line.rstrip()
    if line.startswith("echo --str "):
        print("virsh # " + line)
        print(line[11:], end="")
    else:
        head, _, text = line.partition(" --cmd ")
        assert head == "qemu-monitor-command --domain UUID"
        print("virsh # \\n<" + line[-60:])
        reply = answer(json.loads(text.strip("'")))
        if reply is not None:
            print(reply)
    sys.stdout.flush()
""".replace("UUID", UUID)


@pytest.fixture
def virsh(tmp_path: Path) -> Path:
    return tmp_path / "virsh"


def answering(virsh: Path, body: str) -> str:
    """A virsh whose QEMU answers like this."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    virsh.write_text(_HEAD + lines + _TAIL)
    virsh.chmod(0o755)
    return str(virsh)


def asked(program: str, deadline_seconds: float = 20.0) -> object:
    """What a conversation of three commands ends with."""

    async def questions(monitor: Monitor) -> list[object]:
        return [
            await monitor.execute("query-name"),
            await monitor.execute("human-monitor-command", {"command-line": "it's \N{PENGUIN}"}),
            await monitor.execute("query-name"),
        ]

    return asyncio.run(ask(DomainMonitor(UUID), deadline_seconds, questions, program))


def test_a_conversation(virsh: Path) -> None:
    """Each command with its own answer, whatever is in its arguments."""
    program = answering(virsh, 'return json.dumps({"return": request, "id": "libvirt-17"})')
    name = {"execute": "query-name"}
    arguments = {"command-line": "it's \N{PENGUIN}"}
    assert asked(program) == [
        name, {"execute": "human-monitor-command", "arguments": arguments}, name
    ]  # fmt: skip


def test_questions_that_do_not_wait(virsh: Path) -> None:
    """It takes one after the other, and each gets its own answer."""
    program = answering(virsh, 'return json.dumps({"return": request["execute"]})')
    names = [f"query-{number}" for number in range(11)]

    async def questions(monitor: Monitor) -> list[object]:
        return await all_of(monitor.execute(name) for name in names)

    assert asyncio.run(ask(DomainMonitor(UUID), 20.0, questions, program)) == names


def test_refused(virsh: Path) -> None:
    """QEMU's own words, to whoever asked."""
    program = answering(virsh, 'return json.dumps({"id": "x", "error": {"desc": "a\\nb"}})')

    async def questions(monitor: Monitor) -> str:
        with pytest.raises(Refused, match="a\ufffdb"):
            await monitor.execute("query-name")
        return "went on"

    assert asyncio.run(ask(DomainMonitor(UUID), 20.0, questions, program)) == "went on"


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("sys.stderr.write('error: failed to get domain\\n'); sys.stderr.flush()",
         "virsh: failed to get domain"),
        ("sys.exit(1)", "virsh: "),
        ("return '{'", "not QEMU's"),
        ("return '{}'", "not QEMU's"),
        ("return '[' * 100_000", "virsh: "),
        ("return '{\"return\": ' + '[' * 100_000", "not QEMU's"),
        ("return '{' + 'x' * (5 << 20)", "not QEMU's"),
        ("print('\\n' * 1000)", "talks too much"),
        ("time.sleep(60)", "no answer in"),
        ("while True: print('x' * 1000)", "talks too much"),
    ],
)  # fmt: skip
def test_hostile(virsh: Path, body: str, match: str) -> None:
    """One clear line, in time, and nothing runs on."""
    program = answering(virsh, body)
    start = time.monotonic()
    with pytest.raises(QmpError, match=match) as caught:
        asked(program, 2.0 if "sleep" in body else 20.0)
    assert time.monotonic() - start < 20
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_one_that_hangs(virsh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left as soon as an answer is overdue, long before the visit's deadline."""
    monkeypatch.setattr("kvmexporter.sources.virsh.ANSWER_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(QmpError, match="no answer in 1 s"):
        asked(answering(virsh, "time.sleep(60)"), 60.0)
    assert time.monotonic() - start < 20


def test_no_virsh(virsh: Path) -> None:
    """Says what to install."""
    with pytest.raises(QmpError, match="install libvirt's clients"):
        asked(str(virsh))
