from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shapeft_tune.atomic import replacing, write_atomically


def test_a_file_whose_writer_failed_stays_as_it_was(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"before")

    def fail_half_way() -> None:
        with replacing(path) as file:
            file.write(b"half of")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_writers_at_once_one_is_left_whole(tmp_path):
    path, contents = tmp_path / "file", [bytes([value]) * 100_000 for value in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(path, content), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
