# objects.py: a program as Python programs are: strings, dictionaries, lists, objects, exceptions,
# and the collector.
import gc


class Node:
    def __init__(self, key, left, right):
        self.key, self.left, self.right = key, left, right


def tree(depth, key=1):
    if not depth:
        return None
    return Node(str(key), tree(depth - 1, 2 * key), tree(depth - 1, 2 * key + 1))


def count(node):
    return 1 + count(node.left) + count(node.right) if node else 0


def words(n):
    seen = {}
    for i in range(n):
        word = "word%d" % (i * 7919 % 30011)
        seen.setdefault(word[:-1], []).append(word.upper())
    return seen


def rows(n):
    table = [{"id": i, "name": "n" + str(i * i), "tags": [i, i + 1, float(i)]} for i in range(n)]
    table.sort(key=lambda r: r["name"])
    text = "\n".join(",".join(str(v) for v in r.values()) for r in table)
    return sum(len(line.split(",")) for line in text.split("\n"))


total = 0
for turn in range(6):
    total += count(tree(14))
    total += sum(len(v) for v in words(60000).values())
    total += rows(15000)
    for i in range(20000):
        try:
            total += int("x" if i % 3 else str(i))
        except ValueError as error:
            total += len(str(error))
    gc.collect()
print(total)
