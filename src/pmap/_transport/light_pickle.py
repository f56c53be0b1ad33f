"""The C module beneath pickle, without what the public module imports: see `light_stdlib`."""

import sys

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from io import BytesIO
    from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
else:

    def _load() -> None:
        """Import `_pickle` with a stub of functools that has `partial`, all that it uses."""
        if "functools" in sys.modules:
            return
        import _functools

        stub = type(sys)("functools")
        stub.partial = _functools.partial
        sys.modules["functools"] = stub
        try:
            import _pickle  # noqa: F401 - it is there from now on
        finally:
            del sys.modules["functools"]

    try:
        _load()
    except (ImportError, AttributeError):
        # This `_pickle` uses more of functools: the import below gives it the real module.
        sys.modules.pop("_pickle", None)
    try:
        from _io import BytesIO
        from _pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
    except ImportError:
        from io import BytesIO
        from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads

__all__ = ["BytesIO", "PickleBuffer", "Pickler", "Unpickler", "dumps", "loads"]
