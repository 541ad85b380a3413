# SPDX-License-Identifier: Apache-2.0
# Makes a compressed manual page of what a program says of itself.
#   cmake -DPROGRAM=… -DNAME=… -DOUT=….1.gz -P ManPage.cmake
# Headings of --help become sections, the rest stays as it is laid out. Of a command that has commands
# all of them are in the page.
function(ask out)
    execute_process(COMMAND ${PROGRAM} ${ARGN} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    string(REPLACE "\\" "\\e" text "${text}")
    string(REGEX REPLACE "(^|\n)([.'])" "\\1\\\\&\\2" text "${text}")
    string(REPLACE "-" "\\-" text "${text}")
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

# Headings at the margin, in capitals.
function(sections out text)
    string(REGEX REPLACE "(^|\n)([A-Z][A-Z ]+)\n" "\\1.fi\n.SH \\2\n.nf\n" text "${text}")
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

ask(text --help)
if(text MATCHES "\nCOMMANDS\n")
    string(REGEX MATCH "\nCOMMANDS\n.*\nOPTIONS\n" list "${text}")
    string(REGEX MATCHALL "\n  [a-z]+[a-z\\-]*( [a-z]+)? +[a-z]" commands "${list}")
    string(REGEX REPLACE "^usage: ([^\n]*)\n"
        "NAME\n${NAME} \\\\- keep Postgres tables that follow Kafka topics\n\nSYNOPSIS\n  \\1\n\nDESCRIPTION\n"
        text "${text}")
endif()
string(REGEX REPLACE "^usage: ([^\n]*)\n+NAME\n([^\n]*)\n" "NAME\n\\2\n\nSYNOPSIS\n  \\1\n" text "${text}")
sections(page "${text}")
string(REGEX REPLACE "\\.SH NAME\n\\.nf\n *([^\n]*)\n" ".SH NAME\n\\1\n" page "${page}")
string(REGEX REPLACE "^\\.fi\n" "" page "${page}")
foreach(line IN LISTS commands)
    string(REGEX REPLACE "^\n  ([a-z\\-]+( [a-z]+)?) +[a-z]$" "\\1" command "${line}")
    string(REPLACE "\\-" "-" command "${command}")
    string(REPLACE " " ";" words "${command}")
    if(NOT command MATCHES "^help|^consume")
        ask(text help ${words})
        string(TOUPPER "${command}" heading)
        string(APPEND page "\n.fi\n.SH ${heading}\n.nf\n${text}")
    endif()
endforeach()
string(REGEX REPLACE "\\.gz$" "" plain "${OUT}")
file(WRITE ${plain} ".TH ${NAME} 1 \"\" \"Projectionist ${VERSION}\"\n${page}.fi\n")
execute_process(COMMAND gzip -9nf ${plain} COMMAND_ERROR_IS_FATAL ANY)
