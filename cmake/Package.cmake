# SPDX-License-Identifier: Apache-2.0
# The Debian package of the programs, by `cpack` in a release build: units of systemd, manual pages.
# Only the package has what is not below the prefix.
if(NOT PJ_SANITIZE)
    set(pages)
    foreach(program IN ITEMS projectionist ${consumers} ${connectors})
        set(page ${CMAKE_BINARY_DIR}/generated/man/${program}.1.gz)
        add_custom_command(OUTPUT ${page} DEPENDS projectionist-cli ${CMAKE_SOURCE_DIR}/cmake/ManPage.cmake
            $<$<TARGET_EXISTS:${program}>:${program}> VERBATIM COMMAND ${CMAKE_COMMAND}
            -DPROGRAM=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${program} -DNAME=${program}
            -DVERSION=${PROJECT_VERSION} -DOUT=${page} -P ${CMAKE_SOURCE_DIR}/cmake/ManPage.cmake)
        list(APPEND pages ${page})
    endforeach()
    set(changelog ${CMAKE_BINARY_DIR}/generated/changelog.gz)
    add_custom_command(OUTPUT ${changelog} DEPENDS CHANGELOG.md VERBATIM
        COMMAND gzip -9n < ${CMAKE_SOURCE_DIR}/CHANGELOG.md > ${changelog})
    string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH, where that is set
    configure_file(deploy/packages/changelog.Debian.in generated/changelog.Debian @ONLY)
    add_custom_command(OUTPUT ${changelog}.Debian DEPENDS deploy/packages/changelog.Debian.in VERBATIM
        COMMAND gzip -9n < ${CMAKE_BINARY_DIR}/generated/changelog.Debian > ${changelog}.Debian)
    add_custom_target(package-files ALL DEPENDS ${pages} ${changelog} ${changelog}.Debian)
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT manual)
    set(doc ${CMAKE_INSTALL_DATADIR}/doc/projectionist)
    install(FILES ${changelog} DESTINATION ${doc} COMPONENT package EXCLUDE_FROM_ALL)
    install(FILES ${changelog}.Debian RENAME changelog.Debian.gz DESTINATION ${doc} COMPONENT package EXCLUDE_FROM_ALL)
endif()
file(GLOB units CONFIGURE_DEPENDS deploy/packages/systemd/*)
install(FILES ${units} DESTINATION lib/systemd/system COMPONENT package EXCLUDE_FROM_ALL)
install(FILES deploy/packages/environment DESTINATION /etc/projectionist
    PERMISSIONS OWNER_READ OWNER_WRITE COMPONENT package EXCLUDE_FROM_ALL)
install(FILES deploy/packages/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/projectionist
    COMPONENT package EXCLUDE_FROM_ALL)
install(FILES deploy/packages/lintian-overrides RENAME projectionist COMPONENT package EXCLUDE_FROM_ALL
    DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME projectionist)
set(CPACK_PACKAGE_VENDOR Projectionist)
set(CPACK_PACKAGE_CONTACT "The Projectionist maintainers <maintainers@projectionist.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "keep Postgres tables that follow Kafka topics, exactly once")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL programs manual package)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# The symbols of librdkafka's package say less than we need.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "librdkafka1 (>= 2.0.2), ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/packages/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Consumers that read Kafka topics in a group, decode Avro, and commit rows and
offsets in one Postgres transaction; bridges, gateway, ingest and relay around
them; and the command to migrate, verify and rebuild what they keep.")
include(CPack)
