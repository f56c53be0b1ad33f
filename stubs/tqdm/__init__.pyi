# What pmap calls of tqdm, which ships no types. Held by stubtest.

from .std import tqdm as tqdm
