# What the gallery uses of Pillow, which is not in the `test` extra.
