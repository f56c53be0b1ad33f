"""The C module beneath `pickle`, without the imports of the public module: see `light_stdlib`."""

import sys

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from io import BytesIO
    from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
else:

    def _load() -> None:
        """Import `_pickle` with a stub of functools that has `partial`, the one name needed."""
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
        # The `_pickle` of this interpreter uses more of functools than the stub has: the import
        # below gives `_pickle` the real functools.
        sys.modules.pop("_pickle", None)
    try:
        from _io import BytesIO
        from _pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
    except ImportError:
        from io import BytesIO
        from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads

__all__ = ["BytesIO", "PickleBuffer", "Pickler", "Unpickler", "dumps", "loads"]
