"""What identifies a data set's content: enough of it to tell images that were made anew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shapeft_tune.data.digest import BLOCK, digested
from shapeft_tune.errors import DataError


def digest_of(root: Path, whole: bool) -> str:
    seen = hashlib.sha256()
    digested(seen, root, root.glob("*"), whole=whole)
    return seen.hexdigest()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(250)) * 4000)
    return path


def test_a_file_of_the_same_size_with_other_values_is_another(large):
    before = digest_of(large.parent, whole=False)
    large.write_bytes(bytes(value // 3 for value in range(250)) * 4000)
    assert digest_of(large.parent, whole=False) != before


@pytest.mark.parametrize("place", [0, BLOCK - 1, 250 * 4000 - 1])
def test_the_first_and_the_last_bytes_count(large, place):
    before = digest_of(large.parent, whole=False)
    content = bytearray(large.read_bytes())
    content[place] ^= 1
    large.write_bytes(content)
    assert digest_of(large.parent, whole=False) != before


@pytest.mark.parametrize("whole", [True, False])
def test_names_count_and_the_order_of_the_files_does_not(large, whole):
    (large.parent / "other").write_bytes(b"")
    before = digest_of(large.parent, whole)
    seen = hashlib.sha256()
    digested(seen, large.parent, sorted(large.parent.glob("*"), reverse=True), whole=whole)
    assert seen.hexdigest() == before
    large.rename(large.with_name("renamed"))
    assert digest_of(large.parent, whole) != before


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_cannot_be_read_is_named(tmp_path, whole):
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    with pytest.raises(DataError, match=r"loop\.npy: expected a file that can be read"):
        digest_of(tmp_path, whole)
