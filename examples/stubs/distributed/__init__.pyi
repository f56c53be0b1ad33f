from concurrent.futures import Executor
from types import TracebackType
from typing import Self

class LocalCluster:
    def __init__(self, *, n_workers: int, dashboard_address: str | None) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

class Client:
    def __init__(self, address: LocalCluster) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def get_executor(self, *, pure: bool) -> Executor: ...
