"""Jobs at the caller: the results of a call in progress, and the threads that wait for them."""
