"""The handles of shared values by their names, as if they were a namespace: see `shared`.

A module of its own: a worker that sends a result imports it, and `typing` would be a burden.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from .namespaces import Namespace, register

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any

handles: WeakValueDictionary[str, Any] = WeakValueDictionary()


class _Shares(dict[str, object]):
    """The handles; they are not kept alive."""

    def get(self, name: str, default: Any = None) -> Any:
        return handles.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in handles


SHARES = register(Namespace(_Shares(), "pmap.share"))
