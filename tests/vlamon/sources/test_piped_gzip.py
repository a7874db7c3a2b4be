"""What is piped in may be compressed."""

from __future__ import annotations

import gzip
import os
import threading

import pytest

from vlamon.sources import SourceError
from vlamon.sources.bytestream import READ, Chunk, Descriptor, Pipe

TEXT = b"".join(b"step=%d loss=%d.5\n" % (n, n * 7919 % 1000) for n in range(20_000))


def piped(data: bytes, size: int = 1 << 16) -> list[Chunk]:
    """What a pipe brings when `data` is written into it, so many bytes at a time."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as out:
            for at in range(0, len(data), size):
                out.write(data[at : at + size])

    writer = threading.Thread(target=write)
    writer.start()
    pipe = Pipe(Descriptor(reading))
    chunks: list[Chunk] = []
    try:
        while not chunks or not chunks[-1].end:
            chunks.append(pipe.read(5.0))
    finally:
        pipe.close()
        writer.join()
    return chunks


def text_of(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def test_a_compressed_log_is_unpacked() -> None:
    chunks = piped(gzip.compress(TEXT))
    assert text_of(chunks) == TEXT
    assert chunks[-1].link is None


def test_it_may_come_byte_by_byte() -> None:
    assert text_of(piped(gzip.compress(TEXT[:500]), 1)) == TEXT[:500]


def test_members_follow_each_other() -> None:
    assert text_of(piped(gzip.compress(TEXT) + gzip.compress(b"step=1 loss=2\n"))) == (
        TEXT + b"step=1 loss=2\n"
    )


def test_a_small_piece_that_holds_much_is_unpacked_little_by_little() -> None:
    chunks = piped(gzip.compress(b"\n" * (3 * READ)))
    assert len(text_of(chunks)) == 3 * READ
    assert max(len(chunk.data) for chunk in chunks) <= READ
    assert chunks[-1].link is None


def test_one_that_breaks_off_gives_what_came_before() -> None:
    chunks = piped(gzip.compress(TEXT)[:-1000])
    assert TEXT.startswith(text_of(chunks))
    assert len(text_of(chunks)) > len(TEXT) // 2
    assert "breaks off" in chunks[-1].text


def test_damage_is_said_in_a_sentence() -> None:
    with pytest.raises(SourceError, match="stdin cannot be unpacked"):
        piped(b"\x1f\x8b" + b"junk" * 99)


@pytest.mark.parametrize("data", [b"", b"\x1f", b"plain text\n", b"\x1f\x00\n"])
def test_what_is_not_compressed_comes_as_it_is(data: bytes) -> None:
    assert text_of(piped(data)) == data
