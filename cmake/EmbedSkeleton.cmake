# SPDX-License-Identifier: Apache-2.0
# What `projectionist new` writes: src/cli/skeleton/**.in as the list pj_skeleton of paths and texts.
set(skeleton_folder ${PROJECT_SOURCE_DIR}/src/cli/skeleton)
file(GLOB_RECURSE skeleton_files CONFIGURE_DEPENDS RELATIVE ${skeleton_folder} ${skeleton_folder}/*.in)
list(SORT skeleton_files)
set(texts "")
set(list "")
foreach(file IN LISTS skeleton_files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${skeleton_folder}/${file})
    string(REGEX REPLACE "\\.in$" "" path ${file})
    string(MAKE_C_IDENTIFIER text_${file} symbol)
    file(READ ${skeleton_folder}/${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND texts "static const char ${symbol}[] = {${bytes}0};\n")
    string(APPEND list "    \"${path}\", ${symbol},\n")
endforeach()
set(skeleton ${CMAKE_BINARY_DIR}/generated/skeleton.c)
file(CONFIGURE OUTPUT ${skeleton} @ONLY CONTENT
"/* Generated from src/cli/skeleton. */
#include <stddef.h>
@texts@
extern const char *const pj_skeleton[];
const char *const pj_skeleton[] = {
@list@    NULL,
};
")
