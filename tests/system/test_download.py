"""Downloads from a loopback server that fails in every way that servers do."""

import gzip
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palette.errors import DataError
from palette.system import download as module
from palette.system.download import ATTEMPTS, Remote, download, part_of, pinned
from tests.web import (
    Answer,
    Site,
    as_encoding,
    claim,
    drop,
    redirect,
    slowly,
    stall,
    status,
    without_length,
    without_ranges,
    wrong_byte,
    wrong_range,
)

CONTENT = random.Random(0).randbytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def site(server: Site) -> Site:
    server.files.clear()
    server.answers.clear()
    server.requests.clear()
    return server


def get(path: Path, *urls: str, **known: Any) -> list[float]:
    """Download; return the pauses that were made."""
    pauses: list[float] = []
    known = known or {"sha256": SHA, "bytes": len(CONTENT)}
    download(Remote(path.name, urls, **known), path, sleep=pauses.append)
    return pauses


def ranges(site: Site) -> list[str | None]:
    return [headers.get("Range") for _, headers in site.requests]


def test_a_good_server(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "new/file.bin"
    assert get(path, site.offer("/f", CONTENT)) == []
    assert path.read_bytes() == CONTENT
    assert pinned(path) == SHA
    get(path, "http://nowhere.invalid/")  # it is there
    left = {file.name for file in path.parent.iterdir()}
    assert left == {"file.bin", "file.bin.sha256", ".file.bin.lock"}


def test_breaks_are_resumed(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT, drop(1_000), drop(100_000), drop(200_001))
    pauses = get(tmp_path / "f", url)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(site) == [None, "bytes=1000-", "bytes=100000-", "bytes=200001-"]
    assert pauses == [2.0, 2.0, 2.0]  # each attempt brought something


def test_the_next_run_goes_on(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT, drop(70_000), *[status(503)] * ATTEMPTS)
    with pytest.raises(DataError, match="503"):
        get(tmp_path / "f", url)
    assert not (tmp_path / "f").exists()
    assert part_of(tmp_path / "f").stat().st_size == 70_000
    get(tmp_path / "f", url)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(site)[-1] == "bytes=70000-"


def test_a_complete_part_is_not_requested_again(site: Site, tmp_path: Path) -> None:
    """As after a kill between the last byte and the check."""
    part_of(tmp_path / "f").write_bytes(CONTENT)
    get(tmp_path / "f", site.offer("/f", CONTENT))
    assert site.requests == []
    (tmp_path / "f").unlink()
    part_of(tmp_path / "f").write_bytes(CONTENT)
    get(tmp_path / "f", site.offer("/f", CONTENT), md5=MD5)  # its length is not known: the server says 416
    assert ranges(site) == ["bytes=300000-"]


def test_a_stalled_server_is_abandoned(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", (2.0, 0.2))
    get(tmp_path / "f", site.offer("/f", CONTENT, stall(50_000)))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(site) == [None, "bytes=50000-"]


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([claim(len(CONTENT) + 50)], 1),  # refused at once, since the length is known; then the mirror
        ([claim(len(CONTENT) - 50)], 1),
        ([without_length], 1),
        ([drop(60_000), without_ranges(90_000), without_ranges()], 3),
        ([drop(60_000), wrong_range], 3),
        ([status(503), status(429, Retry_After=7), status(500)], 4),
        ([drop(0), drop(0)], 3),
    ],
    ids=["longer", "shorter", "no length", "no ranges", "wrong range", "busy", "empty"],
)  # fmt: skip
def test_bad_responses(site: Site, tmp_path: Path, answers: list[Answer], requests: int) -> None:
    url, mirror = site.offer("/f", CONTENT, *answers), site.offer("/mirror", CONTENT)
    get(tmp_path / "f", url, mirror)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [path for path, _ in site.requests].count("/f") == requests


@pytest.mark.parametrize("lie", [50, -50])
def test_a_wrong_length_where_none_is_known(site: Site, tmp_path: Path, lie: int) -> None:
    url, mirror = site.offer("/f", CONTENT, claim(len(CONTENT) + lie)), site.offer("/mirror", CONTENT)
    get(tmp_path / "f", url, mirror, sha256=SHA)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_pauses_grow_and_the_server_may_request_longer_ones(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT, status(503), status(503), status(503, Retry_After=50), status(503))
    assert get(tmp_path / "f", url) == [2.0, 4.0, 50.0, 16.0]


def test_a_wrong_byte_is_detected_and_the_mirror_tried(site: Site, tmp_path: Path) -> None:
    url, mirror = site.offer("/f", CONTENT, wrong_byte), site.offer("/mirror", CONTENT)
    get(tmp_path / "f", url, mirror)
    assert (tmp_path / "f").read_bytes() == CONTENT
    (tmp_path / "f").unlink()
    site.answers["/f"].append(wrong_byte)
    with pytest.raises(
        DataError, match=rf"{url}: sent other bytes than the known file has \(sha256 .*expected {SHA}\)"
    ):
        get(tmp_path / "f", url)
    assert {file.name for file in tmp_path.iterdir()} == {"f.sha256", ".f.lock"}


