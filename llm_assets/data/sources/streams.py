"""Bytes of a file, unpacked and in UTF-8, a chunk at a time and within bounds."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from llm_assets.data.sources.config import MIB, Files
from llm_assets.errors import UserError

PACKED = (".gz", ".bz2", ".xz", ".zst")
CHUNK = MIB
SAMPLE = 256 * 1024
RATIO_FROM = 16 * MIB  # small files may be as repetitive as they like
XZ_MEMORY = 256 * MIB
SHOWN_LINE = 500


def chunks(path: Path, source: Files) -> Iterator[bytes]:
    """The unpacked bytes of `path`. Raises UserError when it is broken, cannot be read or outgrows its bounds."""
    name, done = path.suffix[1:], 0
    try:
        size = path.stat().st_size
        with _opened(path) as stream:
            while chunk := stream.read(CHUNK):
                done += len(chunk)
                if done > source.max_file_bytes:
                    raise UserError(
                        f"{path}: more than {source.max_file_bytes:,} bytes unpacked; raise max_file_bytes if it may be"
                    )
                if path.suffix in PACKED and done > max(RATIO_FROM, source.max_ratio * size):
                    raise UserError(
                        f"{path}: unpacks to more than {source.max_ratio:g} times its size ({size:,} bytes), as a "
                        "decompression bomb does; raise max_ratio if it may"
                    )
                yield chunk
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: broken {_known_as(name)} ({error}); fetch or compress the file again") from None
    except OSError as error:
        if error.errno is None or path.suffix == ".zst":  # of the packing, not of the disk
            raise UserError(f"{path}: broken {_known_as(name)} ({error}); fetch or compress the file again") from None
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from None


def utf8_chunks(path: Path, source: Files) -> Iterator[bytes]:
    """`chunks` in UTF-8 without a byte order mark. What does not decode becomes the byte FF, which no UTF-8 holds.

    Raises UserError where the encoding is in doubt: a wrong guess would spoil every text.
    """
    stream = chunks(path, source)
    head = next(stream, b"")
    encoding = codecs.lookup(source.encoding).name if source.encoding != "auto" else guess_encoding(head[:SAMPLE], path)
    if encoding in ("utf-8", "utf-8-sig", "ascii"):
        yield head.removeprefix(codecs.BOM_UTF8)
        yield from stream
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    bad = "\ufffd".encode()
    yield decoder.decode(head).encode().replace(bad, b"\xff")
    for chunk in stream:
        yield decoder.decode(chunk).encode("utf-8", "replace").replace(bad, b"\xff")
    yield decoder.decode(b"", final=True).encode().replace(bad, b"\xff")


def guess_encoding(sample: bytes, path: Path) -> str:
    """The encoding of a file by its first bytes.

    A byte order mark decides; else UTF-16 where every other byte is 0; else UTF-8, unless more than one line in twenty
    is not. Which legacy encoding a file has is not guessed: on French lines in cp1252 charset-normalizer was as often
    wrong as right. Its guess goes into the error.
    """
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if sample.startswith(mark):
            return name
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    pairs = len(sample) // 2
    if pairs and sample.count(0) > 0.3 * pairs:
        if sample[1::2].count(0) > 0.6 * pairs and sample[0::2].count(0) < 0.1 * pairs:
            return "utf-16-le"
        if sample[0::2].count(0) > 0.6 * pairs and sample[1::2].count(0) < 0.1 * pairs:
            return "utf-16-be"
    lines = sample.split(b"\n")
    bad = [line for line in (lines[:-1] or lines) if not _is_utf8(line)]
    if len(bad) <= len(lines) / 20:
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(b"\n".join(bad)).best()
    hint = f"perhaps {best.encoding}" if best is not None else "it looks like no text at all"
    raise UserError(f"{path}: not UTF-8 ({hint}); save it as UTF-8, or set `encoding` to what it is in")


def lines(stream: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, line without its end, whole): of a line of more than `limit` bytes only its start, not whole."""
    rest, number = b"", 1
    for chunk in stream:
        parts = chunk.split(b"\n")
        if len(parts) == 1 and len(rest) <= limit:
            rest += chunk  # at most `limit` bytes are copied again and again
            continue
        for part in parts[:-1]:
            line = rest + part if rest else part
            if len(line) > limit:
                yield number, line[:SHOWN_LINE], False
            else:
                yield number, line[:-1] if line.endswith(b"\r") else line, True
            rest = b""
            number += 1
        rest = parts[-1] if len(parts) > 1 else rest
    if len(rest) > limit:
        yield number, rest[:SHOWN_LINE], False
    elif rest:
        yield number, rest, True


class ChunkReader(io.RawIOBase):
    """`chunks` as a file object, for readers that want one."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream, self._rest = stream, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._stream, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class _Xz(io.RawIOBase):
    """An .xz file whose dictionary may not take more than XZ_MEMORY."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder: lzma.LZMADecompressor | None = None
        self._fed = b""

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._decoder is None or self._decoder.eof:
                left = self._decoder.unused_data.lstrip(b"\0") if self._decoder else b""
                self._fed = left or self._file.read(CHUNK)
                if not self._fed:
                    if self._decoder is None:
                        raise EOFError("no data")
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
            elif self._decoder.needs_input:
                self._fed = self._file.read(CHUNK)
                if not self._fed:
                    raise EOFError("it ends before its end-of-stream marker")
            data = self._decoder.decompress(self._fed, max_length=size)
            self._fed = b""
            if data:
                return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(path: Path) -> IO[bytes] | Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".bz2":
        return bz2.open(path, "rb")
    if path.suffix == ".xz":
        return _Xz(path)
    if path.suffix == ".zst":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return path.open("rb")


def _known_as(name: str) -> str:
    return {"gz": "gzip", "bz2": "bzip2", "zst": "zstandard"}.get(name, name)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
