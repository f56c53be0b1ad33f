"""The error for a module that cannot be loaded in an interpreter beside the main one.

A C extension has to say that it supports such interpreters. Python raises an ImportError for an
extension that does not say so, and libraries wrap this error in messages about a bad installation.
"""

from __future__ import annotations

_REFUSES = " does not support loading in subinterpreters"


def explained(error: BaseException) -> BaseException:
    """Return an `ImportError` that names the refused module, if such a module caused `error`.

    Else return `error` itself.

    >>> explained(ImportError("module a.b does not support loading in subinterpreters")).name
    'a'
    """
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))  # an exception may be among its own causes
        if isinstance(found, ImportError) and str(found).endswith(_REFUSES):
            module = str(found).removesuffix(_REFUSES).removeprefix("module ")
            package = module.partition(".")[0]
            text = (
                f"{package} cannot be used with backend='interpreters': its module {module}"
                f"{_REFUSES}. Use backend='processes', or backend='threads'"
            )
            told = ImportError(text, name=package).with_traceback(error.__traceback__)
            told.__cause__ = found
            return told
        found = found.__cause__ or found.__context__
    return error
