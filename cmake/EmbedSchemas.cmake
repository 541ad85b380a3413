# SPDX-License-Identifier: Apache-2.0
# pj_embed_schemas(FOLDER SOURCE): turns FOLDER/<topic>/<Record>.avsc into C strings
# pj_schema_<topic with _>, so that a schema is written down once. They are declared in "schemas.h",
# which the targets of the calling directory can include. The variable SOURCE is the source to compile.
function(pj_embed_schemas folder source)
    set(generated ${CMAKE_CURRENT_BINARY_DIR}/generated)
    file(GLOB avsc_files CONFIGURE_DEPENDS ${folder}/*/*.avsc)
    list(SORT avsc_files)
    set(declarations "")
    set(texts "")
    set(symbols "")
    foreach(avsc IN LISTS avsc_files)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${avsc})
        get_filename_component(topic ${avsc} DIRECTORY)
        get_filename_component(topic ${topic} NAME)
        string(MAKE_C_IDENTIFIER ${topic} symbol)
        if(symbol IN_LIST symbols)
            message(FATAL_ERROR "${folder}/${topic} has more than one .avsc; a topic has one record")
        endif()
        list(APPEND symbols ${symbol})
        file(READ ${avsc} hex HEX)
        string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
        string(APPEND declarations "extern const char pj_schema_${symbol}[];\n")
        string(APPEND texts "const char pj_schema_${symbol}[] = {${bytes}0};\n")
    endforeach()
    file(CONFIGURE OUTPUT ${generated}/schemas.h @ONLY CONTENT
"/* Generated from the schemas of topics. */
#ifndef PJ_SCHEMAS_H
#define PJ_SCHEMAS_H
@declarations@
#endif
")
    file(CONFIGURE OUTPUT ${generated}/schemas.c @ONLY CONTENT
"/* Generated from the schemas of topics. */
#include \"schemas.h\"
@texts@
")
    include_directories(BEFORE ${generated}) # not that of a directory above
    set(${source} ${generated}/schemas.c PARENT_SCOPE)
endfunction()
