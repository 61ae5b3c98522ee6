"""Compiled programs that are kept on disk for later starts, and counts of those that were found there."""

from __future__ import annotations

import jax

_FOUND, _MISSED = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"


def keep(directory: str) -> None:
    """Has programs that took a second or more to compile kept in a directory or bucket; "" leaves JAX's own setting.

    Call it before anything is compiled: JAX looks once.
    """
    if directory:
        jax.config.update("jax_compilation_cache_dir", directory)


class Programs:
    """Counts, while it is open, the compiled programs that were found on disk and those that were not."""

    def __init__(self) -> None:
        self._counts = {_FOUND: 0, _MISSED: 0}

    def __enter__(self) -> Programs:
        jax.monitoring.register_event_listener(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_listener(self._note)

    def _note(self, event: str, **_: str | int) -> None:
        if event in self._counts:
            self._counts[event] += 1

    def counts(self) -> dict[str, float]:
        """Returns the metrics of both; none where no programs are kept."""
        if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
            return {}
        found, missed = self._counts[_FOUND], self._counts[_MISSED]
        return {"compile_cache/found": float(found), "compile_cache/missed": float(missed)}
