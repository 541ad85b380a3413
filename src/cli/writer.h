/* SPDX-License-Identifier: Apache-2.0 */
/* A topic that a command writes records to, all of one schema. */
#ifndef PJ_CLI_WRITER_H
#define PJ_CLI_WRITER_H

#include "avro/avro_schema.h"
#include "cli/cli.h"
#include "kafka/producer.h"

struct pj_cli_writer {
    struct pj_producer *producer;
    struct pj_producer_topic *topic;
    int32_t partitions;
    struct pj_schema *schema;
    int32_t schema_id;
};

/* Connects, and registers the schema under the subject (NULL: TOPIC-value); `topic` is as Kafka
 * names it. Close it in any case. */
int pj_cli_writer_open(struct pj_cli_writer *writer, struct pj_cli *cli, const char *topic,
                       const char *subject, const char *schema,
                       struct pj_error *error) PJ_MUST_CHECK;
void pj_cli_writer_close(struct pj_cli_writer *writer); /* all zeros are allowed */

#endif
