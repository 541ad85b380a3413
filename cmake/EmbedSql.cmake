# SPDX-License-Identifier: Apache-2.0
# pj_embed_sql(SYSTEM FOLDER SOURCE): turns FOLDER/NNNN_….sql into the list pj_sql_SYSTEM of
# projectionist/system.h's struct pj_migration_script, so that the projectionist command needs no
# files beside it. The variable SOURCE is the source to compile.
function(pj_embed_sql system folder source)
    string(MAKE_C_IDENTIFIER ${system} name)
    file(GLOB files CONFIGURE_DEPENDS ${folder}/[0-9][0-9][0-9][0-9]_*.sql)
    list(SORT files)
    set(texts "")
    set(list "")
    foreach(path IN LISTS files)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
        get_filename_component(file ${path} NAME)
        string(MAKE_C_IDENTIFIER sql_${file} symbol)
        file(READ ${path} hex HEX)
        string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
        string(APPEND texts "static const char ${symbol}[] = {${bytes}0};\n")
        string(APPEND list "    {\"${file}\", ${symbol}},\n")
    endforeach()
    set(generated ${CMAKE_BINARY_DIR}/generated/sql_${name}.c)
    file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT
"/* Generated from the migrations of ${system}. */
#include <projectionist/system.h>
@texts@
extern const struct pj_migration_script pj_sql_@name@[];
const struct pj_migration_script pj_sql_@name@[] = {
@list@    {NULL, NULL},
};
")
    set(${source} ${generated} PARENT_SCOPE)
endfunction()
