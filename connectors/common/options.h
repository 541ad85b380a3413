/* SPDX-License-Identifier: Apache-2.0 */
/* A line of a program's table of options; what is rarely set (.least, .most, .filled …) comes
 * last. */
#ifndef PJ_CONNECTORS_OPTIONS_H
#define PJ_CONNECTORS_OPTIONS_H

#include "base/config.h"

#define PJ_OPTION(of_kind, named, at, by_default, placeholder, explained, ...)                     \
    {                                                                                              \
        .name = named, .kind = PJ_OPTION_##of_kind, .offset = at, .fallback = by_default,          \
        .argument = placeholder, .help = explained, ##__VA_ARGS__                                  \
    }

#endif
