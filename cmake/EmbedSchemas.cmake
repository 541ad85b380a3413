# SPDX-License-Identifier: Apache-2.0
# Turns schemas/<topic>/<Record>.avsc into C strings pj_schema_<topic with _>, declared in
# "schemas.h" of the build tree, so that a schema is written down once.
set(generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${generated})
file(GLOB avsc_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} schemas/*/*.avsc)
list(SORT avsc_files)
set(declarations "")
set(texts "")
set(symbols "")
foreach(avsc IN LISTS avsc_files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${avsc})
    get_filename_component(topic ${avsc} DIRECTORY)
    get_filename_component(topic ${topic} NAME)
    string(MAKE_C_IDENTIFIER ${topic} symbol)
    if(symbol IN_LIST symbols)
        message(FATAL_ERROR "schemas/${topic} has more than one .avsc; a topic has one record")
    endif()
    list(APPEND symbols ${symbol})
    file(READ ${avsc} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND declarations "extern const char pj_schema_${symbol}[];\n")
    string(APPEND texts "const char pj_schema_${symbol}[] = {${bytes}0};\n")
endforeach()
file(CONFIGURE OUTPUT ${generated}/schemas.h @ONLY CONTENT
"/* Generated from schemas/. */
#ifndef PJ_SCHEMAS_H
#define PJ_SCHEMAS_H
@declarations@
#endif
")
file(CONFIGURE OUTPUT ${generated}/schemas.c @ONLY CONTENT
"/* Generated from schemas/. */
#include \"schemas.h\"
@texts@
")
set(PJ_EMBEDDED_SCHEMAS ${generated}/schemas.c)
include_directories(${generated})
