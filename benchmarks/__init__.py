"""What the engine costs beside a plain transcription of the reference mathematics; see `benchmarks/README.md`."""
