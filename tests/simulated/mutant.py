"""A fault that mutate.py plants: `text`, which `file` (below src/cuda, or core/...) has exactly once, becomes `becomes`. `tests` are the programs
that have to notice, each "[VARIABLE=VALUE ...] program [filter of GoogleTest]"; `survives` explains a mutant that no test can see.
`objects` are the files below src/cuda to compile anew; without them those that include `file`."""

import collections

Mutant = collections.namedtuple("Mutant", "file text becomes kind tests survives objects", defaults=["", ()])
