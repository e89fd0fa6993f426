"""Speed of the engine against a plain transcription of the reference mathematics; see `benchmarks/README.md`."""
