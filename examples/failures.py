"""Read a column of numbers, some of which are none: an error is a value, and stops nothing.

Output:
    sum of what could be read: 6.5
    row 1, '2,0': ValueError: could not convert string to float: '2,0'
    row 3, '': ValueError: could not convert string to float: ''
"""

from pmap import Failure, pmap

COLUMN = ["1.5", "2,0", "5", ""]

results = pmap.collecting(float, COLUMN)  # list[float | Failure]
print("sum of what could be read:", sum(x for x in results if not isinstance(x, Failure)))
for x in results:
    if isinstance(x, Failure):
        print(f"row {x.index}, {x.input}: {type(x.error).__name__}: {x.error}")
