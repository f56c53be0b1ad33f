"""The scheduler: a pure state machine that decides which worker gets which chunk."""
