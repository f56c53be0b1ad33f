"""The C half of pickle, without what the public module imports: see `light_stdlib`."""

import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from io import BytesIO
    from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
else:

    def _load() -> None:
        """Import it with `partial`, which is all that it wants of functools."""
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
    except (ImportError, AttributeError):  # it wants more than that, and has it now
        sys.modules.pop("_pickle", None)
    try:
        from _io import BytesIO
        from _pickle import PickleBuffer, Pickler, Unpickler, dumps, loads
    except ImportError:
        from io import BytesIO
        from pickle import PickleBuffer, Pickler, Unpickler, dumps, loads

__all__ = ["BytesIO", "PickleBuffer", "Pickler", "Unpickler", "dumps", "loads"]
