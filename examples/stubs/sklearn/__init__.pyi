# What the gallery uses of scikit-learn, which is not in the `test` extra.
