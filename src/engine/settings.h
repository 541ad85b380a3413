/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of every consumer, and the options that programs share. */
#ifndef PJ_ENGINE_SETTINGS_H
#define PJ_ENGINE_SETTINGS_H

#include "base/config.h"

struct pj_settings {
    const char *group;
    const char *instance;
    const char *postgres_dsn;
    const char *registry_url;
    const char *registry_username;
    const char *registry_password;
    const char *registry_ca_file;
    const char *metrics_address;
    const char *log_level;
    const char *log_format;
    int64_t batch_records;
    int64_t batch_bytes;
    int64_t lock_timeout_ms;
    int64_t idle_in_transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
    bool until_caught_up;
    bool accept_gap;
};

extern const struct pj_option pj_consumer_options[];

#endif
