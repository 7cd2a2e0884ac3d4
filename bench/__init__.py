"""Measurements on this machine; `docs/measuring.md` says what each line means."""
