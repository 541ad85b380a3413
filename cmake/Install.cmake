# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` makes of it, beside the programs: the library and its headers, for consumers
# that live in other repositories, with a package for CMake and one for pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)

if(PJ_SANITIZE)
    set(PJ_SANITIZER_FLAGS -fsanitize=address,undefined)
endif()

# The library as others get it: one object, of which only what the public headers declare is global.
# Everything else may change from one version to the next without anybody's program breaking.
file(GLOB public_headers CONFIGURE_DEPENDS include/projectionist/*.h)
set(public_names)
foreach(header IN LISTS public_headers)
    file(READ ${header} text)
    string(REGEX MATCHALL "pj_[a-z0-9_]+\\(" calls "${text}")
    list(APPEND public_names ${calls})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${public_headers})
list(REMOVE_DUPLICATES public_names)
list(SORT public_names)
list(JOIN public_names "\n" public_names)
string(REPLACE "(" "" public_names "${public_names}")
set(symbols ${CMAKE_BINARY_DIR}/generated/public-symbols)
file(CONFIGURE OUTPUT ${symbols} CONTENT "${public_names}\n")
set(object ${CMAKE_BINARY_DIR}/generated/projectionist.o)
add_custom_command(OUTPUT ${object} DEPENDS projectionist ${symbols} VERBATIM COMMAND_EXPAND_LISTS
    COMMAND ${CMAKE_LINKER} -r -o ${object} $<TARGET_OBJECTS:projectionist>
    COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=${symbols} ${object})
add_library(public-projectionist STATIC ${object})
get_target_property(public_libraries projectionist INTERFACE_LINK_LIBRARIES)
target_link_libraries(public-projectionist PUBLIC ${public_libraries})
target_include_directories(public-projectionist INTERFACE $<INSTALL_INTERFACE:include>)
set_target_properties(public-projectionist PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME projectionist
    EXPORT_NAME projectionist ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/public)
if(PJ_SANITIZE)
    target_link_options(public-projectionist INTERFACE -fsanitize=address,undefined)
endif()

install(TARGETS public-projectionist EXPORT projectionist)
install(DIRECTORY include/projectionist TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(FILES include/projectionist/README.md TYPE DOC RENAME projection.md)
install(DIRECTORY deploy/sql DESTINATION ${CMAKE_INSTALL_DATADIR}/projectionist
    FILES_MATCHING PATTERN *.sql)

install(FILES ${CMAKE_BINARY_DIR}/generated/projectionist.bash RENAME projectionist
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT programs)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/projectionist)
install(EXPORT projectionist NAMESPACE projectionist:: DESTINATION ${package}
    FILE projectionistTargets.cmake)
configure_package_config_file(cmake/projectionistConfig.cmake.in
    ${CMAKE_BINARY_DIR}/generated/projectionistConfig.cmake INSTALL_DESTINATION ${package}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/projectionistConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/projectionistConfig.cmake
    ${CMAKE_BINARY_DIR}/generated/projectionistConfigVersion.cmake cmake/EmbedSchemas.cmake cmake/EmbedSql.cmake
    DESTINATION ${package})

# The folder may be moved, so the prefix is found from where the file is.
file(RELATIVE_PATH PJ_PREFIX_FROM_PC /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/projectionist.pc.in ${CMAKE_BINARY_DIR}/generated/projectionist.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/projectionist.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
