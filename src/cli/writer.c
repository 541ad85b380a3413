/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/writer.h"

enum { LINGER_MS = 5 };

int pj_cli_writer_open(struct pj_cli_writer *writer, struct pj_cli *cli, const char *topic,
                       const char *subject, const char *schema, struct pj_error *error)
{
    int64_t timeout_ms = cli->servers->timeout_ms;
    const struct pj_producer_settings settings = {.kafka = &cli->config->kafka,
                                                  .client_id = pj_program(),
                                                  .linger_ms = LINGER_MS,
                                                  .stall_ms = timeout_ms};
    struct pj_producer_topic_info info = {.name = topic};
    if (subject == NULL)
        subject = pj_arena_printf(cli->arena, "%s-value", topic);
    if (pj_schema_parse(&writer->schema, schema, error) != 0 ||
        pj_producer_open(&writer->producer, &settings, error) != 0 ||
        pj_producer_describe(writer->producer, &info, 1, timeout_ms, error) != 0)
        return -1;
    writer->partitions = info.partitions;
    if (info.partitions == 0)
        return pj_producer_no_topic(&info, error);
    if (pj_cli_registry(cli, error) != 0 ||
        pj_registry_register(cli->registry, subject, schema, &writer->schema_id, error) != 0)
        return -1;
    return pj_producer_topic(writer->producer, topic, &writer->topic, error);
}

void pj_cli_writer_close(struct pj_cli_writer *writer)
{
    pj_producer_close(writer->producer);
    pj_schema_free(writer->schema);
}
