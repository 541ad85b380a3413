# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` makes of it, beside the programs: the library and its headers, for consumers
# that live in other repositories, with a package for CMake and one for pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(PJ_SANITIZE)
    target_link_options(projectionist INTERFACE -fsanitize=address,undefined)
    set(PJ_SANITIZER_FLAGS -fsanitize=address,undefined)
endif()

install(TARGETS projectionist EXPORT projectionist)
install(DIRECTORY include/projectionist TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(DIRECTORY deploy/sql DESTINATION ${CMAKE_INSTALL_DATADIR}/projectionist
    FILES_MATCHING PATTERN *.sql)

install(FILES ${CMAKE_BINARY_DIR}/generated/projectionist.bash RENAME projectionist
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/projectionist)
install(EXPORT projectionist NAMESPACE projectionist:: DESTINATION ${package}
    FILE projectionistTargets.cmake)
configure_package_config_file(cmake/projectionistConfig.cmake.in
    ${CMAKE_BINARY_DIR}/generated/projectionistConfig.cmake INSTALL_DESTINATION ${package}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/projectionistConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/projectionistConfig.cmake
    ${CMAKE_BINARY_DIR}/generated/projectionistConfigVersion.cmake cmake/EmbedSchemas.cmake
    DESTINATION ${package})

# The folder may be moved, so the prefix is found from where the file is.
file(RELATIVE_PATH PJ_PREFIX_FROM_PC /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/projectionist.pc.in ${CMAKE_BINARY_DIR}/generated/projectionist.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/projectionist.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
