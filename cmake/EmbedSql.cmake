# SPDX-License-Identifier: Apache-2.0
# Turns deploy/sql/SYSTEM/NNNN_….sql into the list pj_embedded_sql of "embedded_sql.h", so that the
# projectionist command needs no files beside it. PJ_EMBEDDED_SQL is the source to compile.
set(generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${generated})
file(GLOB sql_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/deploy/sql
    deploy/sql/*/[0-9][0-9][0-9][0-9]_*.sql)
list(SORT sql_files)
set(texts "")
set(list "")
foreach(file IN LISTS sql_files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        ${CMAKE_SOURCE_DIR}/deploy/sql/${file})
    string(MAKE_C_IDENTIFIER ${file} symbol)
    file(READ deploy/sql/${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND texts "static const char sql_${symbol}[] = {${bytes}0};\n")
    string(APPEND list "    {\"${file}\", sql_${symbol}},\n")
endforeach()
file(CONFIGURE OUTPUT ${generated}/embedded_sql.h @ONLY CONTENT
"/* Generated from deploy/sql/. */
#ifndef PJ_EMBEDDED_SQL_H
#define PJ_EMBEDDED_SQL_H
#include <stddef.h>
struct pj_embedded_sql {
    const char *path; /* SYSTEM/FILE */
    const char *sql;
};
extern const struct pj_embedded_sql pj_embedded_sql[];
extern const size_t pj_embedded_sql_count;
#endif
")
file(CONFIGURE OUTPUT ${generated}/embedded_sql.c @ONLY CONTENT
"/* Generated from deploy/sql/. */
#include \"embedded_sql.h\"
@texts@
const struct pj_embedded_sql pj_embedded_sql[] = {
@list@    {NULL, NULL},
};
const size_t pj_embedded_sql_count = sizeof pj_embedded_sql / sizeof pj_embedded_sql[0] - 1;
")
set(PJ_EMBEDDED_SQL ${generated}/embedded_sql.c)
