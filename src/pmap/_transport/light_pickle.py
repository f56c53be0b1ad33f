"""The C module `_pickle` without `pickle`, whose imports would make workers start later."""

import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from io import BytesIO
    from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
else:

    def _load() -> None:
        """Import `_pickle` with a stub for `functools`, of which `_pickle` needs only `partial`."""
        if "functools" in sys.modules:
            return
        import _functools

        stub = type(sys)("functools")
        stub.partial = _functools.partial
        sys.modules["functools"] = stub
        try:
            import _pickle  # noqa: F401 - the import puts `_pickle` into `sys.modules`
        finally:
            del sys.modules["functools"]

    try:
        _load()
    except (ImportError, AttributeError):
        # In this version of Python `_pickle` uses more of functools than the stub has, so `_pickle`
        # is imported again with the real `functools`.
        sys.modules.pop("_pickle", None)
    try:
        from _io import BytesIO
        from _pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
    except ImportError:
        from io import BytesIO
        from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads

__all__ = ["BytesIO", "PickleBuffer", "Pickler", "Unpickler", "dumps", "loads"]
