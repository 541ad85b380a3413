# SPDX-License-Identifier: Apache-2.0
"""What the recording of a generated day holds, and the rows that the tables must hold of it, which
lib.oracle says.

Goes for the recording alone, and also where it comes after others that share nothing with it but
the time of the stream.
"""

import fastavro

from lib import avro, events, oracle


def read(folder):
    """The events of a recording whose schemas are those of schemas/, topic by topic."""
    found = []
    for topic in events.TOPICS:
        schema = avro.schema_text(topic)
        with open(folder / f"{topic}.avro", "rb") as file:
            found += [avro.decode(item["value"], schema)[1] for item in fastavro.reader(file)
                      if "value" in item]
    return found


def expected(happened):
    """{table: rows} of what read() gave, by all five consumers. Every record's timestamp is the
    time of its event."""
    return oracle.expected(happened)
