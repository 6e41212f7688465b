# SPDX-License-Identifier: Apache-2.0
"""What the loader is asked for: consistent with the tables and with the C."""

import json
import re
from pathlib import Path

import pytest

from kvmexporter.bpf import request
from kvmexporter.bpf.request import (
    LOADER,
    MAPS,
    PROGRAMS,
    SOURCES,
    Program,
    defines,
    near_vcpus,
    tables,
)
from kvmexporter.tables.exit_reasons import (
    EXIT_CLASSES,
    EXIT_REASONS,
    EXIT_SLOTS,
    Isa,
    exit_class,
    exit_slot,
    slot_code,
)
from kvmexporter.tables.msrs import MSR_SLOTS, MSRS, OTHER_MSR_SLOT, msr_slot
from tests.unit.vcpu_records import c_source, constants, struct_layout


def test_defines_are_text_of_whole_numbers() -> None:
    """Only the tables are more than a number."""
    made = defines(1009)
    assert made["MAX_VCPUS"] == "1009"
    tables = ("SVM_SLOT_RANGES", "MSRS")
    others = {name: text for name, text in made.items() if name not in tables}
    assert [text for text in others.values() if not re.fullmatch(r"\d+", text)] == []


def test_every_define_is_used_and_nothing_is_missing() -> None:
    """Macros that the C does not have would be forgotten ones."""
    c = c_source()
    assert [name for name in defines(16) if not re.search(rf"\b{name}\b", c)] == []


def test_slots_that_are_masked_are_powers_of_two() -> None:
    """The C masks an exit's slot and a thread's place, which is exact for those alone."""
    for name in ("EXIT_SLOTS", "NEAR_VCPUS"):
        slots = int(defines(16)[name])
        assert slots & (slots - 1) == 0


@pytest.mark.parametrize(
    ("processors", "places"), [(1, 64), (8, 64), (9, 128), (128, 1024), (192, 2048), (4096, 2048)]
)
def test_places_that_need_no_hash_map(processors: int, places: int) -> None:
    """A few for each processor, within bounds."""
    assert near_vcpus(processors) == places


@pytest.mark.parametrize(
    "place", ["docs/how-it-works.md", "kvmexporter/bpf/request.py", "kvmexporter/bpf/records.bpf.c"]
)
def test_what_is_said_of_a_record_s_size(place: str) -> None:
    """It is as large as the C makes it."""
    size, _ = struct_layout("vcpu")
    text = (Path(request.__file__).parents[2] / place).read_text()
    assert f"{round(size / 1000)} KB" in text


def test_the_ranges_compute_what_the_table_does() -> None:
    """The C's own test of a range, for every code at and around every bound."""
    ranges = [
        tuple(int(number.rstrip("u")) for number in found)
        for found in re.findall(r"RANGE\((\d+u),(\d+),(\d+u)\)", defines(16)["SVM_SLOT_RANGES"])
    ]
    assert len(ranges) == defines(16)["SVM_SLOT_RANGES"].count("RANGE")

    def c_slot(code: int) -> int:
        slot = int(defines(16)["UNKNOWN_EXIT_SLOT"])
        for first_code, first_slot, count in ranges:
            if (code - first_code) & 0xFFFFFFFF < count:
                slot = code - first_code + first_slot
        return slot & (EXIT_SLOTS - 1)

    bounds = {first_code + edge for first_code, _, count in ranges for edge in (0, count)}
    codes = {(bound + by) & 0xFFFFFFFF for bound in bounds for by in range(-2, 3)}
    codes |= {reason.code for reason in EXIT_REASONS[Isa.SVM]}
    assert {code: c_slot(code) for code in codes} == {
        code: exit_slot(Isa.SVM, code) for code in codes
    }


def test_every_exit_slot_has_a_class() -> None:
    """Of every processor, and the one that its reason has."""
    classes = tables()["exit_classes"]
    assert set(classes) == {isa * EXIT_SLOTS + slot for isa in Isa for slot in range(EXIT_SLOTS)}
    assert set(classes.values()) <= set(range(len(EXIT_CLASSES)))
    for isa in Isa:
        for slot in range(EXIT_SLOTS):
            code = slot_code(isa, slot)
            expected = "other" if code is None else exit_class(isa, code)
            assert EXIT_CLASSES[classes[isa * EXIT_SLOTS + slot]] == expected


