"""Options and values that have had other names. A config with the old ones is read for now, with a note."""

OPTIONS: dict[tuple[str, ...], str] = {("folders",): "external_outputs"}
"""Old option → its name today. `*` in a place stands for any name."""
VALUES: dict[tuple[str, ...], dict[str, str]] = {
    ("datasets", "*", "prepare", "crop"): {"centre": "center"},
    ("datasets", "*", "prepare", "test_crop"): {"centre": "center"},
    ("tasks", "*", "mask"): {"centre": "center"},
}
"""Option → old value → its name today."""
