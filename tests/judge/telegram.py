"""Telegram's own parser as a judge of what is sent with `parse_mode: HTML`.

Reads one JSON string a line; answers one JSON object a line: {"ok": true, "utf16": N, "text": "...",
"entities": ["bold", ...]}, or {"ok": false, "error": "..."}. Needs no network and no account.
"""

import json
import sys

import tdjson


def execute(request):
    return json.loads(tdjson.td_execute(json.dumps(request).encode()))


def judge(text):
    answer = execute({"@type": "parseTextEntities", "text": text, "parse_mode": {"@type": "textParseModeHTML"}})
    if answer["@type"] != "formattedText":
        return {"ok": False, "error": answer.get("message", "no reason given")}
    parsed = answer["text"]
    entities = [entity["type"]["@type"].removeprefix("textEntityType") for entity in answer["entities"]]
    return {"ok": True, "utf16": len(parsed.encode("utf-16-le")) // 2, "text": parsed, "entities": entities}


def main():
    execute({"@type": "setLogVerbosityLevel", "new_verbosity_level": 0})
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
