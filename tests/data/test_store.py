import hashlib
import json
import multiprocessing
import pickle
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from palette.data.store.store import ImageStore, StoredImage, image_name, write_store
from palette.errors import DataError


def pictures(count: int, size: int = 16) -> npt.NDArray[np.uint8]:
    """uint8 [count, size, size, 3], noise."""
    return np.random.default_rng(7).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def items(count: int) -> list[StoredImage]:
    return [
        StoredImage(image_name(i), pixels, i % 2, {"file": f"{i}.jpg", "box": [0, 0, i, i]})
        for i, pixels in enumerate(pictures(count))
    ]


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.zip"
    write_store(path, items(5), ["cat", "cup"])
    return path


def test_stored_images_are_read_back(store_file: Path) -> None:
    with ImageStore(store_file) as store:
        assert len(store) == 5
        assert np.array_equal(np.stack([store[i] for i in range(5)]), pictures(5))
        assert store[0].dtype == np.uint8
        assert store.names[4] == "00000/img00000004.png"
        assert store.labels == [0, 1, 0, 1, 0]
        assert store.classes == ["cat", "cup"]
        assert store.manifest[3] == {
            "name": "00000/img00000003.png", "label": 1, "class": "cup", "file": "3.jpg", "box": [0, 0, 3, 3],
        }  # fmt: skip
        with pytest.raises(IndexError):
            store[5]


def test_pixels_may_be_changed(store_file: Path) -> None:
    image = ImageStore(store_file)[0]
    image[:] = 0  # not a view of read-only memory


def test_masks_are_one_bit(tmp_path: Path) -> None:
    masks = pictures(3)[..., 0] > 127
    write_store(tmp_path / "m.zip", [StoredImage(f"{i:08}.png", mask) for i, mask in enumerate(masks)], ["mask"])
    store = ImageStore(tmp_path / "m.zip")
    assert np.array_equal(np.stack([store.mask(i) for i in range(3)]), masks)
    assert set(np.unique(store[0])) == {0, 255}


def test_an_empty_store(tmp_path: Path) -> None:
    assert write_store(tmp_path / "e.zip", [], []) == 0
    assert len(ImageStore(tmp_path / "e.zip")) == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_equal_images_give_equal_bytes(store_file: Path, tmp_path: Path, threads: int) -> None:
    write_store(tmp_path / "again.zip", iter(items(5)), ["cat", "cup"], threads)
    assert (tmp_path / "again.zip").read_bytes() == store_file.read_bytes()


def test_layout_matches_nvidias(store_file: Path) -> None:
    with zipfile.ZipFile(store_file) as archive:
        entries = archive.infolist()
        labels = json.loads(archive.read("dataset.json"))["labels"]
    assert [entry.filename for entry in entries[:2]] == ["00000/img00000000.png", "00000/img00000001.png"]
    assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert labels[1] == ["00000/img00000001.png", 1]
    # EDM's ImageFolderDataset sorts the names of files with image endings and looks each up in `labels`.
    names = sorted(entry.filename for entry in entries if entry.filename.endswith(".png"))
    assert names == sorted(dict(labels))


def test_a_thousand_images_a_folder() -> None:
    assert image_name(1234567) == "01234/img01234567.png"


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> "list[StoredImage]":
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_store(tmp_path / "s.zip", (item for item in broken()), [])
    assert list(tmp_path.iterdir()) == []


def test_pickled_store_opens_again(store_file: Path) -> None:
    store = ImageStore(store_file)
    store[0]
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(copy[3], store[3])


def read_many(store: ImageStore) -> str:
    return hashlib.sha256(b"".join(store[i % 5].tobytes() for i in range(200))).hexdigest()


def test_forked_processes_do_not_disturb_each_other(store_file: Path) -> None:
    store = ImageStore(store_file)
    expected = read_many(store)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(read_many, [store] * 6) == [expected] * 6


def test_closed_store_opens_again(store_file: Path) -> None:
    store = ImageStore(store_file)
    store.close()
    assert store[1].shape == (16, 16, 3)


# ------------------------------------------------------------------------------------------------ damage


def test_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.zip: no such image store"):
        ImageStore(tmp_path / "gone.zip")


def test_truncated_store_is_named(store_file: Path) -> None:
    store_file.write_bytes(store_file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"train\.zip: not a readable image store"):
        ImageStore(store_file)


def test_flipped_bit_names_store_and_image(store_file: Path) -> None:
    with zipfile.ZipFile(store_file) as archive:
        offset = archive.getinfo("00000/img00000002.png").header_offset + 200
    data = bytearray(store_file.read_bytes())
    data[offset] ^= 1
    store_file.write_bytes(data)
    store = ImageStore(store_file)
    store[1]
    with pytest.raises(DataError, match=r"train\.zip: image store is damaged at 00000/img00000002\.png"):
        store[2]


def rewrite(path: Path, name: str, data: bytes | None) -> None:
    """Replace a member, or leave it out."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            if member != name:
                archive.writestr(member, content)
            elif data is not None:
                archive.writestr(member, data)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_wrong_image_is_named(store_file: Path, data: bytes) -> None:
    rewrite(store_file, "00000/img00000003.png", data)
    with pytest.raises(DataError, match=r"train\.zip.*img00000003\.png"):
        ImageStore(store_file)[3]


@pytest.mark.parametrize("data", [None, b"{", b"[]", b"{}", b'{"labels": [3], "classes": []}', b"[" * 100_000])
def test_wrong_labels_are_named(store_file: Path, data: bytes | None) -> None:
    rewrite(store_file, "dataset.json", data)
    with pytest.raises(DataError, match=r"train\.zip.*dataset\.json"):
        _ = ImageStore(store_file).labels


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}"])
def test_wrong_manifest_is_named(store_file: Path, data: bytes) -> None:
    rewrite(store_file, "manifest.json", data)
    with pytest.raises(DataError, match=r"train\.zip.*manifest\.json"):
        _ = ImageStore(store_file).manifest


def test_missing_image_is_detected(store_file: Path) -> None:
    rewrite(store_file, "00000/img00000003.png", None)
    with pytest.raises(DataError, match=r"dataset\.json \(5 labels for 4 images\)"):
        _ = ImageStore(store_file).classes


def test_compressed_store_is_refused(store_file: Path) -> None:
    with zipfile.ZipFile(store_file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000/img00000000.png", b"x" * 100)
    with pytest.raises(DataError, match="is compressed"):
        ImageStore(store_file)


# ---------------------------------------------------------------------------------------------- clean-fid


def test_clean_fid_reads_it(store_file: Path) -> None:
    fid = pytest.importorskip("cleanfid.fid")
    import torch

    def means(batch: torch.Tensor) -> torch.Tensor:
        return batch.mean((2, 3))

    features = fid.get_folder_features(
        str(store_file), means, num_workers=0, batch_size=5, device=torch.device("cpu"), verbose=False
    )
    assert features.shape == (5, 3)
    expected = pictures(5).mean((1, 2))
    assert np.allclose(sorted(features[:, 0]), sorted(expected[:, 0]), atol=2)
