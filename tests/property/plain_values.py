"""Plain values, for the tests of what travels."""

from hypothesis import strategies as st

# -0.0 and NaN among them; strings with lone surrogates, as file names have them
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
)
