"""Random numbers that depend on the item, not on the process."""

import hashlib
import json
import operator

import numpy as np


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a Philox generator keyed by all arguments: the same on every machine, independent for every other key.

    seed: the user's. key: what the numbers are for, `generator(seed, "noise", 17)`. `1` and `"1"` are different keys.
    """
    parts = [part if isinstance(part, str) else operator.index(part) for part in (seed, *key)]
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
