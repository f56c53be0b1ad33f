"""Sending what a script defines to other processes: functions, classes and their globals.

Workers cannot import some modules, above all ``__main__``. In each worker such a module has a
*stand-in*: a module of the same name, whose ``__dict__`` is the globals of every function from that
module. What the module defines travels *by value*: it is pickled with its contents, and not as a
name. The caller sends a worker the values of global names. The caller pickles the values of many
names together, as a *unit*. Each value that is sent for a name has a *version*; the caller makes a
new version when it finds that the value has changed.

=============  ===================================================================================
arriving       the receiver: loads units, gives names their values, makes functions again
reducers       the sender: what pickle is to write for a function, a class, a module
classes        classes, enums and their members: taken apart, and made again
kinds          what neither pickle nor cloudpickle can send: cached functions, sentinels, new types
singles        objects that are pickled as the name of a global; bare objects
full_pickler   all other objects, by cloudpickle, which is imported when an object first needs it
fingerprints   whether the value of a name has changed
namespaces     the modules of this process that other processes cannot import
sent_names     the caller's record of what it has sent: names, versions, units
names          which names a call needs, and the making of units
baseline       what the caller's names were when a worker began
shared         handles of values that many calls use
blame          which object inside a value cannot be pickled
=============  ===================================================================================
"""
