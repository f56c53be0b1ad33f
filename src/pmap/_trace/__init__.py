"""The option ``trace``: it records what each worker did when, and draws it.

===================  ===============================================================================
`trace`              the class `Trace`, which users hold
`records`            what the engine notes while calls run
`recording`          notes it, for one call
`intervals`          unions and differences of intervals of time
`spans`              makes spans of the records: which worker did what from when to when
`summary`            sums the spans up
`svg`, `json_file`   make a picture and a file of the Trace Event format of the spans
===================  ===============================================================================

The package imports no other package of pmap. All modules but `trace` are imported only when a call
is traced.
"""
