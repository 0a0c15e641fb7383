"""The look at a host, as one program: `python3 -c LOOK NAME TEXT…`, with the texts of the modules beside this one.

What is wanted comes as JSON on standard input, what differs leaves as JSON. Run by the role as root with the host's
own Python (3.8 or newer), which has no nodegate.
"""

import json
import sys
from types import ModuleType

PACKAGE = "nodehost"

parent = sys.modules[PACKAGE] = ModuleType(PACKAGE)
parent.__path__ = []
for last, text in zip(sys.argv[1::2], sys.argv[2::2]):  # noqa: B905  # `strict` is newer than Python 3.8
    module = sys.modules[f"{PACKAGE}.{last}"] = ModuleType(f"{PACKAGE}.{last}")
    module.__package__ = PACKAGE
    exec(compile(text, last, "exec"), module.__dict__)  # noqa: S102  # the role's own text
json.dump(sys.modules[f"{PACKAGE}.state"].differences(json.load(sys.stdin)), sys.stdout)
