"""Files that contain images in an unsupported form: what each kind is, and how to convert it."""

from collections.abc import Mapping

ARRAYS = "arrays; save each image as PNG, for example with Pillow's `Image.fromarray(array).save(file)`"
TABLES = (
    "tables, as of Hugging Face; save their images: `for n, row in enumerate(dataset): row['image'].save(f'{n}.png')`"
)
RECORDS = (
    "records of a database or of TensorFlow; read them with the library that wrote them, and save each image as PNG"
)
SHARDS = "archives, or shards of WebDataset; `source: archive` reads them: one by `path`, several by `files`"
PHOTOS = "photographs that Pillow cannot read; convert them to JPEG or PNG first, for example with ImageMagick"
VIDEOS = "videos; save their frames: `ffmpeg -i VIDEO %06d.png`"
FORMS: Mapping[str, tuple[str, ...]] = {
    TABLES: (".parquet", ".arrow", ".feather"),
    ARRAYS: (".npy", ".npz", ".h5", ".hdf5", ".mat", ".pt", ".pkl"),
    RECORDS: (".mdb", ".tfrecord", ".tfrecords", ".rec"),
    SHARDS: (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zip"),
    PHOTOS: (".heic", ".heif", ".jxl", ".jp2", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".psd", ".svg"),
    VIDEOS: (".mp4", ".mov", ".avi", ".mkv", ".webm"),
}
"""Kind of file with instructions → its file extensions."""
FORM_OF = {ending: form for form, endings in FORMS.items() for ending in endings}


def advice(endings: Mapping[str, int]) -> str:
    """Return what a folder's unsupported files are and how to convert them; empty if none is known to contain images.

    endings: file extension in lower case → number of files that are not images.
    """
    known = {ending: count for ending, count in sorted(endings.items()) if ending in FORM_OF}
    return " ".join(f"There are {count:,} files {ending}: {FORM_OF[ending]}." for ending, count in known.items())
