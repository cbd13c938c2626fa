"""What is read of the operating system about processor, cores and disk."""

import os

import pytest

from tlfeatures.machine import count_cores, find_disk, find_processor

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd bf16 i8mm
"""


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        (XEON, ("AVX2", "AVX512", "AVX512-VNNI", "AVX512-BF16", "AMX-INT8", "AMX-BF16")),
        (ARM, ("NEON", "I8MM", "BF16")),
        ("processor : 0\n", ()),
    ],
)
def test_instructions_are_those_of_the_first_core(text, instructions, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    processor = find_processor(tmp_path / "cpuinfo")
    assert processor.instructions == instructions
    assert processor.model


def test_the_model_is_named(tmp_path):
    (tmp_path / "cpuinfo").write_text(XEON)
    assert find_processor(tmp_path / "cpuinfo").model == "Intel(R) Xeon(R)"


def test_a_system_that_lists_no_instructions_is_not_one_without_any(tmp_path):
    assert find_processor(tmp_path / "missing").instructions is None


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_found(files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_cores(tmp_path).quota == quota


def test_variables_that_limit_threads_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    cores = count_cores(tmp_path)
    assert cores.variables == {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    assert cores.usable == 1
    assert cores.installed == os.cpu_count()


def test_the_disk_of_a_folder_that_does_not_exist_is_that_of_its_parent(tmp_path):
    disk = find_disk(tmp_path / "a" / "b")
    assert disk.folder == str(tmp_path / "a" / "b")
    assert disk.free > 0
    assert disk.writable


def test_a_folder_below_a_file_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    assert not find_disk(tmp_path / "file" / "cache").writable