def test_only_md5_is_known(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT)
    get(tmp_path / "f", url, md5=MD5)
    (tmp_path / "f").unlink()
    with pytest.raises(DataError, match=r"md5 .*expected 000"):
        get(tmp_path / "f", url, md5="0" * 32)


def test_wrong_bytes_of_an_earlier_run_are_fetched_again(site: Site, tmp_path: Path) -> None:
    part_of(tmp_path / "f").write_bytes(b"?" * 1000)
    get(tmp_path / "f", site.offer("/f", CONTENT))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(site) == ["bytes=1000-", None]


def test_two_versions_are_never_joined(site: Site, tmp_path: Path) -> None:
    """Nothing is known of the file, and between two attempts the server gets another one."""
    url = site.offer("/f", CONTENT, drop(5_000), *[status(503)] * ATTEMPTS)
    with pytest.raises(DataError):
        get(tmp_path / "f", url, about="x")
    tag = next(tmp_path.glob(".f.tag"))
    tag.write_text('"v0"')
    get(tmp_path / "f", url, about="x")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert pinned(tmp_path / "f") == SHA
    assert site.requests[-1][1]["If-Range"] == '"v0"'


def test_a_compressed_file_stays_compressed(site: Site, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    url = site.offer("/f.tgz", packed, as_encoding)
    get(tmp_path / "f.tgz", url, sha256=hashlib.sha256(packed).hexdigest())
    assert (tmp_path / "f.tgz").read_bytes() == packed


def test_redirects_are_followed(site: Site, tmp_path: Path) -> None:
    target = site.offer("/target", CONTENT, drop(10))
    get(tmp_path / "f", site.offer("/f", b"", redirect(target), redirect(target)))
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert ranges(site)[-1] == "bytes=10-"


def test_every_address_and_its_response_is_named(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        get(
            tmp_path / "f",
            f"{site.address}/none", f"http://127.0.0.1:{free_port()}/f", "ftp://example.org/f", "example.org/f",
            sha256=SHA, about="Ask the author for it.",
        )  # fmt: skip
    text = str(error.value)
    assert "/none: status 404" in text
    assert f"{ATTEMPTS} times in a row" in text
    assert "ftp://example.org/f: not an address that can be downloaded" in text
    assert "Ask the author" in text
    assert "0x" not in text
    assert [path for path, _ in site.requests].count("/none") == 1


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_endless_file_is_cut_off(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sends more than the 1000 bytes"):
        get(tmp_path / "f", site.offer("/f", CONTENT, without_length), sha256=SHA, bytes=1000)


def test_a_full_disk_is_reported_in_advance(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="GB free"):
        get(tmp_path / "f", site.offer("/f", CONTENT), bytes=10**18)
    assert site.requests == []


def test_one_of_several_runs_downloads(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT, slowly)
    threads = [threading.Thread(target=get, args=(tmp_path / "f", url)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(site.requests) == 1


def test_a_killed_download_leaves_no_file_and_no_lock(site: Site, tmp_path: Path) -> None:
    url = site.offer("/f", CONTENT, stall(40_000))
    code = f"from palette.system.download import *; download(Remote('f', ({url!r},), sha256={SHA!r}), Path({str(tmp_path / 'f')!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(2000):
        if part_of(tmp_path / "f").exists() and part_of(tmp_path / "f").stat().st_size:
            break
        threading.Event().wait(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "f").exists()
    get(tmp_path / "f", url)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_proxy_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower() in ("no_proxy", "http_proxy", "all_proxy")]:
        monkeypatch.delenv(name)
    site.offer("/f", CONTENT)
    monkeypatch.setenv("http_proxy", site.address)
    get(tmp_path / "f", "http://dataset.example/f")
    assert site.requests[0][0] == "http://dataset.example/f"
    (tmp_path / "f").unlink()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    get(tmp_path / "f", f"{site.address}/f")
    assert site.requests[1][0] == "/f"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [drop(10), drop(150_000), drop(0), status(503), without_ranges(7_000), without_length, wrong_range]
        ),
        max_size=5,
    )
)
def test_whatever_happens_the_file_is_right_or_absent(
    site: Site, tmp_path_factory: pytest.TempPathFactory, answers: list[Answer]
) -> None:
    path = tmp_path_factory.mktemp("d") / "f"
    site.answers.clear()
    get(path, site.offer("/f", CONTENT, *answers))
    assert path.read_bytes() == CONTENT
