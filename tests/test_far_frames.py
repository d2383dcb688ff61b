"""Frames come out as they went in, however the bytes are cut, and what is no frame is refused before it is large."""

import random

import pytest

from submitit_ssh.far.frames import HEADER_LIMIT, PAYLOAD_LIMIT, Decoder, Frame, FrameError, encode

FRAMES: list[Frame] = [
    ({"op": "ping", "n": 1}, b""),
    ({"op": "output", "path": "a b\n\x00é", "bytes": 5}, b"a\nb\r\n"),
    (
        {"op": "output", "path": "\udcff", "value": [1.5, None, float("inf")], "bytes": PAYLOAD_LIMIT},
        b"\n" * PAYLOAD_LIMIT,
    ),
    ({}, b""),
    ({"text": "x" * 100_000}, b""),
    ({"op": "last", "bytes": 1}, b"{"),
]


@pytest.mark.parametrize("seed", range(5))
def test_frames_survive_any_cut(seed: int) -> None:
    data = b"".join(encode(header, payload) for header, payload in FRAMES)
    cuts = random.Random(seed)
    decoder, found, at = Decoder(), [], 0
    while at < len(data):
        size = cuts.choice([1, 2, 7, 1000, 200_000])
        found += decoder.feed(data[at : at + size])
        at += size
    assert found == FRAMES


def test_frames_survive_byte_by_byte() -> None:
    frames = FRAMES[:2]
    decoder, found = Decoder(), []
    for byte in b"".join(encode(header, payload) for header, payload in frames):
        found += decoder.feed(bytes([byte]))
    assert found == frames


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"\n",
        b"[1]\n",
        b'"text"\n',
        b"{" + b"\xff" * 10 + b"}\n",
        b'{"bytes": -1}\n',
        b'{"bytes": true}\n',
        b'{"bytes": "5"}\n',
        b'{"bytes": 1.0}\n',
        b'{"bytes": %d}\n' % (PAYLOAD_LIMIT + 1),
        b'{"bytes": 1' + b"0" * 5000 + b"}\n",
        b"[" * 100_000 + b"\n",
        b"x" * HEADER_LIMIT,
        b"{" + b" " * HEADER_LIMIT + b"}\n",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        Decoder().feed(data)


def test_a_header_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder()
    for _ in range(49):
        decoder.feed(b"x" * (HEADER_LIMIT // 50))
    with pytest.raises(FrameError, match="longer than"):
        decoder.feed(b"x" * (HEADER_LIMIT // 25))


def test_a_long_header_in_small_pieces_is_read_in_linear_time() -> None:
    decoder = Decoder()
    for _ in range(30_000):
        assert decoder.feed(b" " * 100) == []
    assert decoder.feed(b"{}\n") == [({}, b"")]


def test_what_the_other_side_would_refuse_is_not_made() -> None:
    with pytest.raises(FrameError, match="too large"):
        encode({"text": "x" * HEADER_LIMIT})
    with pytest.raises(FrameError, match="too large"):
        encode({}, b"x" * (PAYLOAD_LIMIT + 1))
