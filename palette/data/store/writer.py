"""Incremental writing of image stores, which survives a killed process and takes constant memory."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from palette.data.store import zip_reader
from palette.data.store.zip_reader import Member

LABELS, MANIFEST = "dataset.json", "manifest.json"
SAVE_EVERY = 256
"""Number of items between flushes to disk: at most this many are made again after a kill."""


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Line:
    """Journal line of one item.

    place: offset, size and CRC-32 of its image in the store, and where its bytes end; None for an item without an
    image. facts: bytes of a JSON object, as it is written to the manifest.
    """

    place: tuple[int, int, int, int] | None
    facts: bytes

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.facts)
        return content

    def written(self) -> bytes:
        place = b"-" if self.place is None else b"%d %d %d %d" % self.place
        return place + b"\t" + self.facts + b"\n"

    @classmethod
    def read(cls, line: bytes) -> "Line":
        """Parse a line. Raises ValueError if it is incomplete."""
        place, _, facts = line.partition(b"\t")
        if not facts.endswith(b"}\n"):
            raise ValueError("cut off")
        if place == b"-":
            return cls(None, facts[:-1])
        offset, size, crc, end = map(int, place.split())
        return cls((offset, size, crc, end), facts[:-1])


class StoreWriter:
    """Writer that appends images to `file` and a line per item to `journal`, both open for reading and writing.

    A line is written after its image is on the disk. So a writer that gets the two files of a killed one resumes at the
    last intact item: `items` were processed, and `images` of them are in the store. classes: name of each label.
    """

    def __init__(self, file: BinaryIO, journal: BinaryIO, classes: Sequence[str]) -> None:
        self.file, self.journal, self.classes = file, journal, list(classes)
        self.items = self.images = 0
        self._unsaved: list[bytes] = []
        end, length = self._recover()
        for stream, intact in ((file, end), (journal, length)):
            stream.truncate(intact)
            stream.seek(intact)

    def _recover(self) -> tuple[int, int]:
        """Count the complete lines whose images are in the store; return the bytes of these images and lines."""
        there, end, length = os.fstat(self.file.fileno()).st_size, 0, 0
        self.journal.seek(0)
        for written in self.journal:
            try:
                line = Line.read(written)
            except ValueError:
                break
            if line.place is not None:
                if line.place[3] > there:
                    break
                end = line.place[3]
                self.images += 1
            self.items += 1
            length += len(written)
        return end, length

    def add(self, name: str, png: bytes, label: int, source: dict[str, Any]) -> None:
        """Append an image. source: further facts for the manifest."""
        member = zip_reader.append(self.file, name, png)
        facts = {"name": name, "label": label, "class": self.classes[label], **source}
        self.images += 1
        self._note(Line((member.offset, member.size, member.crc, self.file.tell()), to_json(facts)))

    def leave_out(self, facts: dict[str, Any]) -> None:
        self._note(Line(None, to_json(facts)))

    def _note(self, line: Line) -> None:
        self._unsaved.append(line.written())
        self.items += 1
        if len(self._unsaved) >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        for stream, lines in ((self.file, []), (self.journal, self._unsaved)):
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
        self._unsaved.clear()

    def lines(self) -> Iterator[Line]:
        """Yield all lines so far, from the disk. Nothing may be added meanwhile."""
        self.save()
        self.journal.seek(0)
        for written in self.journal:
            yield Line.read(written)

    def finish(self) -> None:
        """Append the labels, the manifest and the ZIP's directory, which complete the store."""
        classes = to_json(self.classes)
        stored = (line.content for line in self.lines() if line.place)
        labels = (to_json([facts["name"], facts["label"]]) for facts in stored)
        manifest = (line.facts for line in self.lines() if line.place)
        texts = (
            (LABELS, _listed(b'{"labels":[', labels, b'],"classes":' + classes + b"}")),
            (MANIFEST, _listed(b'{"classes":' + classes + b',"images":[', manifest, b"]}")),
        )
        more = [zip_reader.append_stream(self.file, name, chunks) for name, chunks in texts]
        images = (Member(line.content["name"], *line.place[:3]) for line in self.lines() if line.place)
        zip_reader.finish(self.file, chain(images, more))
        self.save()


def _listed(before: bytes, items: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    """Yield the pieces of a JSON text around a list, one item per line."""
    yield before
    for number, item in enumerate(items):
        yield (b",\n" if number else b"\n") + item
    yield after
