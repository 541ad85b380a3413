# SPDX-License-Identifier: Apache-2.0
"""All that is compared, in the order of the tables."""

from debezium import Debezium, DebeziumDefault, DebeziumInsert, DebeziumKeyless
from flink import Flink
from subjects import Ours, OursTwice, Script

FOR_RATES = (Ours, OursTwice, Script, Debezium, DebeziumDefault, Flink)
FOR_FAULTS = (Ours, Script, Debezium, DebeziumInsert, DebeziumKeyless, Flink)
