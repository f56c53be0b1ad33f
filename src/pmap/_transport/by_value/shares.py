"""The handles that the function `share` has made, by their names.

A worker that sends a result imports this module instead of the module `shared`, which imports
`typing` and so takes longer.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from .namespaces import Namespace, register

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

handles: WeakValueDictionary[str, Any] = WeakValueDictionary()


class _Shares(dict[str, object]):
    """A dict of handles of shared values, by name, that does not keep the handles alive."""

    def get(self, name: str, default: Any = None) -> Any:
        return handles.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in handles


SHARES = register(Namespace(_Shares(), "pmap.share"))
