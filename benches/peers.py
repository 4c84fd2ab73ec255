#!/usr/bin/env python3
"""Reads the corpus's real feeds with feedparser and fastfeedparser (both from PyPI) for README's table.

  pip install feedparser fastfeedparser
  peers.py CORPUS

Prints the speed of each, in processor time, the best of three a feed, and writes what each read to
`<parser>.jsonl`, for the corpus's own score.py to judge.
"""
import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import fastfeedparser
import feedparser


def by_feedparser(data):
    feed = feedparser.parse(data)
    if feed.bozo and not feed.entries and not feed.version:
        raise ValueError(str(feed.bozo_exception))
    return [
        {
            "id": entry.get("id"),
            "link": entry.get("link"),
            "title": entry.get("title"),
            "published": moment(entry.get("published_parsed") or entry.get("updated_parsed")),
            "enclosures": [{"url": file.get("href")} for file in entry.get("enclosures", [])],
        }
        for entry in feed.entries
    ]


def by_fastfeedparser(data):
    feed = fastfeedparser.parse(data)
    return [
        {
            "id": entry.get("id"),
            "link": entry.get("link"),
            "title": entry.get("title"),
            "published": entry.get("published") or entry.get("updated"),
            "enclosures": [{"url": file.get("url")} for file in entry.get("enclosures") or []],
        }
        for entry in feed.entries
    ]


def moment(parsed):
    return datetime(*parsed[:6], tzinfo=timezone.utc).isoformat() if parsed else None


def main():
    corpus = Path(sys.argv[1]) / "feeds"
    feeds = [(str(path.relative_to(corpus)), path.read_bytes()) for path in sorted((corpus / "real").iterdir())]
    size = sum(len(data) for _, data in feeds)
    for read in (by_feedparser, by_fastfeedparser):
        name, spent = read.__name__.removeprefix("by_"), 0.0
        with open(f"{name}.jsonl", "w", encoding="utf-8") as out:
            for file, data in feeds:
                best, line = None, {}
                for _ in range(3):
                    start = time.thread_time()
                    try:
                        line = {"file": file, "items": read(data)}
                    except Exception as error:  # whatever a parser raises, the feed was not read
                        line = {"file": file, "error": str(error)}
                    took = time.thread_time() - start
                    best = took if best is None else min(best, took)
                spent += best
                out.write(json.dumps(line) + "\n")
        print(f"{name:16} {size / spent / 1e6:8.1f} MB/s")


if __name__ == "__main__":
    main()
