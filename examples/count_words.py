"""Count the words of many texts, and merge the counts.

Output:
    the: 3
    map: 2
    order: 2
"""

from collections import Counter

from pmap import pmap

TEXTS = [
    "The map is not the territory",
    "Order is heaven's first law",
    "A map, in the order of its input",
]


def count_words(text: str) -> Counter[str]:
    return Counter(word.strip(",.").lower() for word in text.split())


total = sum(pmap(count_words, TEXTS), Counter[str]())
for word in ["the", "map", "order"]:
    print(f"{word}: {total[word]}")