def test_every_named_reason_is_counted_under_its_class() -> None:
    """From the code on the way into the kernel to the class on the way out."""
    classes = tables()["exit_classes"]
    for isa, reasons in EXIT_REASONS.items():
        for reason in reasons:
            slot = exit_slot(isa, reason.code)
            assert slot_code(isa, slot) == reason.code
            assert EXIT_CLASSES[classes[isa * EXIT_SLOTS + slot]] == reason.exit_class


def test_the_table_of_classes_fits_its_map() -> None:
    """The C reserves four times EXIT_SLOTS entries."""
    assert "exit_classes, u32, 4 * EXIT_SLOTS" in c_source()
    assert max(tables()["exit_classes"]) < 4 * EXIT_SLOTS


def test_every_msr_has_its_slot() -> None:
    """The number in ECX leads to the slot that is named after it."""
    found = re.findall(r"MSR\((\d+)u,(\d+)\)", defines(16)["MSRS"])
    slots = {int(index): int(slot) for index, slot in found}
    assert slots == {msr.index: msr_slot(msr.index) for msr in MSRS}
    assert max(slots.values()) < OTHER_MSR_SLOT == MSR_SLOTS - 1


def test_programs_and_c_agree() -> None:
    """Each program has its function in the C, and each function there its program."""
    functions = set(re.findall(r"^int (on_\w+)\(", c_source(), re.MULTILINE))
    assert {program.function for program in PROGRAMS} == functions
    assert len({program.event for program in PROGRAMS}) == len(PROGRAMS)


def test_raw_and_classic_programs_take_what_the_c_takes() -> None:
    """A raw program gets its arguments, a classic one its record."""
    c = c_source()
    for program in PROGRAMS:
        found = re.search(rf"^int {program.function}\(struct (\w+)", c, re.MULTILINE)
        assert found
        record = f"tracepoint__{program.category}__{program.event}"
        assert found[1] == ("bpf_raw_tracepoint_args" if program.kind == "raw" else record)


def test_the_end_of_threads_is_watched_first() -> None:
    """So that no record of a thread that ends can be missed."""
    assert PROGRAMS[0].event == "sched_process_exit"


def test_every_map_that_is_asked_for_is_in_the_c() -> None:
    """By the name that the server knows it under."""
    made = re.findall(r"^BPF_[A-Z_]+\(([^;]*)\);", c_source(), re.MULTILINE)
    named = {word for arguments in made for word in re.findall(r"\w+", arguments)}
    assert len(made) >= len(MAPS) + len(tables())
    assert set(MAPS) | set(tables()) <= named


def test_the_record_s_counters_are_all_of_its_end() -> None:
    """From `exits` on nothing but u64, without a gap: user space adds them up blindly."""
    size, fields = struct_layout("vcpu")
    counters = [(o, s, n) for o, s, n in fields.values() if o >= fields["exits"][0]]
    end = fields["exits"][0]
    for offset, field_size, elements in counters:
        assert offset == end
        assert field_size == 8 * elements
        end += field_size
    assert end == size
    assert fields["exits"][0] % 8 == 0


def test_the_histograms_of_the_c_and_of_the_model_agree() -> None:
    """Where the first bucket ends, and what comes after the last."""
    assert constants()["HISTOGRAM_FIRST_SHIFT"] == 10
    assert constants()["HISTOGRAM_WORDS"] == request.HISTOGRAM_BUCKETS + 1


def test_the_message() -> None:
    """It can be sent as JSON, and holds everything in the loader's words."""
    programs = (Program("kvm_pio"), Program("kvm_exit", kind="classic"))
    message = json.loads(json.dumps(request.request(programs, 64, "/usr/src/headers")))
    assert message["sources"] == [str(path) for path in SOURCES]
    assert message["kernel_headers"] == "/usr/src/headers"
    assert message["defines"]["MAX_VCPUS"] == "64"
    assert message["maps"] == list(MAPS)
    assert message["programs"] == [
        {"function": "on_kvm_pio", "kind": "raw", "category": "kvm", "event": "kvm_pio"},
        {"function": "on_kvm_exit", "kind": "classic", "category": "kvm", "event": "kvm_exit"},
    ]


@pytest.mark.parametrize("path", [LOADER, *SOURCES], ids=lambda path: path.name)
def test_files_are_there(path: Path) -> None:
    """And every file of C is one of the sources."""
    assert path.is_file()
    assert set(LOADER.parent.glob("*.bpf.c")) == set(SOURCES)
