"""What a script defines, in other processes: functions and classes by value, and their globals.

A module that a worker cannot import (``__main__``, above all) has a *stand-in* in each worker: one
module of the same name, whose ``__dict__`` is the globals of every function that comes from there.
The caller tells a worker the values of names, many at a time: a *unit*. Each telling of a name has
a *version*; the caller makes a new one when it finds that the value has changed.

=============  ===================================================================================
arriving       the receiver: units are loaded, names are put in place, functions are made again
reducers       the sender: what pickle is to write for a function, a class, a module
classes        classes, enums and their members: taken apart, and made again
kinds          what neither pickle nor cloudpickle can send: cached functions, sentinels, new types
singles        objects that are pickled as the name of a global
full_pickler   all the rest, by cloudpickle, which is imported when something first needs it
fingerprints   whether the value of a name has changed
namespaces     the modules of this process that others cannot import
sent_names     the caller's record of what was told: names, versions, units
names          which names a call needs, and the making of units
baseline       what the caller's names were when a worker began
shared         handles of values that many calls use
blame          which object inside a value cannot be pickled
=============  ===================================================================================
"""
