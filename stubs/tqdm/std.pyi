from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from threading import RLock
from typing import Self, TextIO

class TqdmDefaultWriteLock:
    th_lock: RLock

class tqdm:  # noqa: N801 - it is its name
    disable: bool
    n: float
    total: float | None
    def __new__(cls, *_: object, **__: object) -> Self: ...
    def __init__(
        self,
        iterable: Iterable[object] | None = None,
        desc: str | None = None,
        total: float | None = None,
        leave: bool | None = True,
        file: TextIO | None = None,
        ncols: int | None = None,
        mininterval: float = 0.1,
        maxinterval: float = 10.0,
        miniters: float | None = None,
        ascii: bool | str | None = None,
        disable: bool | None = False,
        unit: str = "it",
        unit_scale: bool | float = False,
        dynamic_ncols: bool = False,
        smoothing: float = 0.3,
        bar_format: str | None = None,
        initial: float = 0,
        position: int | None = None,
        postfix: Mapping[str, object] | None = None,
        unit_divisor: float = 1000,
        write_bytes: bool = False,
        lock_args: tuple[object, ...] | None = None,
        nrows: int | None = None,
        colour: str | None = None,
        delay: float = 0.0,
        gui: bool = False,
        **kwargs: object,
    ) -> None: ...
    @classmethod
    def external_write_mode(
        cls, file: TextIO | None = None, nolock: bool = False
    ) -> AbstractContextManager[None]: ...
    def __iter__(self) -> Iterator[object]: ...
    def update(self, n: float = 1) -> bool | None: ...
    def refresh(
        self, nolock: bool = False, lock_args: tuple[object, ...] | None = None
    ) -> bool: ...
    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...
    def close(self) -> None: ...
